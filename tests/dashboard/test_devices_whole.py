"""The whole way of a signal: an emulated board, a real broker, `myofed watch`, and a real browser."""

import json
import re
import subprocess
import sys
from contextlib import contextmanager

import pytest
from broker import broker
from browser import ROOT, chromium, screenshot, watching
from paho.mqtt import publish
from test_scope import until_it_moves

HOSTILE = "<b>x<img src=y onerror=alert(1)>"


@contextmanager
def emulated(url, folder):
    """A board that runs the firmware's own code, until it is killed."""
    command = [
        sys.executable,
        str(ROOT / "myofed.py"),
        "board",
        "emulate",
        "--mqtt",
        url,
        "--data",
        "synthetic",
    ]
    process = subprocess.Popen([*command, "--data-dir", str(folder)], stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def page():
    with chromium() as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        shown = context.new_page()
        shown.set_default_timeout(40_000)
        wrong = []
        shown.on("pageerror", lambda error: wrong.append(str(error)))
        shown.on("dialog", lambda dialog: wrong.append(dialog.message))
        yield shown
        context.close()
        assert not wrong


def claim(mosquitto, board_id, kind, payload):
    """Somebody with the gateway's rights says so of a board."""
    login = mosquitto.folder.passwords["gateway"]
    broker_at = {"hostname": "127.0.0.1", "port": mosquitto.port}
    auth = {"username": "gateway", "password": login}
    publish.single(f"myofed/{board_id}/{kind}", payload, qos=1, auth=auth, **broker_at)


def test_a_board_appears_streams_and_goes_offline_before_ones_eyes(tmp_path, page):
    with broker(tmp_path) as mosquitto, watching(tmp_path / "runs", "--boards", mosquitto.url()) as (url, _):
        page.goto(f"{url}/devices")
        with emulated(mosquitto.url("emg-1", user="emg-1"), tmp_path) as board:
            page.get_by_role("link", name="Signal of emg-1").click()
            page.get_by_role("button", name="Start streaming").click()
            page.get_by_text("● live").wait_for()
            until_it_moves(page)
            claim(mosquitto, "emg-1", "prompted", b'{"gesture": "fist"}')
            claim(mosquitto, "emg-1", "gesture", b'{"gesture": "fist", "confidence": 0.9}')
            page.get_by_text("✓ right").wait_for()
            claim(mosquitto, "emg-1", "gesture", json.dumps({"gesture": HOSTILE}).encode())
            page.get_by_text("✗ different").wait_for()
            page.locator(".scope-gesture", has_text=HOSTILE).wait_for()
            page.get_by_text(re.compile(r"^\d+ of \d+ Hz$")).wait_for()
            screenshot(page, "devices-whole-scope")
            claim(mosquitto, HOSTILE, "availability", b"online")
            page.evaluate("window.notReloaded = true")
            board.kill()
            page.locator(".board .chip", has_text="offline").wait_for()
            page.locator(".scope-state", has_text="no signal").wait_for()
            assert page.evaluate("window.notReloaded")
            page.get_by_role("link", name="All devices").click()
            page.locator(".board-name", has_text=HOSTILE).wait_for()
            page.locator(".board").filter(has_text="emg-1").get_by_text("offline").wait_for()
            screenshot(page, "devices-whole")
