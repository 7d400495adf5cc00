"""A real Chromium, and a dashboard of its own process to look at."""

import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

from parts import need

ROOT = Path(__file__).parents[2]
ARTEFACTS = ROOT / "artefacts"  # ignored by git: what a test saw
FLAGS = [
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
READY = re.compile(r"http://\S+")


@contextmanager
def chromium():
    """The system's Chromium, driven by Playwright, which downloads nothing."""
    from playwright.sync_api import sync_playwright

    program = need("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def watching(run_dir, *arguments, **environment):
    """`myofed watch` on a free port; yields (address, process). It is stopped as Ctrl-C does, and must end by that."""
    command = [
        sys.executable,
        str(ROOT / "myofed.py"),
        "watch",
        "--run-dir",
        str(run_dir),
        "--port",
        "0",
        *arguments,
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | environment)
    try:
        found = address(process)
        threading.Thread(target=process.stderr.read, daemon=True).start()  # a full pipe would stop it
        yield found, process
    finally:
        process.terminate()
        process.wait(30)
        process.stderr.close()


def address(process):
    """What the dashboard says it can be opened at, on stderr; its words where it ends instead."""
    said = ""
    for line in process.stderr:
        said += line
        found = READY.search(line)
        if found:
            return found.group().rstrip("/.,;")
    raise AssertionError(f"myofed watch ended with {process.wait()}: {said}")


def screenshot(page, name, *, whole=True):
    """Keep what a person would see, to be looked at."""
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"{name}.png", full_page=whole)
