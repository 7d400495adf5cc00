"""`myofed watch` as a person meets it: it starts, shows, stays through restarts, and ends."""

import os
import signal
import socket
import subprocess
import sys
import time
from urllib.parse import urlsplit

import httpx
import pytest
from browser import ROOT, address, chromium, screenshot, watching
from run_folders import healthy, running

from server.dashboard.access import write_password
from server.dashboard.watch import unreadable

WORD = "a long enough password"
PAGES = ("/runs", "/devices", "/compare", "/run/done", "/teacher/done")


def watch(*arguments, **environment):
    """Run `myofed watch` to its end: (exit code, stderr)."""
    command = [sys.executable, str(ROOT / "myofed.py"), "watch", *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=os.environ | environment, check=False
    )
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A folder with one finished run, and the page that shows it."""
    folder = tmp_path_factory.mktemp("runs")
    healthy(folder / "done", rounds=3)
    with watching(folder) as (found, _):
        yield found


# Start and end


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_at_once_and_well_though_a_page_is_open(tmp_path, browser, end):
    with watching(tmp_path) as (found, process):
        page = browser.new_page()
        page.goto(f"{found}/runs")
        page.wait_for_selector("main")
        process.send_signal(end)
        began_s = time.monotonic()
        assert process.wait(30) == 0
        assert time.monotonic() - began_s < 5
        page.close()


def test_a_taken_port_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = watch("--port", port)
    assert code == 2
    assert f"--port {port}: 127.0.0.1:{port} is taken by another program" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "0.0.0.0"], "a password is needed; set one with `myofed watch --set-password`"),  # noqa: S104
        (["--host", "no such host"], "found 'no such host', expected a name or address of this machine"),
        (["--host", "192.0.2.1", "--password-file", "HASH"], "is no address of this machine"),
        (["--password-file", "nothing"], "nothing: cannot be read (No such file or directory)"),
        (["--student", "x"], "name the boards with --boards"),
        (["--boards", "nonsense"], "nonsense"),
        (["--set-password"], "there is no terminal to ask at"),
    ],
)
def test_a_wrong_call_ends_with_a_sentence(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    write_password(WORD, tmp_path / "HASH")
    code, said = watch("--port", "0", *arguments, XDG_CONFIG_HOME=str(tmp_path), MYOFED_WATCH_PASSWORD="")
    assert code == 2
    assert words in said
    assert "Traceback" not in said


def test_beyond_loopback_it_speaks_of_tls_and_asks_for_the_password(tmp_path):
    command = [sys.executable, str(ROOT / "myofed.py"), "watch", "--run-dir", str(tmp_path)]
    command += ["--host", "0.0.0.0", "--port", "0"]  # noqa: S104
    environment = os.environ | {"MYOFED_WATCH_PASSWORD": WORD}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert "for TLS, listen at 127.0.0.1" in process.stderr.readline()
            port = urlsplit(address(process)).port
            answer = httpx.get(f"http://127.0.0.1:{port}/runs", headers={"Host": "any.example"})
            assert answer.status_code == 401
        finally:
            process.terminate()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied"), "cannot be read (Permission denied)"),
        (FileNotFoundError(), ""),
    ],
)
def test_a_folder_that_cannot_be_read_is_named_at_the_start(monkeypatch, tmp_path, error, words):
    def refuse(_):
        raise error

    monkeypatch.setattr("os.scandir", refuse)  # permissions do not bind every user
    assert words in unreadable(tmp_path)
    assert bool(words) == bool(unreadable(tmp_path))


def test_a_file_in_place_of_the_folder_is_named_at_the_start(tmp_path):
    (tmp_path / "runs").write_text("")
    assert "runs cannot be read (Not a directory)" in unreadable(tmp_path / "runs")
    assert unreadable(tmp_path) == ""


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with watching(tmp_path / "runs") as (found, _):
        assert httpx.get(f"{found}/runs").status_code == 200
    assert list(tmp_path.iterdir()) == []


def test_without_its_extra_it_says_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules['nicegui'] = None; sys.argv = ['myofed', *sys.argv[1:]]\n"
        "import myofed; myofed.main()"
    )
    for command in (["watch"], ["simulate", "--watch"]):
        run = [sys.executable, "-c", code, *command, "--run-dir", str(tmp_path / "runs")]
        done = subprocess.run(run, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
        assert done.returncode == 2
        assert 'pip install "myofed[dashboard]"' in done.stderr
        assert not (tmp_path / "runs").exists()


# What is shown


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_pages_fit_and_ask_nobody_else(done, browser, path, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(done + path)
    page.wait_for_selector("main")
    page.wait_for_selector(f"html[data-theme={scheme}]")
    host = urlsplit(done).netloc
    assert {urlsplit(url).netloc for url in asked if not url.startswith(("data:", "blob:"))} == {host}
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.body.classList.contains('body--dark')") == (scheme == "dark")
    assert not errors
    screenshot(page, f"frame-{path.strip('/').replace('/', '-')}-{width}-{scheme}")
    page.close()


def test_the_keyboard_reaches_the_pages_and_the_content(done, browser):
    page = browser.new_page()
    page.goto(f"{done}/runs")
    page.wait_for_selector("main")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    link = page.get_by_role("navigation").get_by_role("link", name="Devices")
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"{done}/devices")
    page.close()


def test_the_theme_is_kept(done, browser):
    context = browser.new_context(color_scheme="light")
    page = context.new_page()
    page.goto(f"{done}/runs")
    page.get_by_role("button", name="Auto").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    page.goto(f"{done}/devices")
    page.get_by_role("button", name="Dark").wait_for()
    assert page.evaluate("document.body.classList.contains('body--dark')")
    context.close()


def test_the_first_page_is_the_latest_run(done):
    answer = httpx.get(f"{done}/", headers={"Accept": "text/html"})
    assert answer.headers["location"] == "/run/done"


@pytest.mark.parametrize("path", ["/nothing/at/all", "/run", "/%3Cscript%3E"])
def test_what_does_not_exist_is_said_in_the_frame(done, browser, path):
    page = browser.new_page()
    answer = page.goto(done + path)
    assert answer.status == 404
    page.get_by_text("Not here").wait_for()
    assert page.get_by_role("link", name="All runs").is_visible()
    page.close()


def test_an_empty_folder_shows_the_first_run_by_itself(tmp_path, browser):
    with watching(tmp_path / "runs") as (found, _):
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.goto(found)
        page.get_by_text("No run here yet").wait_for()
        screenshot(page, "no-run-yet")
        with running(tmp_path / "runs" / "first", done=2):
            page.wait_for_url(f"{found}/run/first", timeout=20_000)
        page.close()


def test_a_page_comes_back_by_itself_after_a_restart(tmp_path, browser):
    healthy(tmp_path / "done", rounds=2)
    page = browser.new_page()
    with watching(tmp_path) as (found, _):
        page.goto(f"{found}/run/done")
        page.wait_for_selector("main")
        page.evaluate("window.before = true")
    port = urlsplit(found).port
    with watching(tmp_path, "--port", str(port)):  # the last one counts
        page.wait_for_function("window.before === undefined", timeout=30_000)
        page.get_by_text("completed", exact=True).first.wait_for()
    page.close()
