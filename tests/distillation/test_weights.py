"""Weights survive the way to arrays and to files; what does not fit is refused by name."""

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distillation import weights as weights_module
from distillation.models import MODEL_NAMES, build, build_window
from distillation.weights import (
    decode,
    encode,
    get_weights,
    load_model,
    load_weights,
    read_metadata,
    save_weights,
    set_weights,
)
from protocols.errors import DataError

torch.set_num_threads(1)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def window_model(name="convonly", seed=1, **changes):
    task = {"channels": 4, "outputs": 3, "sample_rate_hz": 200, "window": 50} | changes
    return build_window(name, **task, generator=torch.Generator().manual_seed(seed)).eval()


def test_weights_are_everything_but_the_batch_norms_step_counters():
    model = window_model()
    names = list(get_weights(model))
    assert names == [name for name in model.state_dict() if not name.endswith("num_batches_tracked")]
    assert any(name.endswith("running_mean") for name in names)
    assert all(array.dtype == np.float32 for array in get_weights(model).values())


def test_weights_are_copies():
    model = window_model()
    before = get_weights(model)
    with torch.no_grad():
        model.head.bias += 1
    assert np.array_equal(get_weights(model)["head.bias"], before["head.bias"] + 1)


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_set_weights_makes_the_same_model(name):
    first, second = window_model(name, seed=1), window_model(name, seed=2)
    windows = torch.randn(2, 4, 50)
    assert not torch.equal(first(windows), second(windows))
    set_weights(second, get_weights(first))
    assert torch.equal(first(windows), second(windows))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("head.bias"), r"missing \['head.bias'\]"),
        (lambda w: w.update(extra=np.zeros(1, np.float32)), r"unexpected \['extra'\]"),
        (lambda w: w.update({"head.bias": np.zeros(4, np.float32)}), r"head.bias is \(4,\), .* \(3,\)"),
        (lambda w: w.update({"head.bias": np.zeros(3)}), "head.bias is float64, .* float32"),
        (lambda w: w.update({"head.bias": np.zeros(3, ">f4")}), "head.bias is >f4"),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_leave_the_model_alone(change, message):
    model = window_model()
    before, wrong = get_weights(model), get_weights(window_model(seed=2))
    change(wrong)
    with pytest.raises(DataError, match=message):
        set_weights(model, wrong)
    for name, array in get_weights(model).items():
        assert np.array_equal(array, before[name])


@pytest.mark.parametrize("model", [window_model("tiny"), build("convonly", channels=3).eval()])
def test_a_saved_model_comes_back_with_all_that_belongs_to_it(tmp_path, model):
    model.label_names, model.license = ("rest", "fist", "wave"), "CC-BY-4.0"
    save_weights(model, tmp_path / "m.safetensors", {"filters": {"high_pass_hz": 20}, "subject": "s01"})
    again = load_model(tmp_path / "m.safetensors")
    assert (again.spec, again.label_names, again.license) == (model.spec, model.label_names, "CC-BY-4.0")
    assert not again.training
    samples = torch.randn(2, model.spec.channels, model.spec.window or 100)
    assert torch.equal(again(samples), model(samples))
    metadata = read_metadata(tmp_path / "m.safetensors")
    assert (metadata["filters"], metadata["subject"]) == ({"high_pass_hz": 20}, "s01")


def test_plain_texts_are_readable_by_anyone_who_opens_the_file(tmp_path):
    save_weights(window_model(), tmp_path / "m.safetensors", {"license": "CC-BY-NC-4.0"})
    with safetensors.safe_open(tmp_path / "m.safetensors", framework="numpy") as file:
        raw = file.metadata()
    assert (raw["license"], raw["model"], raw["channels"], raw["window"]) == (
        "CC-BY-NC-4.0",
        "convonly",
        "4",
        "50",
    )


@settings(deadline=None)
@given(json_values)
def test_metadata_come_back_as_they_were(value):
    assert decode(encode(value)) == value


def test_the_file_holds_the_arrays(tmp_path):
    model = window_model()
    save_weights(model, tmp_path / "m.safetensors")
    loaded = load_weights(tmp_path / "m.safetensors")
    assert loaded.keys() == get_weights(model).keys()
    for name, array in get_weights(model).items():
        assert np.array_equal(loaded[name], array)


def test_equal_models_make_equal_files(tmp_path):
    facts = {"seed": 1, "rounds": 5, "license": "CC0-1.0", "who": "everybody"}
    for name in "abcdef":
        save_weights(window_model(), tmp_path / name, facts)
    assert len({(tmp_path / name).read_bytes() for name in "abcdef"}) == 1


def test_a_crash_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    save_weights(window_model(seed=1), path)
    before = path.read_bytes()

    def power_cut(descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(weights_module.os, "fsync", power_cut)
    with pytest.raises(OSError, match="Input"):
        save_weights(window_model(seed=2), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["m.safetensors"]


def test_metadata_that_contradict_the_model_are_refused(tmp_path):
    with pytest.raises(DataError, match="channels is 8, the model has 4"):
        save_weights(window_model(), tmp_path / "m.safetensors", {"channels": 8})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"\xff" * 8 + b"{}", b"PK\x03\x04 and nothing"])
def test_a_file_that_is_no_safetensors_is_refused_by_name(tmp_path, content):
    (tmp_path / "m.safetensors").write_bytes(content)
    for read in (load_weights, read_metadata, load_model):
        with pytest.raises(DataError, match=r"m\.safetensors"):
            read(tmp_path / "m.safetensors")


@pytest.mark.parametrize("kept", [4, 100, 20_000])
def test_a_truncated_file_is_refused(tmp_path, kept):
    path = tmp_path / "m.safetensors"
    save_weights(window_model(), path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"m\.safetensors"):
        load_model(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="nothing"):
        load_model(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "resnet"}, "'resnet'"),
        ({"channels": "many"}, "channels is 'many'"),
        ({"channels": str(10**12)}, "m.safetensors"),
        ({"channels": str(10**30)}, "m.safetensors"),
        ({"outputs": "5"}, "head.weight"),
        ({"window": "half"}, "window is 'half'"),
        ({"window": "null"}, "missing"),
        ({"sample_rate_hz": "Infinity"}, "sample_rate_hz"),
    ],
)
def test_a_file_that_lies_about_its_model_is_refused(tmp_path, change, message):
    path = tmp_path / "m.safetensors"
    save_weights(window_model(), path)
    facts = {key: encode(value) for key, value in read_metadata(path).items()}
    safetensors.numpy.save_file(load_weights(path), path, facts | change)
    with pytest.raises(DataError, match=message):
        load_model(path)
