"""Invite and revoke are files; what the SuperLink makes of them is in test_deployment."""

import json

import pytest

from protocols.errors import ConfigError
from protocols.invitation import read_invitation
from server.serve.app_bundle import Signature, signed_bundle
from server.serve.invitations import DAY_S, clients, invite, revoke
from server.serve.job import init_server
from server.serve.server_folder import ServerFolder

NOW_S = 1_800_000_000


@pytest.fixture
def folder(tmp_path):
    init_server(tmp_path / "server", "emg.example.org:9443")
    return ServerFolder.existing(tmp_path / "server")


def test_the_invitation_holds_what_the_server_said_at_its_start(tmp_path):
    said = init_server(tmp_path / "server", "emg.example.org:9443")
    path = tmp_path / "anna.myofed"
    invite(ServerFolder.existing(tmp_path / "server"), "anna", path, days=2, now_s=NOW_S)
    invitation = read_invitation(path, now_s=NOW_S)
    found = {key: getattr(invitation, key) for key in ("address", "fingerprint", "pack_key", "app_key")}
    assert found == {key: said[key] for key in found}
    assert invitation.expires_s == NOW_S + 2 * DAY_S


def test_the_server_keeps_no_client_s_private_key(folder, tmp_path):
    invite(folder, "anna", tmp_path / "anna.myofed", days=1)
    kept = b"".join(path.read_bytes() for path in folder.clients.rglob("*") if path.is_file())
    assert b"ecdsa-sha2-nistp384" in kept
    assert b"PRIVATE" not in kept


def test_a_name_is_taken_until_it_is_revoked(folder, tmp_path):
    invite(folder, "anna", tmp_path / "1.myofed", days=1)
    with pytest.raises(ConfigError, match="invited already"):
        invite(folder, "anna", tmp_path / "2.myofed", days=1)
    revoke(folder, "anna")
    assert clients(folder) == []
    invite(folder, "anna", tmp_path / "2.myofed", days=1)
    assert [client.name for client in clients(folder)] == ["anna"]


def test_an_invitation_that_cannot_be_written_invites_nobody(folder, tmp_path):
    (tmp_path / "there").write_text("mine")
    with pytest.raises(ConfigError, match="already"):
        invite(folder, "anna", tmp_path / "there", days=1)
    assert clients(folder) == []


@pytest.mark.parametrize("name", ["../anna", "a/b", "", "-x", "a.b"])
def test_a_name_that_is_a_path_is_refused(folder, tmp_path, name):
    with pytest.raises(ConfigError, match="name: found"):
        invite(folder, name, tmp_path / "x.myofed", days=1)
    with pytest.raises(ConfigError, match="name: found"):
        revoke(folder, name)


def test_revoking_a_stranger_names_who_is_invited(folder, tmp_path):
    invite(folder, "anna", tmp_path / "anna.myofed", days=1)
    with pytest.raises(ConfigError, match=r"found no such client, invited are \['anna'\]"):
        revoke(folder, "ben")


def test_a_damaged_client_is_shut_out_and_stops_nobody_else(folder, tmp_path):
    for name in ("anna", "ben"):
        invite(folder, name, tmp_path / name, days=1)
    (folder.clients / "anna.json").write_text("{")
    assert [client.name for client in clients(folder)] == ["ben"]


def test_access_ends_with_the_invitation(folder, tmp_path):
    invite(folder, "anna", tmp_path / "anna.myofed", days=1, now_s=NOW_S)
    (client,) = clients(folder)
    assert client.may_come(NOW_S + DAY_S - 1)
    assert not client.may_come(NOW_S + DAY_S)


def test_the_bundle_is_signed_once_and_the_key_may_then_be_taken_away(folder):
    first = signed_bundle(folder)
    folder.app_key.unlink()
    assert signed_bundle(folder) == first


def test_a_bundle_that_the_signature_does_not_fit_needs_the_key(folder):
    facts = json.loads(folder.app_signature.read_text()) | {"bundle": "0" * 64}
    folder.app_signature.write_text(json.dumps(facts))
    folder.app_key.unlink()
    with pytest.raises(ConfigError, match="put the key back once"):
        signed_bundle(folder)


def test_a_signature_fits_its_own_bundle_only(folder):
    bundle = signed_bundle(folder)
    assert bundle.signature.fits(bundle.content)
    assert not bundle.signature.fits(bundle.content + b" ")
    other = Signature(
        bundle.signature.bundle, "0" * 64, bundle.signature.signed_at, bundle.signature.signature
    )
    assert not other.fits(bundle.content)
