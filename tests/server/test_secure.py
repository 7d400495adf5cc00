"""Secure aggregation in whole federations: against the plain one, with people who fall silent, lie and repeat."""

import functools
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Message
from small_federation import LATE, PEOPLE, equal, events, make_nodes, make_plan, run

from client.app import app
from client.node import NodeSpec
from client.train import train_node
from distillation.privacy import PrivacySpec, clipped_step, learned
from distillation.secure_sum import CLIP, SecureSpec
from protocols.errors import ConfigError
from protocols.records import Introduction, Task
from protocols.secure_records import KEYS, REVEAL, SHARES, Keys, MaskedUpdate, Shares
from server.cohort import Member
from server.federation import initial_weights
from server.plan import RoundsSpec
from server.run_record import RunRecord
from server.secure import check_secure
from server.strategy import FederatedDistillation

MASKED = SecureSpec("masked", threshold=0.6)  # three of five
CLIENTS = PEOPLE[:5]


def nodes(dataset, folder, **changes):
    """Five people who train and one who is tested."""
    train, test = make_nodes(dataset, folder)[0], make_nodes(dataset, folder)[-1]
    made = [replace(train, subject=s, store=str(folder / "stores" / s), **changes) for s in CLIENTS]
    return (*made, replace(test, subject=PEOPLE[5], store=str(folder / "stores" / "tested"), test=LATE))


def federation(folder, dataset, *, client=app, secure=MASKED, rounds=1, **plan):
    plan = {"secure_aggregation": secure, "rounds": rounds, "nodes": nodes(dataset, folder)} | plan
    weights, _ = run(folder, dataset, client=client, **plan)
    return weights


@functools.cache
def plain_updates(dataset):
    """What each of the five trains in round 1, in the open, and what they start from."""
    with tempfile.TemporaryDirectory() as folder:
        plan = make_plan(Path(folder), rounds=1)
        shared = initial_weights(plan, None)
        settings = plan.rounds.local(1, with_pack=False).to_json()
        task = Task("train", 1, plan.seed, plan.student, plan.signal.to_json(), settings, shared)
        return shared, [train_node(node, task) for node in nodes(dataset, Path(folder))[:5]]


def expected(dataset, subjects, clip=CLIP):
    """The plain weighted mean of these people's clipped steps in round 1, by arithmetic of its own."""
    shared, everybody = plain_updates(dataset)
    updates = [u for u in everybody if u.subject in subjects]
    total = sum(u.num_examples for u in updates)
    step = sum(u.num_examples / total * clipped_step(u.weights, shared, clip) for u in updates)
    statistics = {
        name: sum(u.num_examples / total * u.weights[name].astype(float) for u in updates)
        for name in shared.keys() - set(learned(shared))
    }
    return shared, step, statistics, updates


def check_mean(weights, dataset, subjects, clip=CLIP):
    """That the new weights are the plain mean of these people, to 1e-6 of the step."""
    shared, step, statistics, updates = expected(dataset, subjects, clip)
    found = clipped_step(weights, shared, np.inf)
    rounding = np.linalg.norm(clipped_step(weights, {n: np.zeros_like(a) for n, a in shared.items()}, np.inf))
    assert np.linalg.norm(found - step) <= 1e-6 * np.linalg.norm(step) + 6e-8 * rounding
    for name, mean in statistics.items():
        assert weights[name] == pytest.approx(mean, rel=1e-6, abs=1e-7)
    return updates


def silent_at(message_type, *subjects):
    """A client app that raises on these people's devices when they are asked this."""

    def client(message, context):
        if message.metadata.message_type == message_type and subject_of(context) in subjects:
            raise OSError("switched off")
        return app(message, context)

    return client


def subject_of(context):
    return NodeSpec.from_context(context).subject


