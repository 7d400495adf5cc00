"""A secure round without a network: what it sums, who may fall silent when, and what nobody answers."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import AggregationError, MessageError
from protocols.secure.agreement import agreed_key, public_of, sealed, unsealed
from protocols.secure.masks import pair_masks, stream
from protocols.secure.opening import opened_sum
from protocols.secure.participant import SEALED_BYTES, Participant
from protocols.secure.session import PublicKeys, Session, check_roster

LENGTH = 7
STEPS = ("keys", "shares", "masked", "revealed")
ID = "ab" * 16


class Round:
    """All people of a round in one place.

    Args:
        people: how many.
        threshold: how many must stay.
        silent: at which step each of some people stops answering.
    """

    def __init__(self, people=5, threshold=3, silent=None, seed=0):
        self.draw = random.Random(seed).randbytes
        self.session = Session(ID, 1, people, threshold)
        self.silent = silent or {}
        opened = [Participant.opening(self.session, f"s{i}", self.draw) for i in range(people)]
        self.people = {p.subject: p for p in opened if self.answers(p.subject, "keys")}
        self.roster = {name: p.public_keys for name, p in self.people.items()}

    def answers(self, name, step):
        return name not in self.silent or STEPS.index(step) < STEPS.index(self.silent[name])

    def left(self, step):
        return [name for name in self.people if self.answers(name, step)]

    def deal(self):
        dealt = {name: self.people[name].deal(ID, self.roster, self.draw) for name in self.left("shares")}
        self.people |= {name: person for name, (person, _) in dealt.items()}
        self.dealt = {name: shares for name, (_, shares) in dealt.items()}

    def shares_for(self, name):
        return {dealer: theirs[name] for dealer, theirs in self.dealt.items()}

    def mask(self, vectors):
        self.masked = {}
        for name in self.left("masked"):
            ready = self.people[name].take(ID, self.shares_for(name))
            self.people[name] = ready.after_masking()
            self.masked[name] = ready.mask(vectors[name])

    def open(self):
        revealed = {name: self.people[name].reveal(ID, set(self.masked)) for name in self.left("revealed")}
        return opened_sum(self.masked, revealed, self.roster, set(self.dealt), self.session)

    def sum(self, vectors):
        self.deal()
        self.mask(vectors)
        return self.open()


def vectors_of(people, seed=0):
    rng = np.random.default_rng(seed)
    return {f"s{i}": rng.integers(2**64, size=LENGTH, dtype=np.uint64) for i in range(people)}


def plain_sum(vectors, names):
    return np.sum([vectors[name] for name in names], axis=0, dtype=np.uint64)


@st.composite
def rounds(draw):
    """Any number of people, any threshold, anybody silent from any step on; enough remain to the end."""
    people = draw(st.integers(3, 7))
    threshold = draw(st.integers(max(3, people // 2 + 1), people))
    silent = draw(st.sets(st.integers(0, people - 1), max_size=people - threshold))
    return people, threshold, {f"s{i}": draw(st.sampled_from(STEPS)) for i in silent}


@settings(max_examples=40, deadline=None)
@given(rounds(), st.integers(0, 2**32))
def test_the_sum_is_that_of_who_answered(made, seed):
    """To the last bit, whoever else falls silent, and when."""
    people, threshold, silent = made
    secure, vectors = Round(people, threshold, silent, seed), vectors_of(people, seed)
    total = secure.sum(vectors)
    assert np.array_equal(total, plain_sum(vectors, secure.masked))
    assert set(secure.masked) == {n for n in vectors if silent.get(n) not in ("keys", "shares", "masked")}


@pytest.mark.parametrize("step", STEPS)
def test_one_too_few_opens_nothing(step):
    """Three of five are needed, two are left after the step: those who are asked next refuse, or shares are missing."""
    silent = dict.fromkeys(("s0", "s1", "s2"), step)
    with pytest.raises(
        (MessageError, AggregationError), match=r"2 people, expected 3 to 5|2 shares of the secret"
    ):
        Round(silent=silent).sum(vectors_of(5))


def test_a_masked_vector_alone_looks_random():
    """Of zeros under masks, 64,000 bits are set as often as a coin falls, and no byte value comes too often."""
    secure = Round()
    secure.deal()
    ready = secure.people["s0"].take(ID, secure.shares_for("s0"))
    masked = ready.mask(np.zeros(1000, np.uint64))
    bits = np.unpackbits(masked.view(np.uint8))
    assert abs(bits.sum() - 32_000) < 5 * 64_000**0.5 / 2
    counts = np.bincount(masked.view(np.uint8), minlength=256)
    chi_squared = float(((counts - 8000 / 256) ** 2 / (8000 / 256)).sum())
    assert abs(chi_squared - 255) < 5 * (2 * 255) ** 0.5


def test_the_same_vector_is_masked_differently_each_round():
    """And says nothing of another by their difference."""
    first, second = (Round(seed=seed) for seed in (0, 1))
    zeros = {f"s{i}": np.zeros(1000, np.uint64) for i in range(5)}
    for secure in (first, second):
        secure.deal()
        secure.mask(zeros)
    bits = np.unpackbits((first.masked["s0"] - second.masked["s0"]).view(np.uint8))
    assert abs(bits.sum() - 32_000) < 5 * 64_000**0.5 / 2


def test_a_vector_that_comes_too_late_stays_hidden():
    """The others gave s4's masking key away; with it the masks with others go, and the own one stays."""
    secure, zeros = Round(silent={"s4": "masked"}), {f"s{i}": np.zeros(1000, np.uint64) for i in range(5)}
    secure.deal()
    late = secure.people["s4"].take(ID, secure.shares_for("s4"))
    secure.mask(zeros)
    assert not secure.open().any()
    others = {name: secure.roster[name].mask for name in secure.masked}
    left = late.mask(zeros["s4"]) - pair_masks("s4", late.mask_key, others, 1000, ID)
    assert np.array_equal(left, stream(late.seed, 1000))


