"""The broker's certificate: for every name and address of this machine, by an authority that its boards know.

The curve is P-256: a small board checks its signatures ten times faster than those of P-384.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import re
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec

from distillation.atomic import replacing
from protocols.certificates import (
    general_name,
    lasts,
    names,
    new_authority,
    new_server,
    read_authority,
    read_certificate,
)

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Sequence

CA_CERTIFICATE, CA_KEY = "ca.crt", "ca.key"
SERVER = "server.pem"  # key and certificate in one, so that they never differ
LOOPBACK = ("localhost", "127.0.0.1", "::1")
SIOCGIFADDR = 0x8915  # Linux: the IPv4 address of an interface
INTERFACES = Path("/sys/class/net")
IPV6_ADDRESSES = Path("/proc/net/if_inet6")
LINK_LOCAL = "20"  # its scope there: such addresses are no use without the interface's name


def renew_certificate(
    folder: Path, hosts: Sequence[str] | None = None, *, now: dt.datetime | None = None
) -> bool:
    """Sign the broker's certificate where it is missing, about to end, or lacks a name or address.

    Args:
        folder: of the broker; its authority is made where there is none.
        hosts: names and addresses; None: those of this machine.
        now: the time; None: the clock's.

    Returns:
        Whether there is a new one.

    Raises:
        ConfigError: the authority's files are damaged, or open to others.
    """
    hosts = own_hosts() if hosts is None else hosts
    if not (folder / CA_CERTIFICATE).exists() and not (folder / CA_KEY).exists():
        made = new_authority(f"myofed broker of {socket.gethostname()}"[:64], ec.SECP256R1())
        write_private(folder / CA_KEY, made.key_pem)
        write_private(folder / CA_CERTIFICATE, made.certificate_pem)
    authority = read_authority(folder / CA_CERTIFICATE, folder / CA_KEY)
    current = read_certificate(folder / SERVER)
    wanted = {general_name(host) for host in hosts}
    if current and wanted <= set(names(current)) and lasts(current, now=now):
        return False
    made = new_server(authority, "myofed broker", hosts, now=now)
    write_private(folder / SERVER, made.key_pem + made.certificate_pem)
    return True


def own_hosts() -> list[str]:
    """What this machine may be called: localhost, its name, its name on the local network, its addresses."""
    name = socket.gethostname()
    called = [name, f"{name.partition('.')[0]}.local"] if re.fullmatch(r"[A-Za-z0-9.-]+", name) else []
    return list(dict.fromkeys([*LOOPBACK, *called, *own_addresses()]))


def own_addresses() -> list[str]:
    """The addresses of this machine's interfaces that others may reach, IPv4 before IPv6."""
    found = [ipaddress.ip_address(address) for address in (*_ipv4(), *_ipv6())]
    return [str(address) for address in found if not address.is_loopback]


def write_private(path: Path, content: bytes) -> None:
    """A file for its owner alone: whole or not at all."""
    with replacing(path) as scratch:
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)


def _ipv4() -> Iterator[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for interface in _interfaces():
            request = struct.pack("256s", interface[:15].encode())
            try:
                answer = fcntl.ioctl(asked.fileno(), SIOCGIFADDR, request)
            except OSError:  # an interface without an address
                continue
            yield socket.inet_ntoa(answer[20:24])


def _interfaces() -> list[str]:
    """Their names: `socket.if_nameindex` would need a kind of socket that a hardened service may not have."""
    return sorted(path.name for path in INTERFACES.iterdir()) if INTERFACES.is_dir() else []


def _ipv6() -> Iterator[str]:
    try:
        lines = IPV6_ADDRESSES.read_text().splitlines()
    except OSError:  # a machine without IPv6
        return
    for line in lines:
        digits, _index, _length, scope, *_ = line.split()
        if scope != LINK_LOCAL:
            yield socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits))
