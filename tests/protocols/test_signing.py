"""Keys stay private, and a signature fits one content of one signer."""

import stat

import pytest

from protocols.errors import ConfigError, DataError
from protocols.signing import load_or_create_key, public_key_of, sign, verify


def test_key_is_made_once_and_for_its_owner_only(tmp_path):
    path = tmp_path / "keys" / "pack.key"
    key = load_or_create_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert public_key_of(load_or_create_key(path)) == public_key_of(key)
    assert [each.name for each in path.parent.iterdir()] == ["pack.key"]


def test_key_that_others_may_read_is_refused(tmp_path):
    path = tmp_path / "pack.key"
    load_or_create_key(path)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="others may read"):
        load_or_create_key(path)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_what_is_no_key_is_refused(tmp_path, content):
    path = tmp_path / "pack.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="no usable signing key"):
        load_or_create_key(path)


def test_signature_names_its_signer(tmp_path):
    key = load_or_create_key(tmp_path / "k")
    assert verify(b"facts", sign(key, b"facts"), public_key=None) == public_key_of(key)
    assert verify(b"facts", sign(key, b"facts"), public_key=public_key_of(key)) == public_key_of(key)


def test_foreign_signer_damage_and_garbage_are_refused(tmp_path):
    ours, theirs = load_or_create_key(tmp_path / "a"), load_or_create_key(tmp_path / "b")
    signature = sign(ours, b"facts")
    with pytest.raises(DataError, match="expected key"):
        verify(b"facts", signature, public_key=public_key_of(theirs))
    with pytest.raises(DataError, match="does not fit"):
        verify(b"fact5", signature, public_key=None)
    with pytest.raises(DataError, match="expected 96"):
        verify(b"facts", signature[:-1], public_key=None)
    forged = bytes.fromhex(public_key_of(theirs)) + signature[32:]  # their name over our signature
    with pytest.raises(DataError, match="does not fit"):
        verify(b"facts", forged, public_key=public_key_of(theirs))
    with pytest.raises(DataError, match="does not fit"):
        verify(b"facts", b"\xff" * 96, public_key=None)
