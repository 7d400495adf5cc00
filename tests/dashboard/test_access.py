"""Who may look: each attack that the door, the guard and the limits are there for."""

import asyncio
import socket
from urllib.parse import urlsplit

import httpx
import pytest
from browser import chromium, screenshot, watching
from run_folders import healthy
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from server.dashboard.guard import is_own_name, is_own_origin
from server.dashboard.login_page import safe_target
from server.dashboard.sessions import LASTS_S

WORD = "a long enough password"
SOCKET = "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
HTML = {"Accept": "text/html"}


# Names and origins


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "127.0.0.1:1", "127.9.9.9", "[::1]:80", "LOCALHOST"]
)
def test_own_names(host):
    assert is_own_name(host)


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil.example#localhost", "x@localhost",
     "192.0.2.1", "::", "[", "localhost/../x", "127.0.0.1, evil.example"],
)  # fmt: skip
def test_other_names(host):
    assert not is_own_name(host)


def test_an_origin_is_ours_if_it_is_the_host():
    assert is_own_origin("http://localhost:8080", "localhost:8080", needed=True)
    assert is_own_origin("https://watch.example", "watch.example", needed=True)
    assert is_own_origin(None, "localhost", needed=False)
    others = [None, "null", "http://localhost:9", "http://evil.example", "http://localhost:8080.evil.example"]
    assert not any(is_own_origin(origin, "localhost:8080", needed=True) for origin in others)


@pytest.mark.parametrize(
    "target",
    ["", "//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "/\t/evil.example",
     "\\/evil.example", "/login", "/x\r\nSet-Cookie: a=b", "///evil.example", "http:/evil"],
)  # fmt: skip
def test_no_login_leads_to_another_site(target):
    assert safe_target(target) == "/"


def test_a_login_leads_back():
    assert safe_target("/compare?runs=a&runs=b") == "/compare?runs=a&runs=b"


# The real thing


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """A page with a password; its address."""
    with watching(tmp_path_factory.mktemp("runs"), MYOFED_WATCH_PASSWORD=WORD) as (address, _):
        yield address


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A page with a password and a finished run; its address."""
    folder = tmp_path_factory.mktemp("runs")
    healthy(folder / "done", rounds=2)
    with watching(folder, MYOFED_WATCH_PASSWORD=WORD) as (address, _):
        yield address


@pytest.fixture(scope="module")
def session(locked):
    """The cookie of who logged in, as a header."""
    answer = httpx.post(f"{locked}/login", data={"password": WORD})
    assert answer.status_code == 303
    return answer.headers["set-cookie"]


PRIVATE = [
    "/", "/runs", "/devices", "/run/x", "/run/x/rounds.csv", "/download/x/run.json", "/metrics",
    "/_nicegui_ws/socket.io/?EIO=4&transport=polling", "/_nicegui/x", "/static/theme.js",
    "/login/", "//login", "/login/../runs", "/LOGIN",
]  # fmt: skip


@pytest.mark.parametrize("path", PRIVATE)
def test_nothing_is_shown_without_a_session(locked, path):
    answer = httpx.get(locked + path, headers={"Accept": "*/*"})
    assert answer.status_code == 401
    assert "myofed" not in answer.text


def test_people_are_led_to_the_login_and_back(locked):
    answer = httpx.get(f"{locked}/compare?runs=a&runs=b", headers=HTML)
    assert answer.headers["location"] == "/login?next=%2Fcompare%3Fruns%3Da%26runs%3Db"
    form = httpx.get(locked + answer.headers["location"])
    assert 'action="/login?next=/compare%3Fruns%3Da%26runs%3Db"' in form.text
    target = f"{locked}/login?next=/compare%3Fruns%3Da%26runs%3Db"
    assert httpx.post(target, data={"password": WORD}).headers["location"] == "/compare?runs=a&runs=b"


def test_the_login_page_takes_no_markup_from_its_address(locked):
    assert "<script" not in httpx.get(f'{locked}/login?next=/"><script>alert(1)</script>').text


def test_the_cookie_is_out_of_reach_for_scripts_and_other_sites(session):
    facts = session.lower().split("; ")
    assert {"httponly", "samesite=lax", "path=/", f"max-age={LASTS_S}"} <= set(facts)
    assert "secure" not in facts


def test_behind_a_proxy_with_tls_the_cookie_stays_there(locked):
    answer = httpx.post(f"{locked}/login", data={"password": WORD}, headers={"X-Forwarded-Proto": "https"})
    assert "Secure" in answer.headers["set-cookie"]


def test_a_session_opens_pages_and_ends_with_the_logout(locked):
    with httpx.Client(base_url=locked) as client:
        client.post("/login", data={"password": WORD})
        kept = dict(client.cookies)
        assert client.get("/runs", headers=HTML).status_code == 200
        assert client.post("/logout").headers["location"] == "/login"
        assert not client.cookies
    assert httpx.get(f"{locked}/static/theme.js", cookies=kept).status_code == 401


def test_a_form_of_another_site_is_refused(locked, session):
    for path in ("/login", "/logout"):
        headers = {"Origin": "http://evil.example", "Cookie": session.partition(";")[0]}
        assert httpx.post(locked + path, data={"password": WORD}, headers=headers).status_code == 403


def test_answers_forbid_frames_sniffing_and_other_sites(locked, session):
    for path in ("/login", "/runs", "/healthz", "/nothing/here"):
        headers = httpx.get(
            locked + path, headers=HTML | {"Cookie": session.partition(";")[0]}, follow_redirects=True
        ).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"


def test_the_password_is_a_scrapers_token_too(locked):
    answer = httpx.get(f"{locked}/metrics", headers={"Authorization": f"Bearer {WORD}"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert httpx.get(f"{locked}/runs", headers={"Authorization": f"Bearer {WORD}"}).status_code == 401


def socket_status(address, **headers):
    """How a websocket's handshake is answered."""

    async def knock():
        url = urlsplit(address)
        name = headers.pop("Host", url.netloc)
        place = {"host": url.hostname, "port": url.port}
        try:
            async with connect(f"ws://{name}{SOCKET}", additional_headers=headers, **place) as opened:
                assert (await opened.recv()).startswith("0")  # Engine.IO's hello
                return 101
        except InvalidStatus as refused:
            return refused.response.status_code

    return asyncio.run(knock())


