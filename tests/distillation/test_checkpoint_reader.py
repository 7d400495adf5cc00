"""Broken and hostile files are refused with a sentence, and nothing in them is ever run."""

import builtins
import contextlib
import functools
import io
import os
import pickle
import random
import struct
import subprocess
import sys
import tarfile
import zipfile

import pytest
import torch

from distillation.checkpoint_pickle import Inert, InertDict, Rebuild, unpickle
from distillation.checkpoint_reader import read_state_dict
from distillation.teacher import load_teacher
from protocols.errors import DataError

torch.set_num_threads(1)

SHAPES = {"w": (3, 4), "b": (3,)}
GOOD = {"w": torch.arange(12.0).reshape(3, 4), "b": torch.arange(3.0)}


class Call:
    """Pickles as a call of `function` with these arguments."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.fixture
def trap(tmp_path):
    """A file that appears as soon as anything hostile runs."""
    path = tmp_path / "trap"
    yield path
    assert not path.exists(), "the file's code was run"


def hostile(trap):
    write = f"open({str(trap)!r}, 'w').close()"
    return {
        "os.system": Call(os.system, f"touch {trap}"),
        "builtins.eval": Call(eval, write),
        "builtins.exec": Call(exec, write),
        "builtins.open": Call(open, str(trap), "w"),
        "builtins.getattr": Call(getattr, 1, "real"),
        "builtins.__import__": Call(builtins.__import__, "this"),
        "subprocess.Popen": Call(subprocess.Popen, ["touch", str(trap)]),
        "torch.load": Call(torch.load, str(trap)),
        "torch.hub.load": Call(torch.hub.load, "a/b", "c"),
        "pickle.loads": Call(pickle.loads, pickle.dumps(Call(os.system, f"touch {trap}"))),
        "torch.nn.init.zeros_": Call(torch.nn.init.zeros_, torch.zeros(1)),
        "functools.reduce": Call(functools.reduce, max, [1, 2]),
    }


KINDS = list(hostile("x"))


def save(path, checkpoint):
    torch.save(checkpoint, path)
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["hyper_parameters", "state_dict", "partial", "key", "top"])
def test_calls_are_refused_wherever_they_hide(tmp_path, trap, kind, where):
    bomb = hostile(trap)[kind]
    checkpoint = {
        "hyper_parameters": {"state_dict": GOOD, "hyper_parameters": {"network": [{"deep": (bomb,)}]}},
        "state_dict": {"state_dict": GOOD | {"b": bomb}},
        "partial": {"state_dict": GOOD, "optimizer": functools.partial(torch.optim.Adam, lr=bomb)},
        "key": {"state_dict": GOOD, "callbacks": [(bomb, 1)]},
        "top": bomb,
    }[where]
    path = save(tmp_path / "h.ckpt", checkpoint)
    with pytest.raises(DataError, match=r"h\.ckpt: the file wants"):
        read_state_dict(path, SHAPES)
    with pytest.raises(DataError, match=r"h\.ckpt: the file wants"):
        load_teacher(path)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_calls_are_refused_in_every_pickle_protocol(trap, protocol):
    data = pickle.dumps({"state_dict": Call(os.system, f"touch {trap}")}, protocol=protocol)
    with pytest.raises(DataError, match=r"wants (posix|nt)\.system"):
        unpickle(data)


@pytest.mark.parametrize(
    "data",
    [
        b"cgeneric_neuromotor_interface.networks\nos.system\n.",  # a path of attributes
        b"cgeneric_neuromotor_interface.networks\nsystem\n.",  # a function
        b"cgeneric_neuromotor_interfaces\nNetwork\n.",  # a package of a similar name
        b"ctorch.nn\nos.system\n.",
        b"ios\nsystem\n.",
        b"(S'touch trap'\nios\nsystem\n.",
        b"(cos\nsystem\nS'touch trap'\no.",
        b"\x82\x01.",  # an extension code
        b"cbuiltins\ngetattr\n.",
        b"c__builtin__\neval\n.",
        b"cdistillation.checkpoint_pickle\nInert\n.",
    ],
)
def test_names_that_only_look_harmless_are_refused(tmp_path, data):
    path = archive(tmp_path / "h.ckpt", data)
    with pytest.raises(DataError, match=r"h\.ckpt"):
        read_state_dict(path, SHAPES)


def test_known_classes_become_inert_and_are_not_imported():
    name = "generic_neuromotor_interface.networks"
    value = unpickle(b"\x80\x02c" + name.encode() + b"\nNetwork\n)\x81}U\x01aK\x01sb.")
    assert type(value) is Inert
    assert vars(value) == {}
    assert name not in sys.modules


@pytest.mark.parametrize(
    "name", [b"collections\nOrderedDict", b"torch._utils\n_rebuild_tensor_v2", b"torch.nn\nLinear"]
)
def test_a_pickle_cannot_alter_the_reader(tmp_path, name):
    """A pickle may set attributes of what it got hold of: no later read is affected."""
    stand_ins = (Inert, InertDict, Rebuild)
    before = [dict(vars(stand_in)) for stand_in in stand_ins]
    attributes = b"}U\x08__call__K\x01s"
    for state in (attributes, attributes + attributes + b"\x86"):  # of the instance; of instance and slots
        with contextlib.suppress(DataError):
            read_state_dict(archive(tmp_path / "h.ckpt", b"\x80\x02c" + name + b"\n" + state + b"b."), SHAPES)
    assert [dict(vars(stand_in)) for stand_in in stand_ins] == before
    good = read_state_dict(save(tmp_path / "g.ckpt", {"state_dict": GOOD}), SHAPES)
    assert torch.equal(good["w"], GOOD["w"])


def archive(path, data, storages=(), **extra):
    """A zip archive as torch.save writes it, with any pickle."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", data)
        file.writestr("archive/byteorder", extra.pop("byteorder", sys.byteorder))
        for key, content in dict(storages).items():
            file.writestr(f"archive/data/{key}", content)
        for name, content in extra.items():
            file.writestr(name, content)
    return path


