"""The only door to the outside: nginx, which ends TLS and passes the Fleet API's calls to the SuperLink, nothing else.

A call is passed on only if its path is `/v1/fleet/` and one plain word, and it is rebuilt from that word: no
encoding, `..` or query can reach another of the SuperLink's APIs. Everything else gets 403, and is logged.
"""

from __future__ import annotations

import errno
import shutil
import socket
import ssl
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError, URLError
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

from protocols.errors import ConfigError
from protocols.invitation import check_address
from server.serve.authority import PUBLIC
from server.serve.refusals import REASONS
from server.serve.supervised import Supervised

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server.serve.server_folder import ServerFolder

# Flower cuts messages into objects of 5 MiB with a short head; what is larger is no Fleet call.
MOST_BODY = "6m"
# Of one address; a hospital's sites may share one. A SuperNode keeps a few connections, and asks every 3 s.
CONNECTIONS, REQUESTS_PER_S, BURST = 64, 100, 1000
FREED_S = 3.0  # a proxy whose server was just killed is gone by then
OURS = "/are-you-there"  # asked by ourselves, and so not counted among the refused
PROGRAMS = ("nginx", "/usr/sbin/nginx")  # Debian keeps it off the path of ordinary users

CONFIG = """
daemon off;
pid {scratch}/nginx.pid;
error_log stderr warn;
worker_processes 1;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }} # those that say nothing are not counted by address, and stay 10 s
http {{
    server_tokens off;
    default_type text/plain;
    client_body_temp_path {scratch}/body;
    proxy_temp_path {scratch}/proxy;
    fastcgi_temp_path {scratch}/fastcgi;
    uwsgi_temp_path {scratch}/uwsgi;
    scgi_temp_path {scratch}/scgi;

    map $status $refused {{ ~^[23] 0; default 1; }}
    map $status $reason {{
        default "refused";
        ~^5 "the SuperLink did not answer";
{reasons}
    }}
    log_format refusal '$time_iso8601 $remote_addr refused $status "$request" $request_length bytes: $reason';
    access_log /dev/stderr refusal if=$refused;

    limit_conn_zone $binary_remote_addr zone=connections:1m;
    limit_req_zone $binary_remote_addr zone=requests:1m rate={rate}r/s;
    limit_conn_status 429;
    limit_req_status 429;
    limit_req_log_level warn; # a refusal; one step less, and so unlogged, a delay
    client_header_timeout 10s;
    client_body_timeout 30s;
    send_timeout 30s;
    keepalive_timeout 75s;
    large_client_header_buffers 4 8k;

    upstream superlink {{
        server 127.0.0.1:{superlink};
        keepalive 16;
    }}
    server {{
        listen {listen} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_tickets off;

        client_max_body_size {body};
        limit_conn connections {connections};
        limit_req zone=requests burst={burst};

        location / {{ return 403; }}
        location = {ours} {{ access_log off; return 403; }}
        location ~ "^/v1/fleet/([a-z-]{{1,40}})$" {{
            limit_except POST {{ deny all; }}
            proxy_pass https://superlink/v1/fleet/$1;
            proxy_ssl_verify on;
            proxy_ssl_trusted_certificate {authority};
            proxy_ssl_name localhost;
            proxy_ssl_server_name on;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host localhost;
            proxy_connect_timeout 5s;
            proxy_read_timeout 60s;
            proxy_send_timeout 60s;
            proxy_next_upstream off;
        }}
    }}
}}
"""


def check_free(listen: str) -> None:
    """Look whether clients can come to host:port, before anything is started.

    Raises:
        ConfigError: another program listens there, it is no address of this machine, or we may not.
    """
    until = time.monotonic() + FREED_S
    while (error := _bind_error(*check_address(listen))) is not None:
        if error.errno != errno.EADDRINUSE:
            raise ConfigError(f"--listen {listen}: {error.strerror}; choose one of this machine, above 1023")
        if time.monotonic() >= until:
            raise ConfigError(
                f"--listen {listen}: is taken by another program; end it, or choose another port"
            )
        time.sleep(0.1)


def _bind_error(host: str, port: int) -> OSError | None:
    try:
        family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        socket.create_server(place[:2], family=family).close()
    except OSError as error:
        return error
    return None


@contextmanager
def fleet_proxy(folder: ServerFolder, listen: str, superlink_port: int) -> Iterator[Supervised]:
    """The proxy, not yet started; its scratch files go with the block.

    Args:
        folder: the server's.
        listen: address and port on which clients come, such as 0.0.0.0:9443.
        superlink_port: of the SuperLink, on loopback.

    Raises:
        ConfigError: nginx is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="myofed-proxy-") as name:
        scratch = Path(name)
        scratch.chmod(0o711)  # started by root, its workers are another user's
        config = scratch / "nginx.conf"
        config.write_text(_config(folder, listen, superlink_port, scratch))
        command = [_nginx(), "-p", str(scratch), "-e", "stderr", "-c", str(config)]
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        yield Supervised("proxy", command, environment, folder.logs / "proxy.log")


def passes(folder: ServerFolder, host: str, port: int) -> bool:
    """Whether the proxy answers with the authority's certificate, and refuses what is no Fleet call."""
    trusted = ssl.create_default_context(cafile=str(folder.ca_certificate))
    trusted.check_hostname = False  # asked on this machine's address, not on the name that clients call
    opener = build_opener(ProxyHandler({}), HTTPSHandler(context=trusted))
    try:
        with opener.open(f"https://{host}:{port}{OURS}", timeout=2):
            return False
    except HTTPError as error:
        return error.code == 403
    except (URLError, OSError):
        return False


def _config(folder: ServerFolder, listen: str, superlink_port: int, scratch: Path) -> str:
    paths = {
        "certificate": folder.certificate(PUBLIC),
        "key": folder.key(PUBLIC),
        "authority": folder.ca_certificate,
        "scratch": scratch,
    }
    return CONFIG.format(
        **{name: _quoted(path) for name, path in paths.items()},
        listen=listen,
        superlink=superlink_port,
        rate=REQUESTS_PER_S,
        burst=BURST,
        connections=CONNECTIONS,
        body=MOST_BODY,
        ours=OURS,
        reasons="\n".join(f'        {status} "{reason}";' for status, reason in REASONS.items()),
    )


def _quoted(path: Path) -> str:
    """A path as nginx reads it; ConfigError where it cannot."""
    text = str(path)
    if not all(character.isalnum() or character in "/._-+@" for character in text):
        raise ConfigError(f"--server {text}: expected a path of letters, digits and ./_-+@ (nginx reads it)")
    return text


def _nginx() -> str:
    for name in PROGRAMS:
        if program := shutil.which(name):
            return program
    raise ConfigError("nginx: not found; install it with: apt-get install nginx-light")
