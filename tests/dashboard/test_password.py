"""The password, the sessions and the limits, each by itself."""

import asyncio
import os
import pty
import stat
import subprocess
import sys

import pytest
from browser import ROOT
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import ConfigError
from server.dashboard.access import Password, default_file, find_password, read_password, write_password
from server.dashboard.login_page import Door
from server.dashboard.rate_limit import RateLimit
from server.dashboard.sessions import LASTS_S, Sessions

WORD = "a long enough password"


class Clock:
    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


# The password


@pytest.fixture(scope="module")
def password():
    return Password.of(WORD)


def test_only_the_password_fits(password):
    assert password.fits(WORD)
    assert not any(map(password.fits, ["", WORD + " ", WORD[:-1], WORD.upper(), "\udcff"]))


def test_two_hashes_of_one_password_have_nothing_in_common(password):
    other = Password.of(WORD)
    assert other.salt != password.salt
    assert other.digest != password.digest


def test_a_password_file_is_its_owners_alone_and_holds_no_password(tmp_path):
    path = tmp_path / "new folder" / "watch-password"
    write_password(WORD, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert WORD not in path.read_text()
    assert read_password(path).fits(WORD)
    assert [p.name for p in path.parent.iterdir()] == ["watch-password"]


def test_short_passwords_are_refused_and_leave_the_old_one(tmp_path):
    path = tmp_path / "watch-password"
    write_password(WORD, path)
    with pytest.raises(ConfigError, match="found 9 characters, expected 10"):
        write_password("123456789", path)
    assert read_password(path).fits(WORD)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "password",
        "scrypt:32768:QUFB:QUFB",
        "scrypt:3:" + "QUFB" * 8 + ":" + "QUFB" * 11,
        "scrypt:x:y:z",
        "é",
    ],
)
def test_a_file_of_something_else_is_named(tmp_path, text):
    path = tmp_path / "file"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"holds no password of ours.*--set-password"):
        read_password(path)


def test_a_hash_that_would_eat_the_memory_is_refused(tmp_path, password):
    path = tmp_path / "file"
    path.write_text(password.as_text().replace(str(password.cost), str(1 << 40)))
    with pytest.raises(ConfigError, match="holds no password of ours"):
        read_password(path)


def test_beyond_loopback_a_password_is_a_must(tmp_path):
    nothing = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert find_password(None, is_public=False, environment=nothing) is None
    with pytest.raises(ConfigError, match="--set-password"):
        find_password(None, is_public=True, environment=nothing)
    write_password(WORD, default_file(nothing))
    assert find_password(None, is_public=True, environment=nothing).fits(WORD)
    assert (
        find_password(None, is_public=False, environment=nothing) is None
    )  # only who asks for a login gets one


def test_the_environment_gives_a_password_whose_sessions_outlive_a_restart():
    first, again = (
        find_password(None, is_public=False, environment={"MYOFED_WATCH_PASSWORD": WORD}) for _ in range(2)
    )
    assert Sessions(again.digest).is_open(Sessions(first.digest).new())


def test_set_password_asks_twice_without_showing_it(tmp_path):
    path = tmp_path / "password"
    code, shown = at_a_terminal(["--set-password", "--password-file", path], [WORD, WORD])
    assert code == 0
    assert WORD not in shown
    assert read_password(path).fits(WORD)


def test_set_password_refuses_short_ones(tmp_path):
    code, shown = at_a_terminal(["--set-password", "--password-file", tmp_path / "p"], ["short", "short"])
    assert code == 2
    assert "found 5 characters, expected 10" in shown
    assert not (tmp_path / "p").exists()


def at_a_terminal(arguments, answers):
    """`myofed watch` in a terminal of its own; what it showed there."""
    command = [sys.executable, str(ROOT / "myofed.py"), "watch", *map(str, arguments)]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    shown, waiting = "", list(answers)
    while True:
        try:
            chunk = os.read(ours, 4096).decode()
        except OSError:  # the terminal is closed
            break
        shown += chunk
        if waiting and chunk.rstrip().endswith(":"):
            os.write(ours, waiting.pop(0).encode() + b"\n")
    os.close(ours)
    return process.wait(30), shown


# Sessions


