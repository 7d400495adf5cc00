"""The door: a plain page that asks for the password, and works without JavaScript."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from server.dashboard.rate_limit import RateLimit
from server.dashboard.sessions import LASTS_S, Sessions

if TYPE_CHECKING:
    from fastapi import FastAPI

    from server.dashboard.access import Password

MAX_FORM_BYTES = 8192
MAX_WRONG = 256  # wrong words that are recognised when they come again
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Log in · myofed</title>
<link rel="icon" href="/static/favicon.svg"><link rel="stylesheet" href="/static/login.css">
</head>
<body>
<main>
<img src="/static/favicon.svg" alt="" width="48" height="48">
<h1>myofed</h1>
<p>The password of this dashboard, please.</p>
<form method="post" action="/login?next={next}">
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required autofocus{described}>
{problem}<button>Log in</button>
</form>
</main>
</body>
</html>
"""
STRICT = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)


@dataclass(frozen=True)
class Door:
    """Who may come in.

    Attributes:
        _turn: one hash at a time: each takes 32 MiB.
        _key: of the marks by which words that were tried are known again; of this process alone.
        _answers: whether such a word was right, by its mark.
    """

    password: Password
    sessions: Sessions
    limit: RateLimit = field(default_factory=RateLimit)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    _answers: OrderedDict[bytes, bool] = field(default_factory=OrderedDict, repr=False)

    @classmethod
    def of(cls, password: Password) -> Door:
        """The door of a password."""
        return cls(password, Sessions(password.digest))

    async def knock(self, address: str, word: str) -> int:
        """Try a password: 0 if it is right, -1 if it is wrong, else the seconds to wait before it is looked at.

        The same word again is no new guess: a scraper with an old password takes nobody's tries, and one with the
        right password, known from before, comes in while others guess from its address.
        """
        mark = hmac.digest(self._key, word.encode(errors="replace"), hashlib.sha256)
        if self._answers.get(mark) is False:
            return -1
        if wait_s := self.limit.take(address):
            return 0 if self.limit.take_known() and self._answers.get(mark) else wait_s
        async with self._turn:
            is_right = await run_in_threadpool(self.password.fits, word)
        self._remember(mark, is_right=is_right)
        if is_right:
            self.limit.give_back(address)
        return 0 if is_right else -1

    def _remember(self, mark: bytes, *, is_right: bool) -> None:
        self._answers[mark] = is_right
        wrong = [known for known, answer in self._answers.items() if not answer]
        if len(wrong) > MAX_WRONG:
            del self._answers[wrong[0]]


def add_door(app: FastAPI, door: Door) -> None:
    """The addresses /login and /logout."""

    @app.get("/login")
    async def show(request: Request) -> Response:
        if door.sessions.is_open(request.cookies.get(door.sessions.cookie, "")):
            return RedirectResponse(safe_target(request.query_params.get("next", "")), status_code=303)
        return login_page(request)

    @app.post("/login")
    async def log_in(request: Request) -> Response:
        word = await _typed(request)
        answer = await door.knock(address_of(request), word)
        if answer > 0:
            return login_page(
                request, f"Too many tries. Wait {answer} s, then try again.", retry_after_s=answer
            )
        if answer < 0:
            return login_page(request, "That is not the password.")
        target = safe_target(request.query_params.get("next", ""))
        response = RedirectResponse(target, status_code=303)
        response.set_cookie(
            door.sessions.cookie,
            door.sessions.new(),
            max_age=LASTS_S,
            path="/",
            httponly=True,
            secure=request.url.scheme == "https",
            # Not "strict": a link in a mail would ask for the password again. Nothing changes by a GET, and the
            # guard checks where forms and websockets come from.
            samesite="lax",
        )
        return response

    @app.post("/logout")
    async def log_out(request: Request) -> Response:
        door.sessions.end(request.cookies.get(door.sessions.cookie, ""))
        response = RedirectResponse("/login", status_code=303)
        response.delete_cookie(door.sessions.cookie, path="/", httponly=True, samesite="lax")
        return response


def login_page(request: Request, problem: str = "", *, retry_after_s: int = 0) -> Response:
    """The page; 401 with a problem, 429 with a time to wait."""
    status = 429 if retry_after_s else 401 if problem else 200
    text = PAGE.format(
        next=quote(safe_target(request.query_params.get("next", ""))),
        problem=f'<p id="problem" role="alert">{escape(problem)}</p>\n' if problem else "",
        described=' aria-describedby="problem" aria-invalid="true"' if problem else "",
    )
    headers = {"Content-Security-Policy": STRICT, "Cache-Control": "no-store"}
    if retry_after_s:
        headers["Retry-After"] = str(retry_after_s)
    return HTMLResponse(text, status_code=status, headers=headers)


def safe_target(target: str) -> str:
    """A path of this site; anything that a browser might take for another one becomes the first page."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return "/"
    is_ours = target.startswith("/") and not target.startswith(("//", "/login")) and not parts.netloc
    return target if is_ours and target.isprintable() and "\\" not in target else "/"


def address_of(request: Request) -> str:
    """Who asks; behind a proxy on this machine, whom it answers."""
    return "" if request.client is None else request.client.host


async def _typed(request: Request) -> str:
    """The password of a form; empty if the form is none of ours."""
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_FORM_BYTES:
                return ""
    except ClientDisconnect:
        return ""
    return parse_qs(body.decode("utf-8", errors="replace")).get("password", [""])[0]