def altered(subject, message_type, change):
    """A client app that answers this question honestly, and then changes one person's answer."""

    def client(message, context):
        reply = app(message, context)
        if message.metadata.message_type != message_type or subject_of(context) != subject:
            return reply
        return Message(change(reply.content), reply_to=message)

    return client


def facts(folder):
    (line,) = events(folder, "round")
    return line["secure"]


def counts(folder):
    return [facts(folder)[step] for step in ("asked", "keys", "shared", "masked", "unmasked")]


def test_the_mean_is_the_plain_one_and_so_are_the_figures(tmp_path, dataset):
    """Weighted by examples, to 1e-6 of the step; on record the curves and not one figure of anybody."""
    weights = federation(tmp_path, dataset)
    updates = check_mean(weights, dataset, CLIENTS)
    (line,) = events(tmp_path, "round")
    assert (line["asked"], line["answered"]) == (5, 5)
    assert counts(tmp_path) == [5, 5, 5, 5, 5]
    for name in ("hard_loss", "accuracy_on_arrival"):
        mean = np.average([u.metrics[name] for u in updates], weights=[u.num_examples for u in updates])
        assert line["metrics"][name] == pytest.approx(mean, abs=1e-6)
    assert "soft_loss" not in line["metrics"]
    for client in events(tmp_path, "client"):
        assert {"num_examples", "metrics"}.isdisjoint(client)
        assert client["bytes_up"] > 8 * 10_000


def test_steps_are_cut_at_home(tmp_path, dataset):
    """A clip that is shorter than everybody's step."""
    weights = federation(tmp_path, dataset, secure=replace(MASKED, clip=0.01))
    check_mean(weights, dataset, CLIENTS, clip=0.01)


@pytest.mark.parametrize(
    ("step", "reached", "in_the_sum"),
    [
        (KEYS, [5, 3, 3, 3, 3], CLIENTS[2:]),
        (SHARES, [5, 5, 3, 3, 3], CLIENTS[2:]),
        ("train", [5, 5, 5, 3, 3], CLIENTS[2:]),
        (REVEAL, [5, 5, 5, 5, 3], CLIENTS),
    ],
)
def test_whoever_falls_silent_is_left_out_and_the_sum_is_right(tmp_path, dataset, step, reached, in_the_sum):
    """Two of five at each of the four steps; a vector that was sent counts, even if its person opens nothing."""
    weights = federation(tmp_path, dataset, client=silent_at(step, "s0", "s1"))
    assert counts(tmp_path) == reached
    assert events(tmp_path, "fault") == []
    check_mean(weights, dataset, in_the_sum)
    lost = [e["subject"] for e in events(tmp_path, "client") if "dropped" in e]
    assert lost == ([] if step == REVEAL else ["s0", "s1"])
    if step == REVEAL:
        assert set(facts(tmp_path)["silent"]) == {"s0", "s1"}


@pytest.mark.parametrize(
    ("step", "did"),
    [
        (KEYS, "sent keys"),
        (SHARES, "sent shares"),
        ("train", "sent a masked update"),
        (REVEAL, "opened the sum"),
    ],
)
def test_too_few_keep_the_weights_and_the_record_says_so(tmp_path, dataset, step, did):
    """One more falls silent than may; the next round starts from the same weights."""
    weights = federation(tmp_path, dataset, client=silent_at(step, "s0", "s1", "s2"))
    assert equal(weights, initial_weights(make_plan(tmp_path), None))
    (fault,) = events(tmp_path, "fault")
    assert fault["reason"] == f"2 of 5 clients {did}, expected at least 3"


def test_no_sum_is_opened_twice_where_the_server_was_killed_in_between(tmp_path, dataset):
    RunRecord(tmp_path / "run", "part").append("opening", round=1)
    weights = federation(tmp_path, dataset, rounds=2)
    (fault,) = events(tmp_path, "fault")
    assert fault["round"] == 1
    assert "a second one would differ by single updates" in fault["reason"]
    assert [event["round"] for event in events(tmp_path, "opening")] == [1, 2]
    assert [event["answered"] for event in events(tmp_path, "round")] == [0, 5]
    assert not equal(weights, initial_weights(make_plan(tmp_path), None))


