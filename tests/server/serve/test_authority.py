"""The authority signs what clients trust: for the right names, in time, and nobody else can read its keys."""

import datetime as dt
import ssl
import stat
import subprocess

import pytest

from protocols.errors import ConfigError
from server.serve.authority import (
    LOOPBACK,
    PUBLIC,
    RENEW_DAYS,
    SERVER_DAYS,
    read_certificate,
    renew_certificates,
)
from server.serve.job import init_server
from server.serve.server_folder import ServerFolder


@pytest.fixture
def folder(tmp_path):
    init_server(tmp_path / "server", "emg.example.org:9443")
    return ServerFolder.existing(tmp_path / "server")


def names(folder, which):
    text = subprocess.run(
        ["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", folder.certificate(which)],
        capture_output=True,
        text=True,
        check=True,
    )
    return text.stdout


def test_every_file_is_for_its_owner_alone(folder):
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [folder.root, *folder.root.rglob("*")]}
    assert len(modes) >= 10
    for path, mode in modes.items():
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_openssl_agrees_that_the_authority_signed_both(folder):
    for which in (PUBLIC, LOOPBACK):
        command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver"]
        command += ["-CAfile", folder.ca_certificate, folder.certificate(which)]
        assert subprocess.run(command, capture_output=True, text=True, check=False).stdout.endswith("OK\n")


def test_the_proxy_s_certificate_is_for_the_address_alone(folder):
    assert "DNS:emg.example.org\n" in names(folder, PUBLIC)
    assert "DNS:localhost, IP Address:127.0.0.1" in names(folder, LOOPBACK)


def test_an_address_of_numbers_is_an_ip_address(tmp_path):
    init_server(tmp_path / "server", "[::1]:9443")
    assert "IP Address:0:0:0:0:0:0:0:1" in names(ServerFolder.existing(tmp_path / "server"), PUBLIC)


def test_key_and_certificate_belong_together(folder):
    for which in (PUBLIC, LOOPBACK):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder.certificate(which), folder.key(which))


def test_a_certificate_is_renewed_before_it_ends_and_not_earlier(folder):
    first, now = folder.certificate(PUBLIC).read_bytes(), dt.datetime.now(dt.UTC)
    early = now + dt.timedelta(days=SERVER_DAYS - RENEW_DAYS - 1)
    assert not renew_certificates(folder, now=early)
    assert folder.certificate(PUBLIC).read_bytes() == first
    late = now + dt.timedelta(days=SERVER_DAYS - RENEW_DAYS + 1)
    assert renew_certificates(folder, now=late)
    assert read_certificate(folder.certificate(PUBLIC)).not_valid_after_utc > late + dt.timedelta(days=390)


def test_another_address_makes_another_certificate_and_keeps_the_authority(folder):
    authority = folder.ca_certificate.read_bytes(), folder.ca_key.read_bytes()
    init_server(folder.root, "other.example.org:443")
    assert (folder.ca_certificate.read_bytes(), folder.ca_key.read_bytes()) == authority
    assert "DNS:other.example.org\n" in names(folder, PUBLIC)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"):
        init_server(tmp_path, "h:1")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_lost_authority_is_not_replaced_in_silence(folder):
    folder.ca_certificate.unlink()
    with pytest.raises(ConfigError, match="restore it from a backup"):
        renew_certificates(folder)


def test_an_open_folder_and_an_open_key_are_refused(folder):
    folder.ca_key.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        renew_certificates(folder, now=dt.datetime.now(dt.UTC) + dt.timedelta(days=SERVER_DAYS))
    folder.root.chmod(0o755)
    with pytest.raises(ConfigError, match="chmod 700"):
        ServerFolder.existing(folder.root)


def test_what_is_no_server_s_folder_says_how_to_make_one(tmp_path):
    with pytest.raises(ConfigError, match="myofed serve --init"):
        ServerFolder.existing(tmp_path)