def test_a_websocket_needs_a_session_and_our_own_page(locked, session):
    cookie = session.partition(";")[0]
    assert socket_status(locked, Origin=locked) == 403
    assert socket_status(locked, Origin="http://evil.example", Cookie=cookie) == 403
    assert socket_status(locked, Cookie=cookie) == 403
    assert socket_status(locked, Origin=locked, Cookie=cookie + "0") == 403
    assert socket_status(locked, Origin=locked, Cookie=cookie) == 101


def test_a_websocket_ends_with_its_session(locked):
    cookie = httpx.post(f"{locked}/login", data={"password": WORD}).headers["set-cookie"].partition(";")[0]

    async def go_on(opened):
        while True:
            await opened.send("3")  # Engine.IO's pong
            await opened.recv()

    async def stay():
        address = f"ws://{urlsplit(locked).netloc}{SOCKET}"
        async with connect(address, additional_headers={"Origin": locked, "Cookie": cookie}) as opened:
            await asyncio.to_thread(httpx.post, f"{locked}/logout", headers={"Cookie": cookie})
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(go_on(opened), 20)

    asyncio.run(stay())


def test_brute_force_ends_soon_and_sessions_do_not(tmp_path):
    with watching(tmp_path, MYOFED_WATCH_PASSWORD=WORD) as (address, _):
        session = (
            httpx.post(f"{address}/login", data={"password": WORD}).headers["set-cookie"].partition(";")[0]
        )
        answers = [httpx.post(f"{address}/login", data={"password": f"guess {n}"}) for n in range(8)]
        assert [a.status_code for a in answers] == [401] * 5 + [429] * 3
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 12
        old = {"Authorization": "Bearer guess 0"}  # a word that was wrong before is no new guess
        assert httpx.get(f"{address}/metrics", headers=old).status_code == 401
        token = {"Authorization": f"Bearer {WORD}"}
        assert httpx.get(f"{address}/metrics", headers=token).status_code == 200  # it was right before
        assert httpx.get(f"{address}/static/theme.js", headers={"Cookie": session}).status_code == 200
        other = {"X-Forwarded-For": "192.0.2.77"}  # as a proxy on this machine says it
        assert httpx.post(f"{address}/login", data={"password": WORD}, headers=other).status_code == 303


