"""What a model is, checked against the specification and against torch's own layers."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import myofed
from distillation.models import (
    MODEL_NAMES,
    build,
    build_from_spec,
    build_window,
    fold_batch_norm,
    num_parameters,
)
from distillation.timing import FrameTiming
from protocols.errors import ConfigError, DataError

torch.set_num_threads(1)

PARAMETERS = {
    "teacher": 6_482_953,
    "student": 589_257,
    "student-256": 967_817,
    "gru": 393_817,
    "tiny": 144_249,
    "convonly": 77_577,
}
sizes = st.fixed_dictionaries(
    {"channels": st.integers(1, 64), "outputs": st.integers(1, 100), "sample_rate_hz": st.floats(50, 5000)}
)


def random_norms(model, seed=0):
    """Batch norms with statistics and scales as after some training."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            for tensor in (module.running_mean, module.bias.data):
                tensor.copy_(torch.randn(tensor.shape, generator=generator))
            for tensor in (module.running_var, module.weight.data):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    return model.eval()


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_parameter_counts_are_those_of_the_specification(name):
    assert num_parameters(build(name)) == PARAMETERS[name]


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_there_is_one_frame_for_each_stride_that_the_kernel_fits(name):
    model = build(name).eval()
    for samples, frames in [(21, 1), (30, 1), (31, 2), (160, 14)]:
        assert model(torch.zeros(2, 16, samples)).shape == (2, 9, frames)


def test_sixteen_thousand_samples_give_1598_frames():
    assert build("convonly").eval()(torch.zeros(1, 16, 16000)).shape == (1, 9, 1598)


@pytest.mark.parametrize("name", MODEL_NAMES)
@pytest.mark.parametrize("shape", [(1, 16, 20), (1, 8, 100), (16, 100)])
def test_samples_that_no_frame_can_be_made_of_are_refused(name, shape):
    with pytest.raises(DataError, match="found"):
        build(name).eval()(torch.zeros(shape))


def test_the_teacher_is_the_published_computation():
    """Written out once more with the published names: compression, conv, ReLU, norm, LSTM, norm, linear."""
    model = build("teacher", generator=torch.Generator().manual_seed(1)).eval()
    weights = model.state_dict()
    assert {key.split(".")[0] for key in weights} == {
        "conv_layer",
        "post_conv_layer_norm",
        "lstm",
        "post_lstm_layer_norm",
        "projection",
    }
    samples = 40 * torch.randn(2, 16, 161, generator=torch.Generator().manual_seed(2))
    x = 64 * samples / (32 + samples.abs())
    x = torch.nn.functional.conv1d(x, weights["conv_layer.weight"], weights["conv_layer.bias"], stride=10)
    x = layer_norm(x.relu().transpose(1, 2), weights, "post_conv_layer_norm")
    for layer in range(3):
        x = lstm_by_hand(x, *(weights[f"lstm.{kind}_l{layer}"] for kind in LSTM_WEIGHTS))
    x = layer_norm(x, weights, "post_lstm_layer_norm")
    expected = (x @ weights["projection.weight"].T + weights["projection.bias"]).transpose(1, 2)
    torch.testing.assert_close(model(samples), expected, atol=1e-5, rtol=0)


