"""A Hub on loopback with one app on it, from which the SuperLink takes the signed app bundle.

Source:
    Flower 1.41, `flwr.supercore.utils.request_download_link` and `_get_remote_fab`: POST …/hub/fetch-fab answers
    `fab_url` and `verifications`; GET of that address, the bundle.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from server.serve.app_bundle import APP_ID, APP_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server.serve.app_bundle import AppBundle

MOST_BYTES = 65_536  # of a request
TIMEOUT_S = 10.0  # for a client that says nothing


@contextmanager
def bundle_shelf(bundle: AppBundle) -> Iterator[str]:
    """The address of the Hub, for `FLWR_SUPERGRID_API_URL`, as long as the block lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(bundle))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(bundle: AppBundle) -> type[BaseHTTPRequestHandler]:
    class Shelf(BaseHTTPRequestHandler):
        timeout = TIMEOUT_S

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            size = int(length) if length.isdecimal() else MOST_BYTES + 1
            wanted = _wanted(self.rfile.read(size)) if size <= MOST_BYTES else None
            if self.path != "/v1/hub/fetch-fab" or wanted != (APP_ID, APP_VERSION):
                self._answer(404, "application/json", json.dumps({"detail": "no such app"}).encode())
                return
            url = f"http://{self.headers['Host']}/v1/bundle"
            facts = {"fab_url": url, "verifications": [bundle.signature.verification]}
            self._answer(200, "application/json", json.dumps(facts).encode())

        def do_GET(self) -> None:
            if self.path == "/v1/bundle":
                self._answer(200, "application/octet-stream", bundle.content)
            else:
                self._answer(404, "text/plain", b"")

        def _answer(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """The SuperLink says what it fetched."""

    return Shelf


def _wanted(body: bytes) -> tuple[str, str] | None:
    try:
        request = json.loads(body)
        return str(request["app_id"]).split("==")[0], str(request["app_version"])
    except (ValueError, KeyError, TypeError):
        return None