def tensor_pickle(*, numel=12, offset=0, shape=(3, 4), stride=(4, 1), key="0", kind="FloatStorage"):
    """`{"state_dict": {"w": tensor}}`, whatever the tensor claims."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            return obj.args if isinstance(obj, Storage) else None

    class Storage:
        args = ("storage", getattr(torch, kind), key, "cpu", numel)

    class Tensor:
        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, (Storage(), offset, shape, stride, False, {})

    buffer = io.BytesIO()
    Pickler(buffer, protocol=2).dump({"state_dict": {"w": Tensor()}})
    return buffer.getvalue()


NUMBERS = {"0": struct.pack("<12f", *range(12))}


def test_the_archive_of_these_tests_is_readable(tmp_path):
    path = archive(tmp_path / "g.ckpt", tensor_pickle(), NUMBERS)
    tensors = read_state_dict(path, {"w": (3, 4)})
    assert torch.equal(tensors["w"], GOOD["w"])


def test_what_torch_saves_is_readable(tmp_path):
    tensors = read_state_dict(save(tmp_path / "g.ckpt", {"state_dict": GOOD}), SHAPES)
    assert all(torch.equal(tensors[name], GOOD[name]) for name in GOOD)


@pytest.mark.parametrize(
    "lie",
    [
        {"numel": 13},
        {"numel": 10**15},
        {"offset": 1},
        {"offset": -1},
        {"stride": (5, 1)},
        {"stride": (-4, 1)},
        {"stride": (10**30, 1)},
        {"stride": (4,)},
        {"offset": "0"},
        {"shape": [3, 4]},
        {"shape": (True, 4)},
        {"key": "1"},
        {"key": "../data.pkl"},
        {"key": "/etc/passwd"},
        {"kind": "LongStorage", "numel": 6},
    ],
)
def test_tensors_that_do_not_fit_their_storage_are_refused(tmp_path, lie):
    path = archive(tmp_path / "h.ckpt", tensor_pickle(**lie), NUMBERS)
    with pytest.raises(DataError, match=r"h\.ckpt"):
        read_state_dict(path, {"w": (3, 4)})


@pytest.mark.parametrize("size", [0, 47, 49, 96])
def test_a_storage_of_another_size_is_refused(tmp_path, size):
    path = archive(tmp_path / "h.ckpt", tensor_pickle(), {"0": b"\x00" * size})
    with pytest.raises(DataError, match="expected 48 bytes"):
        read_state_dict(path, {"w": (3, 4)})


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/passwd", "archive/../../outside", "other/data.pkl", "archive\\..\\x"]
)
def test_entries_outside_the_archives_folder_are_refused(tmp_path, name):
    path = archive(tmp_path / "h.ckpt", tensor_pickle(), NUMBERS, **{name: "x"})
    with pytest.raises(DataError, match="outside its folder"):
        read_state_dict(path, {"w": (3, 4)})


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_of_one_name_are_refused(tmp_path):
    path = archive(tmp_path / "h.ckpt", tensor_pickle(), NUMBERS, **{"archive/data.pkl": b"cos\nsystem\n."})
    with pytest.raises(DataError, match="two entries"):
        read_state_dict(path, {"w": (3, 4)})


def test_compressed_entries_are_refused(tmp_path):
    """A few bytes could become gigabytes."""
    with zipfile.ZipFile(tmp_path / "h.ckpt", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", tensor_pickle())
    with pytest.raises(DataError, match="compressed"):
        read_state_dict(tmp_path / "h.ckpt", SHAPES)


def test_numbers_of_the_other_byte_order_are_refused(tmp_path):
    path = archive(tmp_path / "h.ckpt", tensor_pickle(), NUMBERS, byteorder="middle")
    with pytest.raises(DataError, match="middle-endian"):
        read_state_dict(path, {"w": (3, 4)})


def test_a_pickle_that_would_take_much_memory_is_refused(tmp_path):
    path = archive(tmp_path / "h.ckpt", b"\x80\x02K\x01r" + struct.pack("<I", 2**31) + b".")
    with pytest.raises(DataError, match="notes value"):
        read_state_dict(path, SHAPES)


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02)" + b"2\x86" * 60 + b"Q.",  # 2^60 empty tuples, by reference, as a storage
        b"\x80\x02}X\x0a\x00\x00\x00state_dict}" + b"X\x01\x00\x00\x00w)" + b"2\x86" * 60 + b"ss.",
    ],
)
def test_messages_about_what_was_found_stay_short(tmp_path, data):
    path = archive(tmp_path / "h.ckpt", data)
    with pytest.raises(DataError) as refusal:
        read_state_dict(path, SHAPES)
    assert len(str(refusal.value)) < 1000


@pytest.mark.parametrize("legacy", ["pickle", "tar"])
def test_the_formats_before_zip_are_refused(tmp_path, trap, legacy):
    path = tmp_path / "h.ckpt"
    bomb = Call(os.system, f"touch {trap}")
    if legacy == "pickle":
        torch.save({"state_dict": GOOD, "x": bomb}, path, _use_new_zipfile_serialization=False)
    else:
        (tmp_path / "pickle").write_bytes(pickle.dumps(bomb))
        with tarfile.open(path, "w") as tar:
            tar.add(tmp_path / "pickle", "pickle")
    for read in (load_teacher, functools.partial(read_state_dict, shapes=SHAPES)):
        with pytest.raises(DataError, match=r"h\.ckpt"):
            read(path)


def test_truncated_files_are_refused(tmp_path):
    whole = save(tmp_path / "g.ckpt", {"state_dict": GOOD}).read_bytes()
    for kept in range(0, len(whole), 97):
        (tmp_path / "h.ckpt").write_bytes(whole[:kept])
        with pytest.raises(DataError, match=r"h\.ckpt"):
            read_state_dict(tmp_path / "h.ckpt", SHAPES)


def test_damaged_files_are_read_right_or_refused(tmp_path):
    """One byte changed anywhere: a DataError, or (in bytes that carry nothing) the very same numbers."""
    whole = bytearray(save(tmp_path / "g.ckpt", {"state_dict": GOOD}).read_bytes())
    rng = random.Random(0)
    refused = 0
    for _ in range(400):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        (tmp_path / "h.ckpt").write_bytes(damaged)
        try:
            tensors = read_state_dict(tmp_path / "h.ckpt", SHAPES)
        except DataError:
            refused += 1
        else:
            assert all(torch.equal(tensors[name], GOOD[name]) for name in GOOD)
    assert refused > 100