LSTM_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def layer_norm(x, weights, name):
    normed = (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    return normed * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def lstm_by_hand(x, w_in, w_state, b_in, b_state):
    state = cell = torch.zeros(x.shape[0], w_state.shape[1])
    states = []
    for frame in x.unbind(1):
        i, f, g, o = (frame @ w_in.T + state @ w_state.T + b_in + b_state).chunk(4, dim=1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        state = o.sigmoid() * cell.tanh()
        states.append(state)
    return torch.stack(states, dim=1)


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_a_frame_depends_on_no_later_sample(name):
    model = random_norms(build(name))
    samples = torch.randn(1, 16, 421)  # 41 frames; frame 20 is stamped at sample 220
    changed = samples.clone()
    changed[:, :, 221:] += 100
    before, after = model(samples), model(changed)
    torch.testing.assert_close(after[:, :, :21], before[:, :, :21], atol=1e-6, rtol=0)
    assert not torch.allclose(after[:, :, 21], before[:, :, 21], atol=1e-4)


def test_convonly_sees_49_frames():
    model = random_norms(build("convonly")).double()
    samples = torch.randn(1, 16, 21 + 10 * 80, dtype=torch.float64, requires_grad=True)
    model(samples)[0, :, 60].sum().backward()  # stamped at sample 620
    seen = samples.grad[0].abs().sum(0).nonzero()[:, 0]
    assert (seen.min(), seen.max()) == (620 - 20 - 48 * 10, 620)


@pytest.mark.parametrize(
    ("rate_hz", "kernel", "stride"), [(2000, 21, 10), (4000, 42, 20), (200, 3, 1), (50, 3, 1)]
)
def test_the_front_keeps_its_length_in_time_at_any_rate(rate_hz, kernel, stride):
    model = build("tiny", channels=8, outputs=5, sample_rate_hz=rate_hz).eval()
    assert (model.timing.kernel, model.timing.stride) == (kernel, stride)
    assert model(torch.zeros(1, 8, kernel + 2 * stride)).shape == (1, 5, 3)


@settings(deadline=None)
@given(st.floats(50, 5000), st.integers(0, 5000))
def test_each_frame_has_a_time_stamp(rate_hz, samples):
    timing = FrameTiming.at_rate(rate_hz)
    times = timing.output_times(np.arange(samples, dtype=np.float64))
    assert len(times) == timing.num_frames(samples)
    assert np.array_equal(times, timing.kernel - 1 + timing.stride * np.arange(len(times)))


def test_frames_at_2_khz_are_stamped_at_samples_20_30_40():
    assert FrameTiming.at_rate(2000).output_times(np.arange(45.0)).tolist() == [20, 30, 40]


@pytest.mark.parametrize("name", [*MODEL_NAMES])
def test_a_generator_fixes_the_initial_weights_and_leaves_the_global_one_alone(name):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second = (
        build_window(
            name,
            channels=4,
            outputs=3,
            sample_rate_hz=200,
            window=50,
            generator=torch.Generator().manual_seed(7),
        )
        for _ in range(2)
    )
    assert torch.rand(1) == expected
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_the_global_generator_fixes_the_initial_weights_too():
    def weights():
        torch.manual_seed(3)
        return build("tiny").conv_layer.weight

    assert torch.equal(weights(), weights())


@pytest.mark.parametrize("make", [build, lambda name: build_window(name, **TASK)])
def test_an_unknown_name_lists_the_known_ones(make):
    with pytest.raises(ConfigError, match=r"'studnet'.*teacher, student, student-256, gru, tiny, convonly"):
        make("studnet")


TASK = {"channels": 8, "outputs": 8, "sample_rate_hz": 200, "window": 50}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("channels", 0),
        ("outputs", 0),
        ("channels", 10**12),
        ("outputs", 10**12),
        ("sample_rate_hz", float("nan")),
        ("window", 2),
    ],
)
def test_impossible_sizes_are_refused_by_name(key, value):
    with pytest.raises(ConfigError, match=key):
        build_window("convonly", **TASK | {key: value})


@settings(deadline=None)
@given(sizes, st.floats(0.1, 1.0))
def test_convonly_windows_never_exceed_80_000_parameters(size, window_s):
    window = max(5, round(window_s * size["sample_rate_hz"]))
    with torch.device("meta"):
        model = build_window("convonly", **size, window=window)
    assert num_parameters(model) <= 80_000


@pytest.mark.parametrize(
    ("name", "task", "parameters"),
    [
        ("convonly", (8, 8, 200, 50), 63_328),
        ("convonly", (10, 11, 1000, 250), 66_997),
        ("teacher", (8, 8, 200, 50), 202_080),
        ("teacher", (10, 11, 1000, 250), 236_797),
    ],
)
def test_the_measured_window_models_keep_their_size(name, task, parameters):
    channels, outputs, rate_hz, window = task
    model = build_window(name, channels=channels, outputs=outputs, sample_rate_hz=rate_hz, window=window)
    assert num_parameters(model) == parameters