def test_different_people_at_every_step(tmp_path, dataset):
    """One each; those who are left at the end are just enough for seven."""

    def client(message, context):
        lost = {KEYS: "s0", SHARES: "s1", "train": "s2", REVEAL: "s3"}
        if lost.get(message.metadata.message_type) == subject_of(context):
            raise OSError("switched off")
        return app(message, context)

    seven = [
        replace(nodes(dataset, tmp_path)[0], subject=s, store=str(tmp_path / "stores" / s)) for s in PEOPLE
    ]
    tested = replace(nodes(dataset, tmp_path)[-1], subject="s6", name="tested")
    seven_and_one = (*seven, tested)
    weights = federation(
        tmp_path, dataset, client=client, nodes=seven_and_one, secure=replace(MASKED, threshold=0.51)
    )
    assert counts(tmp_path) == [7, 6, 5, 4, 3]
    assert [e["reason"] for e in events(tmp_path, "fault")] == [
        "3 of 7 clients opened the sum, expected at least 4"
    ]
    assert equal(weights, initial_weights(make_plan(tmp_path), None))


LIES = {
    "a vector of another length": (
        "train",
        lambda c: replace(MaskedUpdate.from_record(c), vector=np.zeros(3, np.uint64)).to_record(),
        "s1: 3 masked numbers, expected",
    ),
    "another round": (
        "train",
        lambda c: replace(MaskedUpdate.from_record(c), round=2).to_record(),
        "s1: update for round 2, expected 1",
    ),
    "another session": (
        "train",
        lambda c: replace(MaskedUpdate.from_record(c), session_id="ab" * 16).to_record(),
        "s1: answered session 'abab",
    ),
    "somebody else": (
        "train",
        lambda c: replace(MaskedUpdate.from_record(c), subject="s2").to_record(),
        "s1: answered as 's2'",
    ),
    "shares for some": (
        SHARES,
        lambda c: cut(c, lambda shares: {k: v for k, v in shares.items() if k != "s3"}),
        "s1: no shares for 's3'",
    ),
    "shares of another length": (
        SHARES,
        lambda c: cut(c, lambda shares: {k: v[:-1] for k, v in shares.items()}),
        "s1: 5 shares of [93] bytes, expected 5 of 94",
    ),
    "shares for strangers": (
        SHARES,
        lambda c: cut(c, lambda shares: shares | {"nobody": bytes(94)}),
        "s1: 6 shares of [94] bytes, expected 5 of 94",
    ),
    "one key for both": (
        KEYS,
        lambda c: with_facts(c, keys=[facts_in(c)["keys"][0]] * 2),
        "s1: a public key twice, expected fresh ones",
    ),
    "a key of small order": (
        KEYS,
        lambda c: with_facts(c, keys=["00" * 32, "00" * 32]),
        "public key: 0000000000000000… is none that keys can be agreed with",
    ),
    "no message": (KEYS, lambda c: with_facts(c, keys=5), "secure keys message"),
}


def cut(content, change):
    answer = Shares.from_record(content)
    return replace(answer, shares=change(answer.shares)).to_record()


def facts_in(content):
    return json.loads(content["message"]["facts"])


def with_facts(content, **changes):
    content["message"]["facts"] = json.dumps(facts_in(content) | changes)
    return content


@pytest.mark.parametrize("lie", LIES)
def test_a_wrong_answer_is_refused_and_the_round_goes_on(tmp_path, dataset, lie):
    """s1 is on record with the reason, and in no sum."""
    step, change, reason = LIES[lie]
    weights = federation(tmp_path, dataset, client=altered("s1", step, change))
    (rejected,) = [e for e in events(tmp_path, "client") if "rejected" in e]
    assert rejected["subject"] == "s1"
    assert reason in rejected["rejected"]
    assert events(tmp_path, "fault") == []
    check_mean(weights, dataset, [s for s in CLIENTS if s != "s1"])


