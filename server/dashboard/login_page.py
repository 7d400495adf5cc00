"""The door: a plain page that asks for the password, and works without JavaScript."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request  # noqa: TC002  (FastAPI reads the annotation)
from starlette.responses import HTMLResponse, RedirectResponse, Response

from server.dashboard.rate_limit import RateLimit
from server.dashboard.sessions import LASTS_S, Sessions

if TYPE_CHECKING:
    from fastapi import FastAPI

    from server.dashboard.access import Password

MAX_FORM_BYTES = 8192
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
    """Who may come in."""

    password: Password
    sessions: Sessions
    limit: RateLimit = field(default_factory=RateLimit)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # one hash at a time: each takes 32 MiB

    @classmethod
    def of(cls, password: Password) -> Door:
        """The door of a password."""
        return cls(password, Sessions(password.digest))

    async def knock(self, address: str, word: str) -> int:
        """Try a password: 0 if it is right, -1 if it is wrong, else the seconds to wait before it is looked at."""
        if wait_s := self.limit.take(address):
            return wait_s
        async with self._turn:
            is_right = await run_in_threadpool(self.password.fits, word)
        if is_right:
            self.limit.give_back(address)
        return 0 if is_right else -1


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
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            return ""
    return parse_qs(body.decode("utf-8", errors="replace")).get("password", [""])[0]
