"""What was recorded, played as a board."""

import asyncio
import itertools
import time

import numpy as np
import pytest

from device.links.link import open_link
from device.links.played_frames import end_us, played_hello, recorded_frames, samples_per_frame
from device.links.played_link import PlayedLink
from device.tracker import SampleTracker
from distillation.recording import Gap, Hold, Recording, write_recording
from protocols.errors import ConfigError, DataError
from protocols.frame import Marker, Samples, encode_payload
from simulations.synthetic import write_dataset

RATE_HZ, C = 200.0, 3
START_S = 1.7e9


def recording(lost=(), *, n=100, prompts=(("fist", 0.1), ("rest", 0.3))):
    """Half a second that counts up, without the samples of `lost` (slices)."""
    index = np.arange(n)
    for part in lost:
        index = np.setdiff1d(index, np.arange(n)[part])
    time_s = START_S + index / RATE_HZ
    emg = np.repeat(index[:, None].astype(np.float32), C, axis=1)
    return Recording(
        emg,
        time_s,
        RATE_HZ,
        "ada",
        prompts=tuple((name, START_S + at_s) for name, at_s in prompts),
        gaps=tuple(Gap(float(a), float(b)) for a, b in itertools.pairwise(time_s) if b - a > 1.5 / RATE_HZ),
    )


def hello(rate_hz=RATE_HZ, channels=C, **options):
    return played_hello("replay-ada", channels, rate_hz, 1.0, **options)


def frames_of(*recordings, **options):
    return list(recorded_frames(recordings, hello(), **options))


def samples_of(frames):
    return [frame for frame in frames if isinstance(frame, Samples)]


def markers_of(frames):
    return [(frame.label, frame.time_us) for frame in frames if isinstance(frame, Marker)]


async def everything(url, **options):
    async with open_link(str(url), **options) as link:
        return link, [(frame, link.arrived_s) async for frame in link]


def test_all_samples_come_in_order_with_their_instants():
    samples = samples_of(frames_of(recording()))
    assert np.concatenate([frame.samples for frame in samples])[:, 0].tolist() == list(range(100))
    assert [(frame.sequence, frame.time_us) for frame in samples] == [(i, 20_000 * i) for i in range(25)]


def test_prompts_are_markers_among_the_samples():
    frames = frames_of(recording())
    assert markers_of(frames) == [("fist", 100_000), ("rest", 300_000)]
    at = next(i for i, frame in enumerate(frames) if isinstance(frame, Marker))
    assert frames[at - 1].time_us < 100_000 <= frames[at + 1].time_us + 15_000


def test_a_recorded_gap_is_a_gap_in_time_and_sequence():
    (tracked, pieces) = track(frames_of(recording([slice(22, 42)])))
    assert tracked.lost_frames == 5
    assert tracked.lost_samples == 20
    assert [int(piece.device_us[0]) for piece in pieces if piece.after_gap] == [210_000]
    assert np.concatenate([piece.emg_uv for piece in pieces])[:, 0].tolist() == [*range(22), *range(42, 100)]


def test_a_gap_of_one_sample_is_told_too():
    tracked, pieces = track(frames_of(recording([slice(50, 51)])))
    assert tracked.lost_frames == 1
    assert sum(piece.after_gap for piece in pieces) == 1


def track(frames):
    tracker = SampleTracker(hello())
    pieces = [tracker.take(frame, START_S + frame.time_us * 1e-6) for frame in frames]
    return tracker.quality(), [piece for piece in pieces if piece is not None]


def test_trials_follow_each_other_without_a_pause_and_a_loop_goes_on():
    trial = recording(prompts=())
    held = Recording(trial.emg, trial.time_s, RATE_HZ, "ada", holds=(Hold("fist", START_S, START_S + 0.5),))
    frames = list(itertools.islice(recorded_frames([held, held], hello(), loop=True), 26 * 4))
    tracked, pieces = track(frames)
    assert (tracked.lost_frames, len(pieces)) == (0, 100)
    assert markers_of(frames) == [("fist", 500_000 * i) for i in range(4)]
    assert np.unique(np.diff(np.concatenate([piece.device_us for piece in pieces]))).tolist() == [5000]


def test_a_frame_is_never_longer_than_the_wire_allows():
    wide = hello(10_000.0, 64)
    n = samples_per_frame(wide)
    assert n < 200
    encode_payload(Samples.of(0, 0, np.zeros((n, 64), np.int16)))