@pytest.mark.parametrize(
    "path", ["/runs", "/healthz", "/metrics", "/login", "/download/done/run.json", "/run/done/rounds.csv"]
)
def test_head_is_get_without_a_body(finished, path):
    with httpx.Client(base_url=finished, headers=HTML, timeout=30) as client:
        client.post("/login", data={"password": WORD})
        asked = [client.request(method, path) for method in ("GET", "HEAD")]
    assert asked[0].status_code == asked[1].status_code
    assert asked[1].status_code in (200, 303)
    changing = {"date", "content-length"} if path == "/runs" else {"date"}  # each page has an id of its own
    kept = [{n: v for n, v in a.headers.items() if n not in changing} for a in asked]
    assert kept[0] == kept[1]
    assert asked[1].content == b""


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/runs", "GET, HEAD"), ("DELETE", "/download/done/run.json", "GET, HEAD"), ("GET", "/logout", "POST"),
        ("OPTIONS", "/healthz", "GET, HEAD"), ("PUT", "/login", "GET, HEAD, POST"), ("FOO", "/", "GET, HEAD"),
    ],
)  # fmt: skip
def test_other_methods_are_told_which_there_are(finished, session, method, path, allowed):
    headers = {"Cookie": session.partition(";")[0]}
    answer = httpx.request(method, finished + path, headers=headers)
    assert answer.status_code == 405
    assert answer.headers["allow"] == allowed
    assert len(answer.content) < 100


def test_cookies_of_an_old_password_open_nothing(finished, tmp_path):
    cookie = httpx.post(f"{finished}/login", data={"password": WORD}).headers["set-cookie"].partition(";")[0]
    with watching(tmp_path, MYOFED_WATCH_PASSWORD=WORD + "!") as (address, _):
        new = (
            httpx.post(f"{address}/login", data={"password": WORD + "!"})
            .headers["set-cookie"]
            .partition("=")[0]
        )
        for name in (cookie.partition("=")[0], new):  # also under the name that the new one gives it
            replayed = {"Cookie": f"{name}={cookie.partition('=')[2]}"}
            assert httpx.get(f"{address}/static/theme.js", headers=replayed).status_code == 401


def test_who_leaves_in_the_middle_of_a_form_is_no_fault(locked):
    with socket.create_connection((urlsplit(locked).hostname, urlsplit(locked).port)) as connection:
        connection.sendall(b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90\r\n\r\npassword=")
    assert httpx.get(f"{locked}/healthz").status_code == 200


def test_a_huge_form_is_no_password(locked):
    answer = httpx.post(f"{locked}/login", content=b"password=" + b"x" * 1_000_000)
    assert answer.status_code == 401


@pytest.fixture(scope="module")
def unlocked(tmp_path_factory):
    """A page without a password; its address."""
    with watching(tmp_path_factory.mktemp("runs")) as (address, _):
        yield address


def test_a_rebound_name_shows_nothing(unlocked):
    port = urlsplit(unlocked).port
    answer = httpx.get(f"{unlocked}/runs", headers={"Host": f"evil.example:{port}"})
    assert answer.status_code == 421
    assert "--set-password" in answer.text
    assert socket_status(unlocked, Host=f"evil.example:{port}", Origin=f"http://evil.example:{port}") == 403
    assert httpx.get(f"{unlocked}/runs", headers={"Host": f"localhost:{port}"}).status_code == 200


def test_a_page_of_another_site_gets_nothing(unlocked):
    assert socket_status(unlocked, Origin="http://evil.example") == 403
    assert socket_status(unlocked, Origin=unlocked) == 101
    polled = httpx.get(
        f"{unlocked}/_nicegui_ws/socket.io/?EIO=4&transport=polling",
        headers={"Origin": "http://evil.example"},
    )
    assert polled.status_code == 403


def test_a_forged_prefix_stays_out_of_the_page(unlocked):
    answer = httpx.get(f"{unlocked}/runs", headers={"X-Forwarded-Prefix": "//evil.example"})
    assert "evil.example" not in answer.text


def test_a_person_logs_in_and_out(locked):
    with chromium() as browser:
        page = browser.new_page()
        page.goto(f"{locked}/runs")
        page.get_by_label("Password").fill("not the password")
        page.get_by_role("button", name="Log in").click()
        assert page.get_by_role("alert").text_content() == "That is not the password."
        screenshot(page, "login-refused")
        page.get_by_label("Password").fill(WORD)
        page.keyboard.press("Enter")
        page.wait_for_url(f"{locked}/runs")
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url(f"{locked}/login")
        page.goto(f"{locked}/devices")
        page.get_by_label("Password").wait_for()
