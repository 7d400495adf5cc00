"""An invitation is one file: whole, ours, in time, and for its owner's eyes only."""

import datetime as dt
import json
import stat
from contextlib import suppress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_ssh_public_key,
)
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import ConfigError, DataError, VersionMismatch
from protocols.invitation import (
    Invitation,
    app_key_id,
    check_address,
    check_name,
    read_invitation,
    write_invitation,
)

NOW_S = 1_800_000_000
AUTHORITY = ec.generate_private_key(ec.SECP384R1())
STRANGER = ec.generate_private_key(ec.SECP384R1())


def certificate(key):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start.replace(year=2036))
    return builder.sign(key, SHA384()).public_bytes(Encoding.PEM).decode()


def openssh(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


def hexadecimal():
    return Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex()


CERTIFICATE, CLIENT = certificate(AUTHORITY), openssh(ec.generate_private_key(ec.SECP384R1()))
INVITED = Invitation(
    "anna", "emg.example.org:9443", CERTIFICATE, CLIENT, hexadecimal(), hexadecimal(), NOW_S + 60
)
SEALED = INVITED.sealed(AUTHORITY)


def test_what_was_sealed_is_what_is_opened():
    assert Invitation.opened(SEALED, now_s=NOW_S) == INVITED


def test_the_file_is_for_its_owner_alone_and_is_never_overwritten(tmp_path):
    path = tmp_path / "anna.myofed"
    write_invitation(path, INVITED, AUTHORITY)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_invitation(path, now_s=NOW_S) == INVITED
    with pytest.raises(ConfigError, match="already"):
        write_invitation(path, INVITED, AUTHORITY)


@pytest.mark.parametrize("field", ["name", "address", "private_key", "pack_key", "app_key", "expires_s"])
def test_an_altered_field_is_refused(field):
    content = json.loads(SEALED)
    other = Invitation(
        "eve",
        "eve.example.org:1",
        CERTIFICATE,
        openssh(STRANGER),
        hexadecimal(),
        hexadecimal(),
        NOW_S + 999,
    )
    content[field] = getattr(other, field)
    with pytest.raises(DataError, match="altered"):
        Invitation.opened(json.dumps(content).encode(), now_s=NOW_S)


def test_another_authority_s_certificate_is_refused():
    content = json.loads(SEALED) | {"ca_certificate": certificate(STRANGER)}
    with pytest.raises(DataError, match="altered"):
        Invitation.opened(json.dumps(content).encode(), now_s=NOW_S)


def test_only_the_authority_inside_can_seal():
    with pytest.raises(ConfigError, match="does not fit"):
        INVITED.sealed(STRANGER)


@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
def test_no_changed_byte_opens_as_another_invitation(position, change):
    damaged = bytearray(SEALED)
    damaged[position] ^= change
    with suppress(DataError, VersionMismatch):
        assert Invitation.opened(bytes(damaged), now_s=NOW_S) == INVITED  # white space, a digit's case


@given(st.binary(max_size=300))
def test_foreign_files_are_refused_in_plain_words(garbage):
    with pytest.raises(DataError, match="no invitation"):
        Invitation.opened(garbage, now_s=NOW_S)


@pytest.mark.parametrize(
    "foreign", [b"[]", b"{}", b"null", b"x" * 70_000, b"[" * 60_000, SEALED[:-200]], ids=range(6)
)
def test_json_of_another_kind_is_refused(foreign):
    with pytest.raises(DataError, match="no invitation"):
        Invitation.opened(foreign, now_s=NOW_S)


def test_a_missing_or_an_extra_field_is_named():
    content = json.loads(SEALED)
    del content["app_key"]
    with pytest.raises(DataError, match="app_key"):
        Invitation.opened(json.dumps(content).encode(), now_s=NOW_S)


def test_an_expired_invitation_says_when_and_what_to_do():
    with pytest.raises(DataError, match=r"expired on 2027-01-15; ask"):
        Invitation.opened(SEALED, now_s=NOW_S + 60)


def test_another_version_is_named():
    content = json.loads(SEALED) | {"myofed_invitation": 2}
    with pytest.raises(VersionMismatch, match="version 2"):
        Invitation.opened(json.dumps(content).encode(), now_s=NOW_S)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone.myofed: No such file"):
        read_invitation(tmp_path / "gone.myofed")


def test_the_private_key_is_in_no_log():
    assert "PRIVATE" not in f"{INVITED!r} {INVITED!s}"
    assert INVITED.fingerprint in repr(INVITED)


def test_flower_gets_the_app_key_in_its_own_form():
    ((key_id, line),) = INVITED.trusted_entities.items()
    assert key_id == app_key_id(INVITED.app_key)
    assert load_ssh_public_key(line.encode()).public_bytes_raw().hex() == INVITED.app_key


@pytest.mark.parametrize("name", ["", "../anna", "a/b", ".", "a.b", "-a", "a" * 33, "a\n", 7, "ä"])
def test_names_that_are_paths_or_too_long_are_refused(name):
    with pytest.raises(ConfigError, match="name: found"):
        check_name(name)


@pytest.mark.parametrize(
    "address", ["", "host", "host:0", "host:70000", "a b:1", "https://h:1", "::1:80", None]
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ConfigError, match="address: found"):
        check_address(address)


def test_addresses_are_names_and_numbers():
    assert check_address("emg.example.org:9443") == ("emg.example.org", 9443)
    assert check_address("10.0.0.1:1") == ("10.0.0.1", 1)
    assert check_address("[::1]:9443") == ("::1", 9443)


def test_a_client_s_key_of_another_kind_is_refused():
    with pytest.raises(DataError, match="expected EC P-384"):
        Invitation("a", "h:1", CERTIFICATE, openssh(ec.generate_private_key(ec.SECP256R1())), "", "", NOW_S)
