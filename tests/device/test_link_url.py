"""Addresses of boards."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.links import LinkUrl
from device.links.url import PASSWORD_VARIABLE
from protocols.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("serial:///dev/ttyUSB0?baud=115200", {"path": "/dev/ttyUSB0", "options": {"baud": "115200"}}),
        ("serial://COM3", {"path": "COM3"}),
        ("serial:///dev/pts/3", {"path": "/dev/pts/3"}),
        ("socket://localhost:7000", {"host": "localhost", "port": 7000}),
        ("serial://socket://localhost:7000", {"scheme": "socket", "host": "localhost", "port": 7000}),
        ("mqtt://host/emg-1", {"host": "host", "port": 1883, "path": "emg-1"}),
        ("mqtts://host/emg-1?ca=a.pem", {"port": 8883, "options": {"ca": "a.pem"}}),
        ("mqtt://u:p%40%3Aq@[::1]:99/b", {"user": "u", "password": "p@:q", "host": "::1", "port": 99}),
        ("mqtt://u:p@ss@host/b", {"user": "u", "password": "p@ss", "host": "host"}),
        ("mqtt://host", {"path": ""}),
        ("replay:///a b/c.h5?speed=4", {"path": "/a b/c.h5", "options": {"speed": "4"}}),
        ("replay://myo25?subject=s%201", {"path": "myo25", "options": {"subject": "s 1"}}),
        ("synthetic://?seed=0", {"path": "", "options": {"seed": "0"}}),
    ],
)
def test_an_address_is_taken_apart(text, parts):
    url = LinkUrl.parse(text, environ={})
    expected = {"scheme": text.split(":", 1)[0]} | parts
    assert {name: getattr(url, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("/dev/ttyUSB0", "write serial:///dev/ttyUSB0"),
        ("COM3", "write serial://COM3"),
        ("host/emg-1", "mqtt://HOST/BOARD"),
        ("mqtt://", "mqtt://HOST:PORT"),
        ("mqtt://host:0/b", "1 to 65535"),
        ("mqtt://host:99999/b", "1 to 65535"),
        ("mqtt://host/a/b", "board id 'a/b'"),
        ("mqtt://host/+", "board id '+'"),
        ("socket://host", "socket://HOST:PORT"),
    ],
)
def test_what_is_no_address_is_refused_with_what_is_meant(text, says):
    with pytest.raises(ConfigError) as caught:
        LinkUrl.parse(text, environ={})
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "mqtt://me:SECRET@host/b",
        "mqtt://me:SECRET@host:port/b",
        "mqtt://me:SECRET@host/a/b",
        "mqtt://me:SEC?RET@host/b",
        "mqtt://me:SEC#RET@host:x/b",
        "mqtt://me:SEC/RET@host:x/b",
        "me:SECRET@host",
    ],
)
def test_a_password_is_never_shown(text):
    try:
        url = LinkUrl.parse(text, environ={})
    except ConfigError as error:
        shown = str(error)
    else:
        shown = f"{url!r} {url} {url.shown}"
        assert url.password == "SEC" + "RET"
    assert "SEC" not in shown
    assert "RET" not in shown


def test_the_password_is_taken_from_the_environment_only_for_a_user_without_one():
    environ = {PASSWORD_VARIABLE: "from there"}
    logins = ("me@", "me:mine@", "me:@", "")
    passwords = [LinkUrl.parse(f"mqtt://{login}host/b", environ=environ).password for login in logins]
    assert passwords == ["from there", "mine", "", ""]


def test_an_option_that_is_not_known_is_named_with_those_that_are():
    with pytest.raises(ConfigError, match=r"found the option 'speed', serial:// knows baud=…"):
        LinkUrl.parse("serial://COM3?speed=1").only("baud")
    with pytest.raises(ConfigError, match="socket:// knows no options"):
        LinkUrl.parse("socket://host:1?baud=1").only()


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "fast", ""])
def test_a_number_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="expected a number above 0"):
        LinkUrl.parse(f"replay://x?speed={text}").number("speed", 1.0)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "fast", "9" * 30])
def test_a_whole_number_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="expected a whole number from 1 on"):
        LinkUrl.parse(f"serial://x?baud={text}").integer("baud", 9600, least=1)


@given(st.sampled_from(["", "mqtt://", "mqtts://u:p@", "socket://", "serial://", "replay://"]), st.text())
def test_any_text_is_an_address_or_a_configuration_error(start, text):
    try:
        url = LinkUrl.parse(start + text, environ={})
    except ConfigError:
        return
    assert url.scheme


@given(st.sampled_from(["mqtt", "mqtts"]), st.text(min_size=1), st.text(min_size=1))
def test_any_user_and_password_travel_percent_encoded(scheme, user, password):
    from urllib.parse import quote

    url = LinkUrl.parse(f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@host/b", environ={})
    assert (url.user, url.password) == (user, password)
