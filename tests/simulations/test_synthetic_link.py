"""Synthetic people as boards."""

import asyncio

import numpy as np
import pytest

from device.links.link import open_link
from distillation.datasets import open_dataset
from protocols.errors import ConfigError
from protocols.frame import Samples
from simulations.synthetic_link import synthetic_people_folder


async def performed(url, gesture, seconds):
    """Microvolts of the samples after a prompt, (T, C), and its answer."""
    async with open_link(url) as link:
        answer = await link.command("prompt", gesture)
        found, wanted = [], seconds * link.hello.sample_rate_hz
        async for frame in link:
            if isinstance(frame, Samples):
                found.append(frame.samples * link.hello.uv_per_count)
            if sum(map(len, found)) >= wanted:
                return np.concatenate(found), answer, link
    return None


def loudness(emg):
    return float(np.sqrt((emg**2).mean()))


def test_a_prompt_is_followed():
    emg, answer, link = asyncio.run(performed("synthetic://?speed=0", "hand_close", 2.0))
    assert answer.accepted
    assert answer.message == "hand_close"
    assert link.hello.capabilities == ("prompt",)
    assert loudness(emg[100:]) > 3 * loudness(emg[:25])  # it reacts after 0.15 to 0.35 s


def test_a_seed_and_a_name_always_give_the_same_person():
    url = "synthetic://?speed=0&seed=3&subject=syn004&repetitions=1"
    one, again = (asyncio.run(performed(url, "rest", 1.0))[0] for _ in range(2))
    other = asyncio.run(performed(url.replace("syn004", "syn005"), "rest", 1.0))[0]
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_rate_channels_and_speed_can_be_chosen():
    emg, _, link = asyncio.run(performed("synthetic://?rate=1000&channels=4&speed=50", "rest", 1.0))
    assert link.hello.sample_rate_hz == 1000
    assert emg.shape[1] == link.hello.num_channels == 4
    assert link.hello.capabilities == ("prompt", "speed=50")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("subject=ada", "synthetic people are syn000 to syn999"),
        ("repetitions=9", r"found \[9\], syn000 has"),
        ("repetitions=a", "expected numbers with commas"),
        ("rate=5", "sample_rate_hz is 5.0, allowed is 100 to 10000"),
        ("channels=999", "channels is 999"),
        ("speed=-1", "speed='-1'"),
        ("pace=2", "found the option 'pace'"),
    ],
)
def test_a_wrong_address_says_what_is_wrong(query, expected):
    with pytest.raises(ConfigError, match=expected):
        asyncio.run(performed(f"synthetic://?{query}", "rest", 1.0))


def test_the_emulated_boards_source_is_a_dataset(tmp_path):
    found = open_dataset(synthetic_people_folder(tmp_path / "new", subject="syn002", seed=1))
    assert found.subjects == ("syn002",)
    assert len(found.recordings("syn002")) == 8 * 5
