"""A stream gives what the full pass gives, however it is cut."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distillation.models import MODEL_NAMES, build, build_window
from distillation.streaming import Stream, WindowStream
from protocols.errors import ConfigError, DataError

torch.set_num_threads(1)

MODELS = {name: build(name, generator=torch.Generator().manual_seed(1)).eval() for name in MODEL_NAMES}
EMG = np.random.default_rng(0).normal(0, 20, (1000, 16)).astype(np.float32)


def norms_as_trained(model):
    """Batch-norm statistics of a trained model, so that streaming has something to get wrong."""
    model.train()
    with torch.no_grad():
        model(torch.from_numpy(EMG.T.copy())[None])
    return model.eval()


norms_as_trained(MODELS["convonly"])


def full_pass(name, emg):
    with torch.no_grad():
        return MODELS[name](torch.from_numpy(emg.T.copy())[None])[0].numpy()


def pieces(emg, cuts):
    return np.split(emg, sorted(cut % len(emg) for cut in cuts))


@pytest.mark.parametrize("name", MODEL_NAMES)
@settings(deadline=None, max_examples=8)
@given(cuts=st.lists(st.integers(0, 10_000), max_size=12), samples=st.integers(21, 1000))
def test_streaming_equals_the_full_pass_for_any_chunking(name, cuts, samples):
    emg = EMG[:samples]
    stream = Stream(MODELS[name])
    frames = np.concatenate([stream.feed(piece) for piece in pieces(emg, cuts)], axis=1)
    np.testing.assert_allclose(frames, full_pass(name, emg), atol=1e-5, rtol=0)
    assert stream.state.num_frames == frames.shape[1]


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_streaming_sample_by_sample_gives_a_frame_every_ten_samples(name):
    stream = Stream(MODELS[name])
    frames = [stream.feed(sample[None]) for sample in EMG[:64]]
    assert [i for i, frame in enumerate(frames) if frame.shape == (9, 1)] == [20, 30, 40, 50, 60]
    np.testing.assert_allclose(np.concatenate(frames, axis=1), full_pass(name, EMG[:64]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("rate_hz", [50, 200, 1000, 4000])
def test_streaming_works_at_other_rates(rate_hz):
    model = build("convonly", channels=16, sample_rate_hz=rate_hz).eval()
    stream = Stream(model)
    frames = np.concatenate([stream.feed(piece) for piece in pieces(EMG, range(0, 1000, 7))], axis=1)
    with torch.no_grad():
        expected = model(torch.from_numpy(EMG.T.copy())[None])[0].numpy()
    np.testing.assert_allclose(frames, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_a_kept_state_goes_on_where_it_was_taken(name):
    stream = Stream(MODELS[name])
    stream.feed(EMG[:333])
    kept = stream.state
    first = stream.feed(EMG[333:600])
    other = Stream(MODELS[name])
    other.state = kept
    np.testing.assert_array_equal(other.feed(EMG[333:600]), first)


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_a_reset_stream_has_forgotten_everything(name):
    stream = Stream(MODELS[name])
    first = stream.feed(EMG[:200])
    stream.feed(EMG[200:777])
    stream.reset()
    np.testing.assert_array_equal(stream.feed(EMG[:200]), first)


@given(
    cuts=st.lists(st.integers(0, 10_000), max_size=12),
    samples=st.integers(1, 400),
    stride=st.integers(1, 120),
)
@settings(deadline=None, max_examples=30)
def test_a_window_stream_equals_the_windowed_batch(cuts, samples, stride):
    emg = EMG[:samples, :8]
    stream = WindowStream(WINDOW_MODEL, stride)
    logits = np.concatenate([stream.feed(piece) for piece in pieces(emg, cuts)])
    starts = range(0, samples - 50 + 1, stride)
    assert stream.state.num_windows == len(starts) == len(logits)
    if starts:
        batch = np.stack([emg[start : start + 50].T for start in starts])
        with torch.no_grad():
            expected = WINDOW_MODEL(torch.from_numpy(batch)).numpy()
        np.testing.assert_allclose(logits, expected, atol=1e-5, rtol=0)


WINDOW_MODEL = build_window("convonly", channels=8, outputs=5, sample_rate_hz=200, window=50).eval()


def test_a_window_stream_can_be_reset():
    stream = WindowStream(WINDOW_MODEL, 60)
    first = stream.feed(EMG[:130, :8])
    stream.feed(EMG[130:155, :8])
    stream.reset()
    np.testing.assert_array_equal(stream.feed(EMG[:130, :8]), first)


def test_a_model_in_training_mode_is_refused():
    with pytest.raises(ConfigError, match="eval"):
        Stream(build("convonly"))
    with pytest.raises(ConfigError, match="eval"):
        WindowStream(build_window("convonly", channels=8, outputs=5, sample_rate_hz=200, window=50), 25)


def test_a_stride_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="stride"):
        WindowStream(WINDOW_MODEL, 0)


@pytest.mark.parametrize("make", [lambda: Stream(MODELS["tiny"]), lambda: WindowStream(WINDOW_MODEL, 25)])
def test_samples_of_another_channel_count_are_refused(make):
    with pytest.raises(DataError, match=r"found shape \(10, 3\)"):
        make().feed(np.zeros((10, 3)))
