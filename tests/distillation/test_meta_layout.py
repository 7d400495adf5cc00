"""Meta's HDF5 files as others write them.

The two files under recordings/ were written by real pandas (3.1.1 with NumPy 2.4.6, and 2.2.3 with NumPy
1.26.4): `DataFrame.to_hdf(path, key="prompts")` and `"stages"`, after h5py wrote `data`; the older one has
`time` before `emg`, and its prompts hold numpy.str_ instead of str.
"""

import gzip
import io
import pickle
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import h5py
import numpy as np
import pytest

from distillation.meta_layout import read_header
from distillation.recording import Gap, read_recording, write_recording
from protocols.errors import DataError

HERE = Path(__file__).parent / "recordings"
NEW = "discrete_gestures_user_012_dataset_000_pandas3_numpy2.hdf5"
OLD = "discrete_gestures_user_007_dataset_001_pandas2_numpy1.hdf5"


@pytest.fixture
def unpacked(tmp_path):
    for name in (NEW, OLD):
        with gzip.open(HERE / f"{name}.gz") as packed, (tmp_path / name).open("wb") as file:
            shutil.copyfileobj(packed, file)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "subject", "prompted"),
    [(NEW, "012", ["index_press", "index_release", "thumb_up"]), (OLD, "007", ["thumb_up"] * 3)],
)
def test_files_of_pandas_are_read(unpacked, name, subject, prompted):
    recording = read_recording(unpacked / name)
    start_s = 1.69e9
    assert recording.emg.dtype == np.float32
    np.testing.assert_array_equal(
        recording.emg, np.arange(400)[:, None] + np.arange(16, dtype=np.float32) / 16
    )
    np.testing.assert_array_equal(recording.time_s[:2], [start_s, start_s + 1 / 2000])
    assert recording.subject == subject
    assert recording.sample_rate_hz == 2000
    assert recording.prompts == tuple(zip(prompted, recording.time_s[[50, 100, 300]], strict=True))
    assert [stage.name for stage in recording.stages] == ["static_arm_forward", "dynamic_arm"]
    assert recording.stages[1].start_s == recording.time_s[200]
    assert recording.gaps == (Gap(recording.time_s[199], recording.time_s[200]),)
    assert (recording.holds, recording.license, recording.units) == ((), "CC-BY-NC-4.0", "normalised")


def test_the_header_agrees_with_the_recording(unpacked):
    header = read_header(unpacked / NEW)
    assert (header.subject, header.channels, header.sample_rate_hz) == ("012", 16, 2000)
    assert header.gestures == {"index_press", "index_release", "thumb_up"}


def test_what_pandas_wrote_survives_our_writer(unpacked):
    recording = read_recording(unpacked / NEW)
    write_recording(recording, unpacked / "copy.hdf5")
    copy = read_recording(unpacked / "copy.hdf5")
    np.testing.assert_array_equal(copy.emg, recording.emg)
    assert (copy.prompts, copy.stages, copy.gaps) == (recording.prompts, recording.stages, recording.gaps)


def test_our_files_have_the_structure_that_pandas_reads(unpacked):
    """Node by node like pandas' own, apart from the order of columns; read by pandas 2.2 and 3.1."""
    write_recording(read_recording(unpacked / NEW), unpacked / "ours.hdf5")
    with h5py.File(unpacked / NEW) as theirs, h5py.File(unpacked / "ours.hdf5") as ours:
        for key in ("prompts", "stages"):
            assert set(ours[key]) == set(theirs[key])
            for name, value in theirs[key].attrs.items():
                if name not in ("TITLE", "VERSION", "CLASS"):
                    assert ours[key].attrs[name] == value, name
            assert set(ours[key]["axis0"][()]) == set(theirs[key]["axis0"][()])
            np.testing.assert_array_equal(ours[key]["axis1"], theirs[key]["axis1"])


