"""The noise that hides a person: its distribution, its secrecy's file, and that it is never used twice."""

import numpy as np
import pytest
from scipy import stats

from distillation.noise import gaussian_noise, keep_noise_key, load_or_create_noise_key
from protocols.errors import ConfigError

KEY = bytes(range(32))


def test_noise_is_gaussian_with_the_asked_deviation():
    """200,000 numbers: mean, deviation and shape are those of a normal distribution, tails included."""
    noise = gaussian_noise(KEY, 2.5, np.zeros(200_000)) / 2.5
    assert abs(noise.mean()) < 4 / 200_000**0.5
    assert abs(noise.std() - 1) < 4 / 400_000**0.5
    assert stats.kstest(noise, "norm").pvalue > 0.001
    assert 4 < np.abs(noise).max() < 6  # the largest of so many is about 4.7


def test_neighbouring_numbers_of_noise_are_independent():
    noise = gaussian_noise(KEY, 1.0, np.zeros(100_000))
    assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < 4 / 100_000**0.5


def test_the_same_numbers_get_the_same_noise():
    """Asking again for the same answer gives nothing new."""
    step = np.linspace(-1, 1, 50)
    assert np.array_equal(gaussian_noise(KEY, 1.0, step), gaussian_noise(KEY, 1.0, step.copy()))


@pytest.mark.parametrize("change", ["key", "scale", "one number in its last bit"])
def test_anything_else_gets_other_noise(change):
    """With the same noise twice, the difference of two answers would be free of it."""
    step = np.linspace(-1, 1, 50_000)
    other = step.copy()
    other[7] = np.nextafter(other[7], 2)
    first = gaussian_noise(KEY, 1.0, step)
    second = {
        "key": lambda: gaussian_noise(bytes(32), 1.0, step),
        "scale": lambda: gaussian_noise(KEY, 2.0, step) / 2,
        "one number in its last bit": lambda: gaussian_noise(KEY, 1.0, other),
    }[change]()
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / 50_000**0.5


def test_a_key_is_drawn_once_and_for_its_owner_only(tmp_path):
    path = tmp_path / "new" / "noise.key"
    key = load_or_create_noise_key(path)
    assert (len(key), path.stat().st_mode & 0o777) == (32, 0o600)
    assert load_or_create_noise_key(path) == key
    assert load_or_create_noise_key(tmp_path / "another.key") != key


def test_a_key_that_others_may_read_is_refused(tmp_path):
    path = tmp_path / "noise.key"
    keep_noise_key(path, KEY)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match=r"noise\.key: others may read this noise key; chmod 600"):
        load_or_create_noise_key(path)


def test_a_file_that_is_no_key_is_refused(tmp_path):
    path = tmp_path / "noise.key"
    keep_noise_key(path, b"short")
    with pytest.raises(ConfigError, match="found 5 bytes, expected a noise key of 32"):
        load_or_create_noise_key(path)