def test_a_recording_file_is_played_to_its_end(tmp_path):
    write_recording(recording(), tmp_path / "a.hdf5")
    link, given = asyncio.run(everything(f"replay://{tmp_path}/a.hdf5?speed=0"))
    samples = samples_of(frame for frame, _ in given)
    found = np.concatenate([frame.samples for frame in samples]) * link.hello.uv_per_count
    assert np.abs(found[:, 0] - np.arange(100)).max() <= link.hello.uv_per_count / 2
    assert (link.hello.sample_rate_hz, link.hello.num_channels, link.hello.board_id) == (
        RATE_HZ,
        C,
        "replay-ada",
    )


def test_at_full_speed_frames_arrive_when_they_would_have(tmp_path):
    write_recording(recording(), tmp_path / "a.hdf5")
    _, given = asyncio.run(everything(f"replay://{tmp_path}/a.hdf5?speed=0"))
    arrivals = [at_s for frame, at_s in given if isinstance(frame, Samples)]
    assert np.allclose(np.diff(arrivals), 0.02, atol=1e-6)  # float64 of Unix time


def test_speed_is_kept_and_told(tmp_path):
    write_recording(recording(), tmp_path / "a.hdf5")
    begun_s = time.monotonic()
    link, given = asyncio.run(everything(f"replay://{tmp_path}/a.hdf5?speed=5"))
    assert time.monotonic() - begun_s >= 0.495 / 5
    assert link.hello.capabilities == ("speed=5",)
    assert given[-1][1] - given[0][1] >= 0.05


def test_a_datasets_person_is_played_by_name(tmp_path):
    folder = write_dataset(tmp_path / "crowd", num_people=2, seed=0, repetitions=1, hold_s=0.5)
    link, given = asyncio.run(everything("replay://crowd?subject=syn001&speed=0", data_dir=tmp_path))
    other, _ = asyncio.run(everything(f"replay://{folder}?speed=0"))
    assert (link.hello.board_id, other.hello.board_id) == ("replay-syn001", "replay-syn000")
    assert link.hello.uv_per_count == 0.1
    labels = [frame.label for frame, _ in given if isinstance(frame, Marker)]
    assert len(labels) == len(set(labels)) == 8
    assert sum(len(frame.samples) for frame in samples_of(f for f, _ in given)) == 8 * 0.5 * 200


def test_nothing_is_lost_where_the_reader_gives_up_waiting():
    async def read():
        link = PlayedLink("replay://x", hello(), frames_of(recording()))
        got = []
        while len(got) < 6:
            try:
                async with asyncio.timeout(0.003):
                    got.append(await anext(link))
            except TimeoutError:
                pass
        return got

    samples = asyncio.run(read())
    assert [frame.sequence for frame in samples_of(samples)] == list(range(len(samples_of(samples))))
    assert len(samples_of(samples)) >= 5


def test_commands_are_answered_and_stop_ends_it():
    async def ask():
        link = PlayedLink("replay://x", hello(), frames_of(recording()), speed=0)
        answers = [await link.command(name) for name in ("hello", "start", "prompt", "stop")]
        return answers, [frame async for frame in link]

    answers, rest = asyncio.run(ask())
    assert [answer.accepted for answer in answers] == [True, True, False, True]
    assert "prompt" in answers[2].message
    assert rest == []


def test_an_answer_is_stamped_by_the_frames_own_clock():
    """So that a hold begins where its prompt was answered."""

    async def ask():
        link = PlayedLink("replay://x", hello(), frames_of(recording()), speed=0)
        ends = []
        for _ in range(3):
            frame = await anext(link)
            ends.append((round(end_us(frame, link.hello)), (await link.command("hello")).time_us))
        return ends

    assert all(last_us == answered_us for last_us, answered_us in asyncio.run(ask()))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("replay://", "no such file"),
        ("replay:///nowhere/a.hdf5", "no such file"),
        ("replay://nobody", "expected a folder of recordings"),
        ("replay://FILE?speed=fast", "speed='fast', expected a number above 0"),
        ("replay://FILE?subject=bob", "found subject 'bob', the recording is of 'ada'"),
        ("replay://FILE?pace=2", "found the option 'pace'"),
    ],
)
def test_a_wrong_address_says_what_is_wrong(tmp_path, url, expected):
    write_recording(recording(), tmp_path / "a.hdf5")
    with pytest.raises(ConfigError, match=expected):
        asyncio.run(everything(url.replace("FILE", str(tmp_path / "a.hdf5")), data_dir=tmp_path))


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "a.hdf5").write_bytes(b"no HDF5")
    with pytest.raises(DataError, match=r"a\.hdf5"):
        asyncio.run(everything(f"replay://{tmp_path}/a.hdf5"))