def test_a_session_ends_with_its_time_a_logout_and_a_new_password(password):
    clock = Clock()
    sessions = Sessions(password.digest, clock)
    old, other = sessions.new(), sessions.new()
    assert sessions.is_open(old)
    assert old != other
    sessions.end(old)
    assert not sessions.is_open(old)
    assert sessions.is_open(other)
    assert Sessions(password.digest, clock).is_open(other)
    assert not Sessions(Password.of(WORD).digest, clock).is_open(other)
    clock.now_s += LASTS_S
    assert not sessions.is_open(other)


@given(position=st.integers(0, 200), character=st.characters())
def test_no_changed_cookie_is_a_session(position, character):
    sessions = Sessions(b"k" * 32)
    cookie = sessions.new()
    place = position % len(cookie)
    changed = cookie[:place] + character + cookie[place + 1 :]
    assert changed == cookie or not sessions.is_open(changed)


@given(st.text())
def test_garbage_is_no_session(text):
    assert not Sessions(b"k" * 32).is_open(text)


# Limits


def test_one_address_has_five_tries_and_then_one_in_twelve_seconds():
    clock = Clock()
    limit = RateLimit(clock)
    assert [limit.take("192.0.2.1") for _ in range(6)] == [0, 0, 0, 0, 0, 12]
    clock.now_s += 11.5
    assert limit.take("192.0.2.1") == 1
    clock.now_s += 0.5
    assert limit.take("192.0.2.1") == 0
    assert limit.take("192.0.2.2") == 0


def test_many_addresses_together_have_no_more():
    limit = RateLimit(Clock())
    answers = [limit.take(f"192.0.2.{n}") for n in range(40)]
    assert answers.count(0) == 30
    assert answers[-1] == 2


def test_an_ipv6_network_is_one_address():
    limit = RateLimit(Clock())
    assert [limit.take(f"2001:db8::{n}") for n in range(6)][-1] == 12


def test_strangers_lock_nobody_out_who_came_in_before():
    clock = Clock()
    limit = RateLimit(clock)
    limit.take("198.51.100.7")
    limit.give_back("198.51.100.7")
    for n in range(1000):
        limit.take(f"192.0.2.{n % 250}")
    assert limit.take("198.51.100.7") == 0


def test_a_flood_of_addresses_takes_no_memory():
    limit = RateLimit(Clock())
    for n in range(5000):
        limit.take(f"10.0.{n // 250}.{n % 250}")
    assert len(limit._by_address) <= 4096


# One door for all


def knocks(door, *tries):
    async def go():
        return [await door.knock(address, word) for address, word in tries]

    return asyncio.run(go())


def test_a_password_known_from_before_comes_in_past_others_guesses(password):
    door = Door(password, Sessions(password.digest), RateLimit(Clock()))
    here = "192.0.2.1"
    assert knocks(door, (here, WORD)) == [0]
    guesses = [(here, f"guess {n}") for n in range(7)]
    assert knocks(door, *guesses) == [-1] * 5 + [12] * 2
    assert knocks(door, (here, WORD)) == [0]
    door.limit.give_back(here)
    assert knocks(door, *[(here, f"other {n}") for n in range(5)]) == [-1] * 5
    assert (
        knocks(door, *[(here, f"flood {n}") for n in range(20)], (here, WORD))[-1] > 0
    )  # no way round the limit


def test_a_password_that_was_never_right_waits_like_every_guess(password):
    door = Door(password, Sessions(password.digest), RateLimit(Clock()))
    assert knocks(door, *[("192.0.2.1", f"guess {n}") for n in range(5)], ("192.0.2.1", WORD))[-1] == 12


def test_the_same_wrong_password_takes_no_more_tries(password):
    door = Door(password, Sessions(password.digest), RateLimit(Clock()))
    assert knocks(door, *[("192.0.2.1", "an old password")] * 50, ("192.0.2.1", WORD)) == [*[-1] * 50, 0]


def test_words_that_were_tried_are_not_kept_without_end(password, monkeypatch):
    monkeypatch.setattr(Password, "fits", lambda _, word: word == WORD)
    door = Door(password, Sessions(password.digest), RateLimit(Clock()))
    knocks(door, ("192.0.2.1", WORD), *[(f"10.0.{n // 250}.{n % 250}", f"guess {n}") for n in range(30)])
    for n in range(1000):
        door._remember(f"{n}".encode(), is_right=False)
    assert len(door._answers) <= 257
    assert knocks(door, ("192.0.2.1", WORD)) == [0]