def test_keys_of_somebody_else_are_refused(tmp_path, dataset):
    """s1 answers with the keys that s0 has just sent."""
    sent = {}

    def client(message, context):
        reply = app(message, context)
        if message.metadata.message_type == KEYS:
            keys = Keys.from_record(reply.content)
            sent[keys.subject] = keys
            if keys.subject == "s1":
                return Message(replace(keys, keys=sent["s0"].keys).to_record(), reply_to=message)
        return reply

    federation(tmp_path, dataset, client=client)
    (rejected,) = [e for e in events(tmp_path, "client") if "rejected" in e]
    assert rejected["rejected"] == "s1: a public key twice, expected fresh ones"


@pytest.mark.parametrize(
    ("step", "change", "reason"),
    [
        (
            "train",
            lambda c: replace(
                MaskedUpdate.from_record(c), vector=MaskedUpdate.from_record(c).vector + np.uint64(2**60)
            ).to_record(),
            "somebody sent no honest update",
        ),
        (
            REVEAL,
            lambda c: cut(c, lambda shares: {k: bytes(33) for k in shares}),
            "somebody sent no honest update",
        ),
    ],
)
def test_a_sum_that_somebody_spoiled_is_not_used(tmp_path, dataset, step, change, reason):
    """Nobody can tell who; the weights stay."""
    weights = federation(tmp_path, dataset, client=altered("s1", step, change))
    assert equal(weights, initial_weights(make_plan(tmp_path), None))
    (fault,) = events(tmp_path, "fault")
    assert reason in fault["reason"]


def test_shares_that_do_not_open_cost_nothing_while_others_do(tmp_path, dataset):
    """s1 seals garbage for s0: s0 has no share of s1's, and the other four open it."""
    garbage = lambda c: cut(c, lambda shares: shares | {"s0": bytes(94)})  # noqa: E731
    weights = federation(tmp_path, dataset, client=altered("s1", SHARES, garbage))
    assert counts(tmp_path) == [5, 5, 5, 5, 5]
    check_mean(weights, dataset, CLIENTS)


def test_what_the_server_receives_looks_random(tmp_path, dataset):
    """Bits of everybody's vector are set as often as a coin falls; not so of the same update in the open."""
    shares_of_ones = {}

    def client(message, context):
        reply = app(message, context)
        if message.metadata.message_type == "train":
            vector = MaskedUpdate.from_record(reply.content).vector
            shares_of_ones[subject_of(context)] = np.unpackbits(vector.view(np.uint8)).mean(), vector.size
        return reply

    federation(tmp_path, dataset, client=client)
    assert len(shares_of_ones) == 5
    for share, size in shares_of_ones.values():
        assert abs(share - 0.5) < 5 / (2 * (64 * size) ** 0.5)


def test_no_message_of_a_round_says_a_persons_examples_or_figures(tmp_path, dataset):
    """Not even the introduction says how many windows somebody has."""
    said = []

    def client(message, context):
        reply = app(message, context)
        if message.metadata.message_type != "evaluate":
            said.append(facts_in(reply.content))
        return reply

    federation(tmp_path, dataset, client=client)
    assert {facts["num_examples"] for facts in said if "num_examples" in facts} == {0, 1}
    assert {key for facts in said for key in facts} == {
        "subject", "roles", "num_examples", "missing_shards", "session_id", "keys", "round", "trained_on", "seconds",
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["central", "local"])
def test_privacy_and_masks_go_together(tmp_path, dataset, kind):
    """With hardly any noise, the mean is that of the clipped steps; statistics and figures stay at home."""
    privacy = PrivacySpec(kind, clip=0.02, noise_multiplier=1e-6)
    weights = federation(tmp_path, dataset, privacy=privacy)
    shared, _, _, updates = expected(dataset, CLIENTS)
    step = np.mean([clipped_step(u.weights, shared, 0.02) for u in updates], axis=0)
    assert np.linalg.norm(clipped_step(weights, shared, np.inf) - step) < 1e-3 * np.linalg.norm(step)
    statistics = shared.keys() - set(learned(shared))
    assert all(np.array_equal(weights[name], shared[name]) for name in statistics)
    (line,) = events(tmp_path, "round")
    assert line["metrics"] == {}
    assert line["privacy"]["epsilon"] > 0


