"""Messages of the federation: what is sent is what is read, and what cannot be read is refused in words."""

import json

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from protocols.errors import DataError, MessageError, VersionMismatch
from protocols.fact_records import VERSION
from protocols.facts import MAX_EXAMPLES
from protocols.manifest import SignedManifest
from protocols.records import (
    Evaluation,
    Hello,
    Introduction,
    Task,
    Update,
    count_bytes,
    weights_from_record,
    weights_to_record,
)

NAMES = st.text("abc.é_0", min_size=1, max_size=8)
ARRAYS = npst.arrays(
    st.sampled_from([np.float32, np.float64, np.int64, np.int8]), npst.array_shapes(min_dims=0, max_side=4)
)
WEIGHTS = st.dictionaries(NAMES, ARRAYS, min_size=1, max_size=4)
FLOATS = st.dictionaries(NAMES, st.floats(), max_size=3)

HELLO = Hello({"gestures": ["a", "b"], "window_ms": 200.0}, SignedManifest(b"{}", b"\x00" * 96))
INTRODUCTION = Introduction("s0", ("train", "test"), 12, ("ab" * 32,))
WEIGHT = {"layer.weight": np.arange(6, dtype=np.float32).reshape(2, 3)}
TASK = Task("train", 3, 7, "convonly", {"channels": 4}, {"steps": 2}, WEIGHT, "cd" * 32)
UPDATE = Update("s0", 3, 12, WEIGHT, {"hard_loss": 0.5}, "cd" * 32)
EVALUATION = Evaluation("s0", 3, 5, {"shared": [[2, 1], [0, 2]]}, {"confidence": 0.25})
READERS = {
    "hello": (HELLO, Hello.from_record),
    "introduction": (INTRODUCTION, Introduction.from_record),
    "train": (TASK, lambda content: Task.from_record(content, "train")),
    "update": (UPDATE, Update.from_record),
    "evaluation": (EVALUATION, Evaluation.from_record),
}
every_message = pytest.mark.parametrize("kind", READERS)


def transported(content):
    """The records after Flower's own wire format."""
    return recorddict_from_proto(recorddict_to_proto(content))


def same(first, second):
    """Equal to the bit, NaN included."""
    for field in first.__slots__:
        a, b = getattr(first, field), getattr(second, field)
        if field == "weights":
            assert list(a) == list(b)
            for x, y in zip(a.values(), b.values(), strict=True):
                assert (x.shape, x.dtype, x.tobytes()) == (y.shape, y.dtype, y.tobytes())
        else:
            assert repr(a) == repr(b)


def facts_of(content):
    return json.loads(content["message"]["facts"])


def with_facts(content, facts):
    content["message"]["facts"] = facts if isinstance(facts, str) else json.dumps(facts)
    return content


@every_message
def test_every_message_comes_back_as_it_was_sent(kind):
    """Through Flower's wire format, each message reads back equal."""
    message, read = READERS[kind]
    same(read(transported(message.to_record())), message)


@given(WEIGHTS)
def test_weights_keep_names_order_shapes_types_and_bits(weights):
    """Any arrays, also scalars and empty axes, come back to the bit and in their order."""
    back = weights_from_record(weights_to_record(weights))
    assert list(back) == list(weights)
    for name, array in weights.items():
        found = back[name]
        assert (found.shape, found.dtype, found.tobytes()) == (array.shape, array.dtype, array.tobytes())


def test_weights_are_copies_that_may_be_written():
    """Changing the weights that were read leaves the message as it is."""
    record = weights_to_record(WEIGHT)
    weights_from_record(record)["layer.weight"][:] = 0
    assert np.array_equal(weights_from_record(record)["layer.weight"], WEIGHT["layer.weight"])


def test_arrays_that_are_not_contiguous_travel_too():
    """A transposed view arrives with its values where they were."""
    view = WEIGHT["layer.weight"].T
    assert np.array_equal(weights_from_record(weights_to_record({"w": view}))["w"], view)


