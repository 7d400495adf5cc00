"""A Lightning checkpoint of the published network becomes our teacher; nothing in the file is run."""

import functools
import sys
import types

import pytest
import torch

from distillation.models import build, build_window, num_parameters
from distillation.targets import GESTURES
from distillation.teacher import load_teacher, teacher_license
from distillation.weights import save_weights
from protocols.errors import DataError

torch.set_num_threads(1)


class Network(torch.nn.Module):
    """Stands for the published network class: same layer names, pickled by reference to its module."""

    __module__ = "generic_neuromotor_interface.networks"
    __qualname__ = "DiscreteGesturesArchitecture"

    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.conv_layer = torch.nn.Conv1d(16, 512, 21, stride=10)
        self.relu = torch.nn.ReLU()
        self.dropout = torch.nn.Dropout(0.1)
        self.post_conv_layer_norm = torch.nn.LayerNorm(512)
        self.lstm = torch.nn.LSTM(512, 512, 3, batch_first=True, dropout=0.1)
        self.post_lstm_layer_norm = torch.nn.LayerNorm(512)
        self.projection = torch.nn.Linear(512, 9)
        self.to(dtype)

    def forward(self, x):
        x = self.conv_layer(64 * x / (32 + x.abs())).relu().transpose(1, 2)
        x, _ = self.lstm(self.post_conv_layer_norm(x))
        return self.projection(self.post_lstm_layer_norm(x)).transpose(1, 2)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(4)
    return Network().eval()


@pytest.fixture
def published_module(monkeypatch):
    """The module that pickles refer to, for as long as one is written."""
    module = types.ModuleType(Network.__module__)
    module.DiscreteGesturesArchitecture = Network
    monkeypatch.setitem(sys.modules, "generic_neuromotor_interface", types.ModuleType("package"))
    monkeypatch.setitem(sys.modules, Network.__module__, module)
    return monkeypatch


def lightning(network, **changes):
    """What Lightning saves, as far as a reader can tell."""
    parameters = dict(network.named_parameters())
    return {
        "epoch": 12,
        "global_step": 3456,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": network.state_dict(prefix="network."),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"current": {"ready": 1}}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'val_loss'}": {"best_model_score": torch.tensor(0.5)}},
        "optimizer_states": [torch.optim.Adam(parameters.values()).state_dict()],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {
            "network": network,
            "optimizer": functools.partial(torch.optim.Adam, lr=5e-4),
            "lr_scheduler_milestones": [25],
        },
    } | changes


@pytest.fixture
def checkpoint(tmp_path, network, published_module):
    path = tmp_path / "model_checkpoint.ckpt"
    torch.save(lightning(network), path)
    published_module.undo()
    return path


def test_a_lightning_checkpoint_becomes_the_teacher(checkpoint, network):
    teacher = load_teacher(checkpoint)
    assert not teacher.training
    assert num_parameters(teacher) == 6_482_953
    samples = 30 * torch.randn(2, 16, 321)
    with torch.no_grad():
        torch.testing.assert_close(teacher(samples), network(samples), atol=1e-5, rtol=0)
    assert not any(name.startswith("generic_neuromotor_interface") for name in sys.modules)


def test_the_checkpoints_licence_and_gestures_come_along(checkpoint, tmp_path):
    teacher = load_teacher(checkpoint)
    assert teacher.license == teacher_license(checkpoint) == "CC-BY-NC-4.0"
    assert teacher.label_names == GESTURES
    save_weights(teacher, tmp_path / "teacher.safetensors")
    again = load_teacher(tmp_path / "teacher.safetensors")
    assert (again.license, again.label_names) == ("CC-BY-NC-4.0", GESTURES)
    assert teacher_license(tmp_path / "teacher.safetensors") == "CC-BY-NC-4.0"
    assert torch.equal(again.projection.weight, teacher.projection.weight)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-7), (torch.float16, 1e-3), (torch.bfloat16, 1e-2)]
)
def test_other_floating_types_are_converted_to_float32(tmp_path, network, dtype, tolerance):
    states = {f"network.{name}": tensor.to(dtype) for name, tensor in network.state_dict().items()}
    torch.save({"state_dict": states}, tmp_path / "t.ckpt")
    teacher = load_teacher(tmp_path / "t.ckpt")
    assert all(tensor.dtype == torch.float32 for tensor in teacher.state_dict().values())
    torch.testing.assert_close(teacher.lstm.weight_hh_l1, network.lstm.weight_hh_l1, atol=tolerance, rtol=0)


def test_tensors_that_share_a_storage_are_told_apart(tmp_path, network):
    """A GPU keeps an LSTM's weights end to end in one storage; transposed views are possible, too."""
    states = network.state_dict(prefix="network.")
    flat = torch.cat([tensor.flatten() for tensor in states.values()])
    views, start = {}, 0
    for name, tensor in states.items():
        views[name] = flat[start : start + tensor.numel()].view(tensor.shape)
        start += tensor.numel()
    views["network.projection.weight"] = views["network.projection.weight"].T.contiguous().T
    torch.save({"state_dict": views}, tmp_path / "t.ckpt")
    teacher = load_teacher(tmp_path / "t.ckpt")
    for name, tensor in teacher.state_dict().items():
        assert torch.equal(tensor, states[f"network.{name}"]), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("network.projection.bias"), r"missing \['network.projection.bias'\]"),
        (lambda s: s.update({"network.extra": torch.zeros(1)}), r"unexpected \['network.extra'\]"),
        (
            lambda s: s.update({"network.projection.bias": torch.zeros(8)}),
            r"network.projection.bias is \(8,\), expected \(9,\)",
        ),
        (
            lambda s: s.update({"network.projection.bias": torch.zeros(9, dtype=torch.int64)}),
            "network.projection.bias",
        ),
        (
            lambda s: s.update({"network.projection.bias": torch.full((9,), float("nan"))}),
            "network.projection.bias .* not finite",
        ),
        (lambda s: s.update({"network.projection.bias": [0.0] * 9}), "is list, expected a tensor"),
    ],
)
def test_tensors_that_are_not_the_teachers_are_refused_by_name(tmp_path, network, change, message):
    states = dict(network.state_dict(prefix="network."))
    change(states)
    torch.save({"state_dict": states}, tmp_path / "t.ckpt")
    with pytest.raises(DataError, match=rf"t\.ckpt: .*{message}"):
        load_teacher(tmp_path / "t.ckpt")


def test_a_file_without_a_state_dict_is_refused(tmp_path):
    torch.save({"model": {}}, tmp_path / "t.ckpt")
    with pytest.raises(DataError, match="no state_dict"):
        load_teacher(tmp_path / "t.ckpt")


@pytest.mark.parametrize("window", [None, 50])
def test_our_own_teachers_load_for_streams_and_for_windows(tmp_path, window):
    task = {"channels": 8, "outputs": 6, "sample_rate_hz": 200}
    model = build("student", **task) if window is None else build_window("teacher", **task, window=window)
    model.license = "CC-BY-4.0"
    save_weights(model.eval(), tmp_path / "teacher.safetensors")
    teacher = load_teacher(tmp_path / "teacher.safetensors")
    samples = torch.randn(1, 8, 50)
    assert (teacher.license, teacher.training) == ("CC-BY-4.0", False)
    assert torch.equal(teacher(samples), model(samples))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.ckpt"):
        load_teacher(tmp_path / "nothing.ckpt")