REFUSED = {
    "a session with no majority": (lambda _: Session(ID, 1, 6, 3), "threshold: found 3 of 6 people"),
    "a session of two": (lambda _: Session(ID, 1, 2, 2), "session: found 2 people, expected at least 3"),
    "a session without a name": (lambda _: Session("../x", 1, 5, 3), "session: found"),
    "another session's roster": (lambda r: r.people["s0"].deal("cd" * 16, r.roster), "session: found 'cdcd"),
    "a roster of two": (
        lambda r: r.people["s0"].deal(ID, {n: r.roster[n] for n in ("s0", "s1")}),
        "roster: 2 people, expected 3 to 5",
    ),
    "a roster with other keys of its own": (
        lambda r: r.people["s0"].deal(ID, r.roster | {"s0": fresh_keys(9)}),
        "the keys of 's0' are not those that were answered",
    ),
    "a roster with a key twice": (
        lambda r: r.people["s0"].deal(ID, r.roster | {"s1": r.roster["s2"]}),
        "found a public key twice",
    ),
    "shares before a roster": (lambda r: r.people["s0"].take(ID, {}), "has opened, which is not dealt"),
    "shares of too few": (
        lambda r: dealt(r)["s0"].take(ID, {"s0": bytes(SEALED_BYTES)}),
        "shares: 1 people, expected 3 to 5",
    ),
    "shares of a stranger": (
        lambda r: dealt(r)["s0"].take(ID, dict(zip("abc", [bytes(SEALED_BYTES)] * 3, strict=True))),
        "some of 'a', who is not on the roster",
    ),
    "shares without its own": (
        lambda r: dealt(r)["s0"].take(ID, {n: bytes(SEALED_BYTES) for n in ("s1", "s2", "s3")}),
        "found none of 's0' itself",
    ),
    "shares of another length": (
        lambda r: dealt(r)["s0"].take(ID, {n: bytes(5) for n in ("s0", "s1", "s2")}),
        "found one of 5 bytes",
    ),
    "a roster again": (lambda r: dealt(r)["s0"].deal(ID, r.roster), "has dealt, which is not opened"),
    "shares again": (
        lambda r: masked(r)["s0"].take(ID, r.shares_for("s0")),
        "has masked, which is not dealt",
    ),
    "both secrets of somebody": (
        lambda r: masked(r)["s0"].reveal(ID, ["s0", "s1"]),
        "answered: 2 people, expected 3 to 5",
    ),
    "one who dealt nothing": (
        lambda r: masked(r)["s0"].reveal(ID, ["s0", "s1", "s2", "nobody"]),
        "'nobody', who dealt no shares",
    ),
    "its own key": (lambda r: masked(r)["s0"].reveal(ID, ["s1", "s2", "s3"]), "found 's0' left out"),
    "to open the sum before masking": (lambda r: dealt(r)["s0"].reveal(ID, ["s0", "s1", "s2"]), "has dealt"),
}