class Runs:
    """Pickles into a call of os.mkdir."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        import os

        return os.mkdir, (self.folder,)


def hostile_pickles(trap):
    protocol_0 = b"cos\nmkdir\n(V" + str(trap).encode() + b"\ntR."
    return {
        "a call": pickle.dumps(Runs(trap)),
        "a call inside an array": pickle.dumps(np.array([Runs(trap), "a"], dtype=object)),
        "a call by protocol 0": protocol_0,
        "a name of NumPy that is not needed": pickle.dumps(np.load),
        "numbers": pickle.dumps(np.array([1, 2], dtype=object)),
        "an array of numbers": pickle.dumps(np.arange(3)),
        "no array": pickle.dumps(["a", "b"]),
        "cut short": pickle.dumps(np.array(["a"], dtype=object))[:-9],
        "garbage": bytes(range(256)),
        "nothing": b"",
    }


@pytest.mark.parametrize("kind", sorted(hostile_pickles("")))
def test_a_hostile_pickle_is_refused_and_nothing_runs(unpacked, kind):
    trap = unpacked / "trap"
    path = unpacked / NEW
    with h5py.File(path, "r+") as file:
        file["prompts/block0_values"][0] = np.frombuffer(hostile_pickles(trap)[kind], dtype=np.uint8)
    with pytest.raises(DataError, match=r"numpy2\.hdf5: prompts"):
        read_recording(path)
    assert not trap.exists()


def test_hostile_attributes_are_never_unpickled(unpacked):
    """PyTables would unpickle them; the reader does not look."""
    trap = unpacked / "trap"
    with h5py.File(unpacked / NEW, "r+") as file:
        for node in (file["prompts"], file["prompts/block0_items"], file["data"], file):
            node.attrs["name"] = np.bytes_(pickle.dumps(Runs(trap), 0))
    assert len(read_recording(unpacked / NEW).prompts) == 3
    assert not trap.exists()


def test_the_trap_works():
    """Otherwise the tests above could not fail."""
    with pytest.raises(FileExistsError):
        pickle.load(io.BytesIO(pickle.dumps(Runs("/"))))  # noqa: S301


def damage_no_data(file):
    del file["data"]


def damage_time_backwards(file):
    rows = file["data"][()]
    rows["time"] = rows["time"][::-1]
    file["data"][...] = rows


def damage_time_nan(file):
    rows = file["data"][()]
    rows["time"][3] = np.nan
    file["data"][...] = rows


def damage_fields(file):
    del file["data"]
    file["data"] = np.zeros(3, dtype=[("emg", "<f4", (16,)), ("clock", "<f8")])


def damage_emg_shape(file):
    del file["data"]
    file["data"] = np.zeros(3, dtype=[("emg", "<f4"), ("time", "<f8")])


def damage_time_texts(file):
    del file["data"]
    file["data"] = np.zeros(3, dtype=[("emg", "<f4", (16,)), ("time", "S8")])


def damage_no_samples(file):
    del file["data"]
    file["data"] = np.zeros(0, dtype=[("emg", "<f4", (16,)), ("time", "<f8")])


def damage_more_samples_than_any_memory(file):
    del file["data"]
    row = np.dtype([("emg", "<f4", (16,)), ("time", "<f8")])
    file.create_dataset("data", shape=(1 << 52,), chunks=(1024,), dtype=row)


def damage_attribute(**attributes):
    def damage(file):
        file["data"].attrs.update(attributes)

    return damage


def damage_prompts_column(file):
    file["prompts/block1_items"][...] = np.array([b"when"])


def damage_prompts_group(file):
    del file["prompts"]
    file["prompts"] = np.zeros(3)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_no_data, "expected a dataset `data`"),
        (damage_time_backwards, "never to run backwards"),
        (damage_time_nan, "finite"),
        (damage_fields, "fields emg and time"),
        (damage_emg_shape, r"expected emg as float32 \(T, C\)"),
        (damage_time_texts, r"expected time as float64 \(T,\) with samples, found \|S8"),
        (damage_no_samples, r"expected time as float64 \(T,\) with samples, found float64 in \(0,\)"),
        (damage_more_samples_than_any_memory, "is no readable HDF5 recording"),
        (damage_attribute(session=np.inf), "attribute session as a finite number, found inf"),
        (damage_attribute(session="first"), "attribute session as a finite number, found 'first'"),
        (damage_attribute(session=1e300), r"attribute session as a whole number, found 1e\+300"),
        (damage_attribute(sample_rate_hz=np.nan), "attribute sample_rate_hz as a finite number, found nan"),
        (damage_attribute(sample_rate_hz="fast"), "attribute sample_rate_hz as a finite number"),
        (damage_attribute(subject=np.zeros(3)), "attribute subject as text"),
        (damage_attribute(gaps="none"), r"attribute gaps as finite numbers \(n, 2\), found"),
        (damage_attribute(gaps=np.zeros(3)), r"attribute gaps as finite numbers \(n, 2\), found"),
        (damage_attribute(link_quality="{"), "link_quality: expected a JSON object, found '{'"),
        (damage_attribute(link_quality="[1]"), "link_quality: expected a JSON object"),
        (damage_attribute(link_quality="[" * 100_000), "is no readable HDF5|link_quality: expected a JSON"),
        (damage_attribute(link_quality=np.zeros(3)), "attribute link_quality as text"),
        (
            damage_attribute(link_quality='{"frames": -1}'),
            "link_quality: found frames = -1, expected a whole",
        ),
        (damage_attribute(link_quality='{"frames": 1.5}'), r"link_quality: found frames = 1\.5, expected"),
        (damage_attribute(link_quality='{"jitter_ms": Infinity}'), "link_quality: found jitter_ms = inf"),
        (damage_attribute(link_quality='{"drift_ppm": "high"}'), "link_quality: found drift_ppm = 'high'"),
        (damage_prompts_column, "prompts: expected a column 'time'"),
        (damage_prompts_group, "prompts: is no pandas frame"),
    ],
)
def test_a_foreign_file_is_refused_with_what_was_expected(unpacked, damage, message):
    with h5py.File(unpacked / NEW, "r+") as file:
        damage(file)
    with pytest.raises(DataError, match=rf"numpy2\.hdf5: .*{message}"):
        read_recording(unpacked / NEW)


@pytest.mark.parametrize("damage", [damage_time_texts, damage_no_samples, damage_attribute(session=np.inf)])
def test_the_header_of_such_a_file_is_refused_as_well(unpacked, damage):
    with h5py.File(unpacked / NEW, "r+") as file:
        damage(file)
    with pytest.raises(DataError, match=r"numpy2\.hdf5: expected"):
        read_header(unpacked / NEW)


def test_a_person_may_be_a_number(unpacked):
    with h5py.File(unpacked / NEW, "r+") as file:
        file["data"].attrs.update(subject=12, session=3)
    header = read_header(unpacked / NEW)
    assert (header.subject, header.session) == ("12", 3)


def test_a_disk_without_room_is_a_sentence_and_leaves_nothing(tmp_path):
    """In a process of its own: the limit cannot be lifted again."""
    script = textwrap.dedent(
        """
        import resource, signal, sys
        from pathlib import Path
        import numpy as np
        from distillation.recording import Recording, write_recording
        from protocols.errors import DataError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
        emg = np.zeros((100_000, 8), np.float32)
        try:
            write_recording(Recording(emg, np.arange(100_000) / 1000, 1000.0, "ada"), Path(sys.argv[1]))
        except DataError as error:
            print(error)
        """
    )
    command = [sys.executable, "-c", script, str(tmp_path / "a.hdf5")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "4.2 MB do not fit on the disk" in done.stdout
    assert list(tmp_path.iterdir()) == []