def test_weights_are_read_in_rows():
    """However a peer laid out its arrays, ours are contiguous: files of weights take them as they lie in memory."""
    columns_first = np.asfortranarray(WEIGHT["layer.weight"])
    found = weights_from_record(ArrayRecord({"w": Array(columns_first)}))["w"]
    assert found.flags.c_contiguous
    assert np.array_equal(found, columns_first)


@given(NAMES, st.integers(0, 10**6), st.integers(0, MAX_EXAMPLES), WEIGHTS, FLOATS)
def test_any_update_round_trips_with_nan_and_infinite_metrics(subject, number, examples, weights, metrics):
    """Metrics that are not numbers survive: it is the server that decides about them."""
    update = Update(subject, number, examples, weights, metrics)
    same(Update.from_record(transported(update.to_record())), update)


@given(
    st.dictionaries(
        NAMES, npst.arrays(np.int64, (3, 3), elements=st.integers(0, 99)).filter(np.any), min_size=1
    ),
    FLOATS,
)
def test_any_evaluation_round_trips(confusion, metrics):
    """Counts and further figures come back, NaN included."""
    evaluation = Evaluation("s", 1, 9, {name: counts.tolist() for name, counts in confusion.items()}, metrics)
    same(Evaluation.from_record(transported(evaluation.to_record())), evaluation)


def test_a_hello_without_a_pack_has_none():
    """The pack of a federation without a teacher is None."""
    assert Hello.from_record(transported(Hello({"channels": 1}).to_record())) == Hello({"channels": 1}, None)


@every_message
def test_another_kind_of_message_is_refused(kind):
    """A message is never read as one of another kind; the error names what was found."""
    other = EVALUATION if kind != "evaluation" else UPDATE
    found = other.to_record()["message"]["kind"]
    with pytest.raises(MessageError, match=found):
        READERS[kind][1](other.to_record())


@every_message
def test_a_message_without_our_record_is_refused(kind):
    """Records of somebody else are no message of ours."""
    with pytest.raises(MessageError, match="strange"):
        READERS[kind][1](RecordDict({"strange": ConfigRecord({"a": 1})}))


@every_message
def test_another_version_names_both(kind):
    """A peer of another version is told from one that is broken."""
    message, read = READERS[kind]
    content = message.to_record()
    content["message"]["version"] = VERSION + 1
    with pytest.raises(VersionMismatch, match=f"version {VERSION + 1}, this side speaks {VERSION}"):
        read(content)


@every_message
@pytest.mark.parametrize("facts", ["{torn", "[1, 2]", "7", "{}", '{"subject": {}}', '{"unknown": 1}'])
def test_facts_that_say_nothing_are_refused(kind, facts):
    """No JSON, no object, or facts missing: always a MessageError."""
    message, read = READERS[kind]
    with pytest.raises(MessageError, match=kind):
        read(with_facts(message.to_record(), facts))


@every_message
def test_a_message_without_facts_is_refused(kind):
    """The JSON text itself may be missing."""
    message, read = READERS[kind]
    content = message.to_record()
    del content["message"]["facts"]
    with pytest.raises(MessageError, match="facts"):
        read(content)


@pytest.mark.parametrize("kind", ["train", "update"])
def test_missing_weights_are_refused(kind):
    """Weights that are absent, or no arrays, are named."""
    message, read = READERS[kind]
    content = message.to_record()
    content["weights"] = ConfigRecord({"a": 1})
    with pytest.raises(MessageError, match="found no weights"):
        read(content)
    del content["weights"]
    with pytest.raises(MessageError, match="found no weights"):
        read(content)