def fresh_keys(seed):
    draw = random.Random(seed).randbytes
    return Participant.opening(Session(ID, 1, 3, 3), "x", draw).public_keys


def dealt(secure):
    secure.deal()
    return secure.people


def masked(secure):
    secure.deal()
    secure.mask(vectors_of(5))
    return secure.people


@pytest.mark.parametrize("what", REFUSED)
def test_a_person_refuses(what):
    """In one line that says what was found."""
    ask, message = REFUSED[what]
    with pytest.raises(MessageError, match=message) as error:
        ask(Round())
    assert "\n" not in str(error.value)


def test_of_nobody_both_secrets_are_given():
    """The share of the seed of who answered, of the masking key of who did not; each as it was dealt."""
    secure = Round(silent={"s4": "masked"})
    secure.deal()
    secure.mask(vectors_of(5))
    shares = secure.people["s0"].reveal(ID, secure.masked)
    assert set(shares) == {f"s{i}" for i in range(5)}
    assert {len(share) for share in shares.values()} == {33}


def test_shares_that_do_not_open_are_left_out_and_the_others_open_the_sum():
    """One dealer's shares for one person were garbage."""
    secure, vectors = Round(), vectors_of(5)
    secure.deal()
    secure.dealt["s1"] = secure.dealt["s1"] | {"s0": bytes(SEALED_BYTES)}
    secure.mask(vectors)
    assert set(secure.people["s0"].reveal(ID, secure.masked)) == {"s0", "s2", "s3", "s4"}
    assert np.array_equal(secure.open(), plain_sum(vectors, vectors))


def test_shares_of_another_key_are_named():
    """Somebody fell silent, and those who remain open a key that is not the one on the roster."""
    secure = Round(silent={"s4": "masked"})
    secure.deal()
    secure.mask(vectors_of(5))
    secure.roster = secure.roster | {"s4": fresh_keys(9)}
    with pytest.raises(AggregationError, match="s4: the shares of the masking key are of another key"):
        secure.open()


def test_what_was_used_is_forgotten():
    """After masking neither the seed nor the masking key is kept."""
    secure = Round()
    secure.deal()
    kept = secure.people["s0"].take(ID, secure.shares_for("s0")).after_masking()
    assert (kept.seed, kept.mask_key) == (b"", b"")


@pytest.mark.parametrize("key", [bytes(32), (1).to_bytes(32, "little"), bytes(31)])
def test_keys_with_which_everybody_agrees_on_the_same_are_refused(key):
    """The points of small order, and what is no key."""
    with pytest.raises(MessageError, match="public key"):
        PublicKeys(key, fresh_keys(1).share)


def test_two_people_agree_and_a_purpose_has_its_own_key():
    first, second = bytes(range(32)), bytes(range(1, 33))
    key = agreed_key(first, public_of(second), "masks")
    assert key == agreed_key(second, public_of(first), "masks")
    assert key != agreed_key(first, public_of(second), "shares")


@given(st.binary(max_size=80), st.integers(0, 10**6), st.randoms())
def test_what_was_sealed_is_opened_whole_or_not_at_all(content, place, rng):
    key = rng.randbytes(32)
    closed = sealed(key, content, rng.randbytes)
    assert unsealed(key, closed) == content
    changed = bytearray(closed)
    changed[place % len(changed)] ^= 1
    with pytest.raises(MessageError, match="does not open"):
        unsealed(key, bytes(changed))


def test_a_stream_is_chacha20s():
    """RFC 8439, appendix A.1, test vector 1: key, nonce and counter 0."""
    first = bytes.fromhex("76b8e0ada0f13d90405d6ae55386bd28")
    assert stream(bytes(32), 2).tobytes() == first


def test_a_roster_may_lack_who_fell_silent_but_not_too_many():
    session, roster = Session(ID, 1, 5, 3), {f"s{i}": fresh_keys(i) for i in range(5)}
    check_roster({n: roster[n] for n in ("s0", "s1", "s2")}, session)
    with pytest.raises(MessageError, match="roster: 6 people, expected 3 to 5"):
        check_roster(roster | {"s5": fresh_keys(5)}, session)


def test_a_person_can_be_written_down_and_replaced():
    """Frozen: nothing changes behind anybody's back."""
    person = Round().people["s0"]
    with pytest.raises(AttributeError):
        person.seed = b"x"
    assert replace(person) == person
