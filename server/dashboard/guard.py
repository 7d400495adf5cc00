"""What stands before every page, file and websocket: whose request it is, and what browsers may do with the answer.

Pure ASGI, because NiceGUI's socket takes every origin and knows no login.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from server.dashboard.login_page import Door

OPEN = frozenset({"/login", "/healthz", "/favicon.ico", "/static/login.css", "/static/favicon.svg"})
# NiceGUI writes inline scripts and compiles its templates in the browser, hence the two `unsafe`; still nothing is
# loaded from, sent to or framed by another site.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # `no-referrer` would take the Origin from our own forms, which we check
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True, slots=True)
class Guard:
    """The site behind its door.

    Attributes:
        door: the password and its sessions; None: everybody on this machine may look, under its own names only.
    """

    app: ASGIApp
    door: Door | None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is refused here; hand on the rest."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        session = self._session(scope)
        refusal = self._refusal(scope, session)
        if scope["type"] == "websocket":
            if refusal is None:
                await self.app(scope, self._while_open(receive, session), send)
            else:
                await receive()
                await send(
                    {"type": "websocket.close", "code": 1008, "reason": "refused"}
                )  # answered with 403
            return
        answer = self.app if refusal is None else refusal
        await answer(_as_get(_without_prefix(scope)), receive, _with_headers(send))

    def _session(self, scope: Scope) -> str:
        """The cookie's value; empty if there is none, or nobody needs one."""
        return "" if self.door is None else HTTPConnection(scope).cookies.get(self.door.sessions.cookie, "")

    def _refusal(self, scope: Scope, session: str) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self.door is None and not is_own_name(host):
            return PlainTextResponse(  # what DNS rebinding looks like; with a password, the session is what counts
                "Without a password this page answers to localhost and 127.0.0.1 only; with one to every name: "
                "myofed watch --set-password, then --password-file.\n",
                status_code=421,
            )
        if scope["type"] == "http" and scope["method"] not in (allowed := methods(scope["path"])):
            return PlainTextResponse(
                "This address does not take that method.\n", 405, headers={"Allow": ", ".join(allowed)}
            )
        if not is_own_origin(headers.get("origin"), host, needed=scope["type"] == "websocket"):
            return PlainTextResponse("This came from a page of another site.\n", status_code=403)
        if self.door is None or scope["path"] in OPEN or self.door.sessions.is_open(session):
            return None
        if scope["path"] == "/metrics":
            return None  # takes the password itself, as a scraper sends it
        return _to_login(scope, headers)

    def _while_open(self, receive: Receive, session: str) -> Receive:
        """A websocket ends with its session: browsers send something every few seconds."""

        async def received() -> Message:
            message = await receive()
            if self.door is not None and not self.door.sessions.is_open(session):
                return {"type": "websocket.disconnect", "code": 1008}
            return message

        return received


def methods(path: str) -> tuple[str, ...]:
    """What an address may be asked for: only forms, and what the pages send by NiceGUI, are taken."""
    if path == "/logout":
        return ("POST",)
    return ("GET", "HEAD", "POST") if path == "/login" or path.startswith("/_nicegui") else ("GET", "HEAD")


def is_own_name(host: str) -> bool:
    """Whether a Host header names this machine as only programs on it can."""
    name = (urlsplit(f"//{host}").hostname or "") if _is_host(host) else ""
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_own_origin(origin: str | None, host: str, *, needed: bool) -> bool:
    """Whether a request comes from our own page, as far as its browser says."""
    if origin is None:
        return not needed
    return origin.lower() in {f"http://{host.lower()}", f"https://{host.lower()}"}


def _is_host(host: str) -> bool:
    try:
        urlsplit(f"//{host}")
    except ValueError:
        return False
    return not set(host) & set("/\\@?#")


def _to_login(scope: Scope, headers: Headers) -> Response:
    """Where a person may log in; a program is told."""
    if scope.get("method") in ("GET", "HEAD") and "text/html" in headers.get("accept", ""):
        query = scope["query_string"].decode("latin-1")
        target = quote(f"{scope['path']}?{query}" if query else scope["path"], safe="", errors="replace")
        return RedirectResponse(f"/login?next={target}", status_code=303)
    return PlainTextResponse("Log in first, at /login.\n", status_code=401)


def _without_prefix(scope: Scope) -> Scope:
    """Without a header that NiceGUI would write into the page's addresses: no proxy's path is supported."""
    kept = [(name, value) for name, value in scope["headers"] if name != b"x-forwarded-prefix"]
    return {**scope, "headers": kept}


def _as_get(scope: Scope) -> Scope:
    """A HEAD as a GET: the server leaves the body out."""
    return {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sent