@pytest.mark.parametrize("kind", ["train", "update"])
@example(data=b"PK\x05\x06" + bytes(18))  # an empty zip archive, which numpy opens
@example(data=b"\x93NUMPY\x01\x00")
@given(data=st.binary(max_size=200))
def test_arrays_of_garbage_are_refused(kind, data):
    """Whatever bytes stand where an array should, the answer is a MessageError."""
    message, read = READERS[kind]
    content = message.to_record()
    content["weights"] = ArrayRecord({"w": Array("float32", (1,), "numpy.ndarray", data)})
    with pytest.raises(MessageError):
        read(content)


def test_arrays_of_a_foreign_type_are_refused():
    """Only numpy's own serialisation is read."""
    content = UPDATE.to_record()
    content["weights"] = ArrayRecord({"w": Array("float32", (1,), "pickle", b"x")})
    with pytest.raises(MessageError, match="pickle"):
        Update.from_record(content)


def test_an_update_without_metrics_is_refused():
    """Metrics may be empty, not absent."""
    content = UPDATE.to_record()
    del content["metrics"]
    with pytest.raises(MessageError, match="metrics"):
        Update.from_record(content)


@pytest.mark.parametrize(
    ("name", "value"),
    [("round", "two"), ("num_examples", None), ("num_examples", float("inf")), ("round", [1])],
)
def test_an_updates_numbers_must_be_numbers(name, value):
    """A fact of another type is a MessageError, not a crash of the server."""
    content = UPDATE.to_record()
    with pytest.raises(MessageError, match="update message"):
        Update.from_record(with_facts(content, facts_of(content) | {name: value}))


@pytest.mark.parametrize(
    "confusion",
    [[[1, 2]], [[1, 2], [3]], [[-1, 2], [0, 1]], [[0, 0], [0, 0]], [[0.5, 1], [1, 1]], [], "x", None],
)
def test_a_confusion_that_is_none_is_refused(confusion):
    """Only square counts of at least one window are a confusion matrix."""
    content = EVALUATION.to_record()
    with pytest.raises(MessageError, match="evaluation message"):
        Evaluation.from_record(with_facts(content, facts_of(content) | {"confusion": {"shared": confusion}}))


def test_a_hellos_pack_must_be_a_manifest():
    """A pack record of something else is a DataError."""
    content = HELLO.to_record()
    content["pack"] = ConfigRecord({"manifest": "text"})
    with pytest.raises(DataError, match="manifest"):
        Hello.from_record(content)


def test_accuracy_is_the_share_on_the_diagonal():
    """4 of 5 windows were named correctly; a student that was not evaluated has no accuracy."""
    assert EVALUATION.accuracy("shared") == 0.8
    assert EVALUATION.accuracy("personalised") is None


def test_bytes_are_those_of_arrays_metrics_and_settings():
    """Counted by hand: array bytes (with numpy's header) and names, 8 a number, the settings' texts."""
    data = Array(WEIGHT["layer.weight"]).data
    content = RecordDict(
        {
            "weights": weights_to_record(WEIGHT),
            "metrics": MetricRecord({"ab": 0.5, "c": [1, 2]}),
            "message": ConfigRecord({"kind": "four", "version": 1}),
        }
    )
    arrays = len(data) + len("layer.weight")
    assert count_bytes(content) == arrays + (2 + 8) + (1 + 16) + (4 + 4) + (7 + 8)
    assert WEIGHT["layer.weight"].nbytes <= len(data) <= WEIGHT["layer.weight"].nbytes + 128


@every_message
def test_bytes_do_not_change_on_the_way(kind):
    """Sender and receiver count the same."""
    content = READERS[kind][0].to_record()
    assert count_bytes(transported(content)) == count_bytes(content)


def test_more_examples_than_a_person_can_have_are_no_message():
    """One client must not become the whole average, nor overflow it."""
    for claimed in (MAX_EXAMPLES + 1, 10**400, -(10**400)):
        content = Introduction("s1", ("train",), claimed).to_record()
        with pytest.raises(MessageError, match="expected at most"):
            Introduction.from_record(content)
