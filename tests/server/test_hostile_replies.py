"""No reply whatever raises out of a round: the others are averaged, and the record stays readable."""

import functools
import io
import json
import pickle
import zipfile

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from small_federation import make_plan

from client.app import app
from protocols.records import Evaluation, Introduction, Update
from server.cohort import UNREADABLE, Member
from server.run_record import RunRecord
from server.strategy import FederatedDistillation
from simulations.engine import InProcessGrid

SHARED = {"w": np.ones((4, 4), np.float32), "norm.running_var": np.ones(4, np.float32)}
PEOPLE = ("s0", "s1", "s2")
HOSTILE = 2
COUNTS = {"shared": [[2, 0, 0], [0, 2, 0], [0, 0, 2]]}


def saved(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def archive():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("w.npy", bytes(1_000_000))
    return buffer.getvalue()


class Bomb:
    """What runs if anybody unpickles it."""

    def __reduce__(self):
        return pytest.fail, ("a reply was unpickled",)


HEADER = b"\x93NUMPY\x01\x00"


def claiming(header):
    text = header.encode()
    return HEADER + len(text).to_bytes(2, "little") + text


TRICKS = (
    pickle.dumps(Bomb()),
    saved(np.array([Bomb()], dtype=object), allow_pickle=True),
    archive(),
    claiming("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }"),
    claiming("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -16), }") + bytes(64),
    claiming("{'descr': '|O', 'fortran_order': False, 'shape': (4,), }") + bytes(32),
    claiming("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4,), }") + bytes(16),
    claiming("(" * 5000),
    saved(np.full((4, 4), np.nan, np.float32)),
    saved(np.full((4, 4), 3e38, np.float32)),
    saved(np.float64(SHARED["w"])),
    saved(np.ones((4, 4), ">f4")),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(["subject", "round", "num_examples", "trained_on", "confusion", "metrics", "odd"])
TEXTS = st.sampled_from(
    ["[" * 100_000, "1" * 10_000, '{"round": ' + "9" * 10_000 + "}", "", "{}", "[]", "NaN"]
)
DATA = (
    st.sampled_from(TRICKS)
    | st.binary(max_size=50)
    | npst.arrays(npst.scalar_dtypes(), npst.array_shapes(max_side=4)).map(saved)
)
ARRAYS = st.builds(
    Array,
    st.text(max_size=5),
    st.lists(st.integers(-2, 4), max_size=3).map(tuple),
    st.sampled_from(["numpy.ndarray", "numpy.ndarray", "pickle", ""]),
    DATA,
)
FIGURES = st.floats() | st.integers(-(2**63), 2**63 - 1) | st.lists(st.floats(), max_size=2)
RECORDS = (
    st.dictionaries(st.sampled_from([*SHARED, "x", "../x"]), ARRAYS, max_size=3).map(ArrayRecord)
    | st.dictionaries(st.sampled_from(["hard_loss", "seconds", "x"]), FIGURES, max_size=3).map(MetricRecord)
    | st.dictionaries(
        st.sampled_from(["kind", "version", "facts"]), st.text(max_size=4) | st.integers(0, 3), max_size=3
    ).map(ConfigRecord)
)
NAMES = st.sampled_from(["message", "weights", "metrics", "x"])


@st.composite
def hostile_contents(draw, honest):
    """An honest answer with some of its records, facts and arrays replaced, or nothing of it."""
    content = honest() if draw(st.booleans()) else RecordDict()
    if "message" in content and draw(st.booleans()):
        facts = json.loads(content["message"]["facts"]) | draw(st.dictionaries(KEYS, JSON, max_size=2))
        content["message"]["facts"] = draw(TEXTS) if draw(st.booleans()) else json.dumps(facts)
    if "weights" in content and draw(st.booleans()):
        content["weights"][draw(st.sampled_from(["w", "norm.running_var"]))] = draw(ARRAYS)
    for name, record in draw(st.dictionaries(NAMES, RECORDS, max_size=2)).items():
        content[name] = record
    return content


def update_of(subject, *, scale=0.01, **changes):
    rng = np.random.default_rng(int(subject[1:]))
    moved = {n: a + np.float32(scale) * rng.random(a.shape, np.float32) for n, a in SHARED.items()}
    return Update(**{"subject": subject, "round": 1, "num_examples": 5, "weights": moved} | changes)


def evaluation_of(subject):
    return Evaluation(subject, 1, 6, COUNTS, {"shared/cler": 0.5})


class Round:
    """One round of three people with its questions numbered, and what the record says of it."""

    def __init__(self, folder, *, role="train", **plan):
        members = [Member(1000 + i, Introduction(s, (role,), 5)) for i, s in enumerate(PEOPLE)]
        self.file = folder / "run" / "rounds.jsonl"
        self.file.unlink(missing_ok=True)
        self.grid = InProcessGrid(app, 0, {})
        made = make_plan(folder, **plan)
        self.strategy = FederatedDistillation(made, members, RunRecord(folder / "run", "part"))
        self.training = self.strategy.training.begin(1, SHARED, members)
        self.asked = (
            self.training.asked if role == "train" else self.strategy.evaluating.questions(1, SHARED, members)
        )
        for number, message in enumerate(self.asked):
            message.metadata.__dict__["_message_id"] = f"m{number}"

    def answers(self, answer_of, hostile):
        honest = [
            Message(answer_of(s).to_record(), reply_to=m)
            for s, m in zip(PEOPLE[:2], self.asked, strict=False)
        ]
        return [*honest, *hostile]

    def lines(self, event):
        read = functools.partial(json.loads, parse_constant=pytest.fail)
        lines = map(read, self.file.read_text().splitlines())
        return [line for line in lines if line["event"] == event]


def sent(asked, content, *, answers="m2", node_id=1002):
    reply = Message(content, reply_to=asked[HOSTILE])
    reply.metadata.__dict__["_reply_to_message_id"] = answers
    reply.metadata.__dict__["_src_node_id"] = node_id
    return reply


ORIGINS = st.tuples(st.sampled_from(["m2", "m2", "m2", "m0", "old", ""]), st.sampled_from([1002, 1002, 1, 7]))
FEW = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@FEW
@example(
    content=RecordDict({"message": ConfigRecord({"kind": ""}), "x": ConfigRecord({"y": []})}),
    origin=("m2", 1002),
)
@given(content=hostile_contents(lambda: update_of("s2").to_record()), origin=ORIGINS)
def test_no_update_whatever_raises_out_of_a_round(tmp_path, content, origin):
    """Two honest answers are averaged whatever the third is; every line of the record is strict JSON."""
    one = Round(tmp_path)
    answers, node_id = origin
    hostile = sent(one.asked, content, answers=answers, node_id=node_id)
    trained = one.training.end(one.answers(update_of, [hostile]))
    assert all(np.isfinite(array).all() for array in trained.weights.values())
    accepted = {line["subject"] for line in one.lines("client") if "num_examples" in line}
    assert {"s0", "s1"} <= accepted
    assert trained.answered == len(accepted)


@FEW
@given(content=hostile_contents(lambda: evaluation_of("s2").to_record()), origin=ORIGINS)
def test_no_evaluation_whatever_raises_out_of_a_round(tmp_path, content, origin):
    """Two honest ones are recorded whatever the third is."""
    one = Round(tmp_path, role="validate", min_replies=1)
    answers, node_id = origin
    hostile = sent(one.asked, content, answers=answers, node_id=node_id)
    metrics = one.strategy.evaluating.recorded(1, one.asked, one.answers(evaluation_of, [hostile]))
    assert 0 <= metrics["accuracy_shared"] <= 1
    assert {"s0", "s1"} <= {line["subject"] for line in one.lines("evaluation")}


@pytest.mark.parametrize("data", TRICKS)
def test_every_trick_with_an_array_is_rejected_by_name(tmp_path, data):
    """Pickles, objects, archives, sizes that are not there, other types, NaN: on record with the parameter's name."""
    content = update_of("s2").to_record()
    content["weights"]["w"] = Array("float32", (4, 4), "numpy.ndarray", data)
    one = Round(tmp_path)
    one.training.end(one.answers(update_of, [sent(one.asked, content)]))
    (line,) = [line for line in one.lines("client") if line["subject"] == "s2"]
    assert ": w" in line["rejected"] or "s2: a step of length" in line["rejected"]


def test_a_header_that_claims_a_terabyte_allocates_nothing(tmp_path):
    """The claim is compared with the bytes that came, before any array is made."""
    content = update_of("s2").to_record()
    claim = claiming("{'descr': '<f4', 'fortran_order': False, 'shape': (250000000000,), }")
    content["weights"]["w"] = Array("float32", (4, 4), "numpy.ndarray", claim)
    one = Round(tmp_path)
    one.training.end(one.answers(update_of, [sent(one.asked, content)]))
    (line,) = [line for line in one.lines("client") if "rejected" in line]
    assert "found 0 bytes for an array float32(250000000000,)" in line["rejected"]


@pytest.mark.parametrize("where", ["weights", "metrics", "facts"])
def test_an_answer_larger_than_the_student_is_rejected_before_it_is_decoded(tmp_path, monkeypatch, where):
    """However it is large: by an array, by figures, by words. Its bytes and what is allowed are named."""
    content = update_of("s2").to_record()
    if where == "weights":
        content["weights"]["x"] = Array(np.zeros(100_000, np.float32))
    elif where == "metrics":
        content["metrics"] = MetricRecord({f"loss{i}": 0.5 for i in range(10_000)})
    else:
        content["message"]["facts"] = " " * 200_000
    one = Round(tmp_path)
    decoded = []
    real = Update.from_record
    monkeypatch.setattr(Update, "from_record", lambda c: decoded.append(c) or real(c))
    one.training.end(one.answers(update_of, [sent(one.asked, content)]))
    (line,) = [line for line in one.lines("client") if "rejected" in line]
    assert "bytes, expected at most" in line["rejected"]
    assert len(decoded) == 2


def test_a_step_out_of_all_proportion_is_rejected_with_its_length(tmp_path):
    """Against the round's median; the others are averaged as if it had never come."""
    one = Round(tmp_path)
    far = update_of("s2", scale=0.5).to_record()
    trained = one.training.end(one.answers(update_of, [sent(one.asked, far)]))
    (line,) = [line for line in one.lines("client") if "rejected" in line]
    assert line["subject"] == "s2"
    assert "the round's median is" in line["rejected"]
    without = Round(tmp_path).training.end(one.answers(update_of, []))
    assert all(np.array_equal(trained.weights[n], without.weights[n]) for n in SHARED)


def test_a_variance_below_zero_is_rejected(tmp_path):
    """Its root would be NaN on everybody's device."""
    bad = update_of("s2", weights=SHARED | {"norm.running_var": np.float32([1, 1, -1e-6, 1])})
    one = Round(tmp_path)
    one.training.end(one.answers(update_of, [sent(one.asked, bad.to_record())]))
    (line,) = [line for line in one.lines("client") if "rejected" in line]
    assert "norm.running_var holds variances below 0" in line["rejected"]


def test_replays_are_on_record_and_change_nothing(tmp_path):
    """The same answer twice, an old round's answer, an answer in another's place: strays, by person and reason."""
    one = Round(tmp_path)
    mine, again = (sent(one.asked, update_of("s2").to_record()) for _ in range(2))
    old = sent(one.asked, update_of("s2").to_record(), answers="of round 0")
    foreign = sent(one.asked, update_of("s0", scale=5.0).to_record(), answers="m0")
    trained = one.training.end([foreign, *one.answers(update_of, [mine, again, old])])
    strays = [(line["subject"], line["reason"]) for line in one.lines("stray")]
    assert strays == [
        ("s2", "answered in place of node 1000"),
        ("s2", "answered the same message twice"),
        ("s2", "answered a message that this round did not send"),
    ]
    assert trained.answered == 3


def test_content_of_an_older_round_is_rejected(tmp_path):
    """Sent again as the answer to a new question, it still says of which round it is."""
    one = Round(tmp_path)
    stale = sent(one.asked, update_of("s2", round=0).to_record())
    one.training.end(one.answers(update_of, [stale]))
    (line,) = [line for line in one.lines("client") if "rejected" in line]
    assert "s2: update for round 0, expected 1" in line["rejected"]


def test_an_answer_that_nobody_could_read_is_rejected_not_dropped(tmp_path):
    """It came; that is another thing than silence."""
    one = Round(tmp_path)
    broken = Message(Error(UNREADABLE, "the answer is no readable message"), reply_to=one.asked[HOSTILE])
    one.training.end(one.answers(update_of, [broken]))
    (line,) = [line for line in one.lines("client") if "rejected" in line]
    assert (line["subject"], line["rejected"]) == ("s2", "the answer is no readable message")


def test_a_reason_cannot_forge_lines_nor_colours(tmp_path):
    """Line ends and terminal codes of a client's words become spaces."""
    one = Round(tmp_path)
    words = Message(Error(2, "gone\n12:00 all is well \x1b[2J\ud800"), reply_to=one.asked[HOSTILE])
    one.training.end(one.answers(update_of, [words]))
    (line,) = [line for line in one.lines("client") if "dropped" in line]
    assert line["dropped"] == "gone 12:00 all is well  [2J "