def test_local_noise_of_everybody_is_in_the_sum(tmp_path, dataset):
    """The mean of five differs from the plain one by noise of clip times multiplier over the root of five."""
    privacy = PrivacySpec("local", clip=0.02, noise_multiplier=0.5)
    weights = federation(tmp_path, dataset, privacy=privacy)
    shared, _, _, updates = expected(dataset, CLIENTS)
    step = np.mean([clipped_step(u.weights, shared, 0.02) for u in updates], axis=0)
    noise = clipped_step(weights, shared, np.inf) - step
    assert noise.std() == pytest.approx(0.01 / 5**0.5, rel=0.03)


def test_with_a_pack_its_loss_is_averaged_too(tmp_path, dataset, pack):
    """The same figures as without masks."""
    keyed = tuple(replace(node, trusted_key=pack.key) for node in nodes(dataset, tmp_path / "a"))
    federation(tmp_path / "a", dataset, pack=pack, nodes=keyed)
    keyed = tuple(replace(node, trusted_key=pack.key) for node in nodes(dataset, tmp_path / "b"))
    federation(tmp_path / "b", dataset, pack=pack, nodes=keyed, secure=SecureSpec())
    (masked,), (plain,) = events(tmp_path / "a", "round"), events(tmp_path / "b", "round")
    assert masked["metrics"] == pytest.approx(plain["metrics"], abs=1e-6)
    assert "soft_loss" in masked["metrics"]


def test_members_who_went_away_leave_too_few_to_hide(tmp_path, dataset, monkeypatch):
    """The sample of a round is of two, as where members left: nobody is asked anything, and the weights stay."""
    sample = FederatedDistillation.sample
    monkeypatch.setattr(FederatedDistillation, "sample", lambda self, number: sample(self, number)[:2])
    weights = federation(tmp_path, dataset)
    assert equal(weights, initial_weights(make_plan(tmp_path), None))
    (fault,) = events(tmp_path, "fault")
    assert fault["reason"] == "session: found 2 people, expected at least 3"
    assert counts(tmp_path) == [2, 0, 0, 0, 0]


def test_two_clients_are_too_few_to_hide():
    """Before round 1."""
    rounds = RoundsSpec(secure_aggregation=MASKED)
    few = [Member(1000 + i, Introduction(s, ("train",), 1)) for i, s in enumerate(("a", "b"))]
    with pytest.raises(ConfigError, match="'masked' with 2 clients a round, expected at least 3"):
        check_secure(rounds, few)
    check_secure(rounds, [*few, Member(1002, Introduction("c", ("train",), 1))])
    with pytest.raises(ConfigError, match="clients_per_round: found 2, allowed is 3 or more"):
        RoundsSpec(clients_per_round=2, secure_aggregation=MASKED)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"aggregation": "median"}, "aggregation: found 'median', allowed is mean with secure_aggregation"),
        ({"late": {"kind": "use"}}, "late.kind: found 'use', allowed is count with secure_aggregation"),
    ],
)
def test_what_needs_single_updates_is_refused(settings, message):
    """Before round 1, naming both keys."""
    masked = {"secure_aggregation": MASKED.to_json(), "min_replies": 3}
    with pytest.raises(ConfigError, match=message):
        RoundsSpec.from_json(masked | settings)