def test_convonly_windows_shrink_for_thousands_of_classes_and_refuse_what_cannot_fit():
    assert num_parameters(build_window("convonly", **TASK | {"outputs": 3000})) <= 80_000
    with pytest.raises(ConfigError, match="60000 classes"):
        build_window("convonly", **TASK | {"outputs": 60_000})


@pytest.mark.parametrize("name", MODEL_NAMES)
@settings(deadline=None, max_examples=8)
@given(size=sizes)
def test_windows_of_any_size_become_one_row_of_logits(name, size):
    window = max(5, round(0.25 * size["sample_rate_hz"]))
    model = build_window(name, **size, window=window).eval()
    windows = torch.randn(2, size["channels"], window)
    logits = model(windows)
    assert logits.shape == (2, size["outputs"])
    torch.testing.assert_close(logits, model.head(model.embed(windows)))


@given(sizes)
@settings(deadline=None, max_examples=20)
def test_the_teacher_is_clearly_larger_than_every_student(size):
    window = max(5, round(0.25 * size["sample_rate_hz"]))
    with torch.device("meta"):
        teacher = num_parameters(build_window("teacher", **size, window=window))
        students = [
            num_parameters(build_window(name, **size, window=window))
            for name in MODEL_NAMES
            if name != "teacher"
        ]
    assert teacher > 1.2 * max(students)


@pytest.mark.parametrize("name", MODEL_NAMES)
@pytest.mark.parametrize("shape", [(2, 8, 49), (2, 7, 50), (8, 50)])
def test_windows_of_another_shape_are_refused(name, shape):
    with pytest.raises(DataError, match=r"reads \(N, 8, 50\)"):
        build_window(name, **TASK)(torch.zeros(shape))


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_window_models_learn_on_a_cpu(name):
    """Two gestures that differ in which of two channels is active: 30 steps tell them apart."""
    torch.manual_seed(0)
    labels = torch.arange(64) % 2
    windows = torch.randn(64, 2, 50) * torch.where(
        labels[:, None, None] == torch.arange(2)[:, None], 2.0, 0.5
    )
    model = build_window(name, channels=2, outputs=2, sample_rate_hz=200, window=50)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(30):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(windows), labels).backward()
        optimizer.step()
    assert (model.eval()(windows).argmax(1) == labels).float().mean() > 0.95


def test_folding_batch_norm_keeps_the_logits():
    model = random_norms(build("convonly"))
    folded = fold_batch_norm(model)
    samples = torch.randn(2, 16, 500)
    assert num_parameters(folded) == 77_257
    assert num_parameters(model) == 77_577
    torch.testing.assert_close(folded(samples), model(samples), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["convonly", "teacher"])
def test_folding_batch_norm_keeps_a_window_models_logits(name):
    model = random_norms(build_window(name, **TASK))
    windows = torch.randn(3, 8, 50)
    folded = fold_batch_norm(model)
    assert num_parameters(folded) < num_parameters(model)
    torch.testing.assert_close(folded(windows), model(windows), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("model", [build("gru", channels=3), build_window("tiny", **TASK)])
def test_a_model_is_built_again_from_its_spec(model):
    again = build_from_spec(model.spec)
    assert {k: v.shape for k, v in again.state_dict().items()} == {
        k: v.shape for k, v in model.state_dict().items()
    }


def test_the_models_command_tells_what_the_models_are(capsys):
    myofed.models(as_json=True)
    told = json.loads(capsys.readouterr().out)["models"]
    assert {model["name"]: model["parameters"] for model in told} == PARAMETERS
    assert {model["output_rate_hz"] for model in told} == {200}
    myofed.models(channels=8, outputs=5, rate=200, window=50)
    lines = capsys.readouterr().out.splitlines()
    parameters = num_parameters(build_window("gru", channels=8, outputs=5, sample_rate_hz=200, window=50))
    assert [f"{parameters:,}" in line for line in lines] == [line.startswith("gru") for line in lines]
