"""A real deployment on loopback: SuperLink, nginx, two SuperNodes with invited keys, and those who were not invited."""

import contextlib
import hashlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from http.client import HTTPSConnection
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from flwr.cli.build import build_fab_from_files
from flwr.proto.control_pb2 import StartRunRequest
from flwr.proto.fab_pb2 import Fab
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE
from small_federation import EARLY, FEW_STEPS, LATE, SIGNAL

from client.node import NodeSpec
from protocols.errors import ConfigError
from protocols.invitation import read_invitation
from server.plan import RoundsSpec
from server.serve.app_bundle import PYPROJECT
from server.serve.control import open_control
from server.serve.deployment import deployment
from server.serve.fleet_proxy import passes
from server.serve.invitations import clients, follow, invite, revoke
from server.serve.job import init_server
from server.serve.served_experiment import ServedExperiment, new_run
from server.serve.served_run import run_to_end
from server.serve.server_folder import ServerFolder
from server.serve.superlink import free_port

WAIT_S = 90.0
ROOT = Path(__file__).parents[3]
FLOWER = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "PYTHONUNBUFFERED": "1",
    "PYTHONPATH": str(ROOT),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("deployed") / "server"
    init_server(root, f"localhost:{free_port()}")
    return ServerFolder.existing(root)


@pytest.fixture(scope="module")
def running(folder):
    port = folder.address().rpartition(":")[2]
    with deployment(folder, f"127.0.0.1:{port}") as running:
        yield running


def invited(folder, name, tmp_path):
    """An invitation in force, and the files of a SuperNode that come of it."""
    path = tmp_path / f"{name}.myofed"
    invite(folder, name, path, days=1)
    with open_control(folder) as control:
        follow(control, folder)
    return node_files(read_invitation(path), tmp_path / name)


def node_files(invitation, home, *, key=None, trusted=None):
    home.mkdir()
    (home / "ca.crt").write_text(invitation.ca_certificate)
    (home / "key").write_text(key or invitation.private_key)
    (home / "key").chmod(0o600)
    (home / "trusted.yaml").write_text(json.dumps(trusted or invitation.trusted_entities))
    return home, invitation


@contextmanager
def supernode(files, spec=None):
    home, invitation = files
    config = [] if spec is None else ["--node-config", f'node="{spec}"']
    command = [str(Path(sys.executable).with_name("flower-supernode")), "--superlink", invitation.address]
    command += ["--root-certificates", str(home / "ca.crt")]
    command += ["--auth-supernode-private-key", str(home / "key")]
    command += ["--trusted-entities", str(home / "trusted.yaml"), "--port", str(free_port()), *config]
    bin_first = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | FLOWER | {"FLWR_HOME": str(home / "flower"), "PATH": bin_first}
    with (
        (home / "log").open("wb") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


def wait_for_log(home, words, process):
    deadline = time.monotonic() + WAIT_S
    while words not in (text := (home / "log").read_text()):
        assert process.poll() is None, text
        assert time.monotonic() < deadline, text
        time.sleep(0.2)


def wait_for_end(home, process):
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(WAIT_S)
    assert process.returncode is not None, (home / "log").read_text()


def knock(folder, path, *, method="POST", body=b"", headers=None):
    """The proxy's answer to a stranger who has the authority's certificate; the path goes out as it is."""
    host, _, port = folder.address().rpartition(":")
    trusted = ssl.create_default_context(cafile=str(folder.ca_certificate))
    connection = HTTPSConnection(host, int(port), context=trusted, timeout=20)
    try:
        connection.request(method, path, body, {"Content-Type": PROTOBUF_MEDIA_TYPE, **(headers or {})})
        return connection.getresponse().status
    finally:
        connection.close()


def node_spec(path, dataset, name, pack_key, *, person=None):
    spec = NodeSpec(
        person or name,
        str(dataset),
        str(path.parent / "store"),
        train=EARLY,
        calibration=EARLY,
        test=LATE,
        trusted_key=pack_key,
        name=name,
    )
    path.write_text(json.dumps(spec.to_json()))
    return path


@pytest.mark.slow  # a minute; test_join.py has the same way by the command, in every run
def test_two_invited_clients_end_two_rounds_with_a_whole_record(folder, running, dataset, tmp_path):
    rounds = RoundsSpec(rounds=2, train=FEW_STEPS, evaluate_every=2, deadline_s=WAIT_S)
    experiment = ServedExperiment(SIGNAL, "tiny", "convonly", rounds, min_clients=2, wait_s=WAIT_S)
    run = new_run(experiment, ("tiny.yaml", "signal: …"), tmp_path / "runs")
    with ExitStack() as nodes:
        for name in ("s0", "s1"):
            files = invited(folder, name, tmp_path)
            spec = node_spec(files[0] / "node.json", dataset, name, files[1].pack_key)
            nodes.enter_context(supernode(files, spec))
        record = run_to_end(running, run)
    events = list(record.events())
    assert [e["round"] for e in events if e["event"] == "round"] == [1, 2]
    assert {e["subject"] for e in events if e["event"] == "evaluation"} == {"s0", "s1"}
    assert all(e["answered"] == 2 for e in events if e["event"] == "round")
    assert events[-1]["event"] == "stop"


@pytest.mark.slow  # a minute or two; see test_known_names.py for what says so
def test_an_invited_client_that_claims_anothers_name_takes_no_part_and_harms_nobody(
    folder, running, dataset, tmp_path
):
    rounds = RoundsSpec(rounds=1, train=FEW_STEPS, deadline_s=10 * WAIT_S)  # it ends with the last answer
    experiment = ServedExperiment(SIGNAL, "names", "convonly", rounds, min_clients=2, wait_s=WAIT_S)
    run = new_run(experiment, ("names.yaml", "signal: …"), tmp_path / "runs")
    with ExitStack() as nodes:
        for invitation, claims in {"mallory": "p0", "p0": "p0", "p1": "p1"}.items():
            files = invited(folder, invitation, tmp_path)
            spec = node_spec(files[0] / "node.json", dataset, claims, files[1].pack_key, person="s0")
            nodes.enter_context(supernode(files, spec))
        record = run_to_end(running, run)
    events = list(record.events())
    (reason,) = {e["reason"] for e in events if e["event"] == "refused"}
    assert reason.endswith("claims to be 'p0', and was invited as 'mallory'")
    assert next(e for e in events if e["event"] == "start")["clients"] == ["p0", "p1"]
    assert [e["answered"] for e in events if e["event"] == "round"] == [2]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/health",
        "/v1/control/start-run",
        "/v1/control/list-nodes",
        "/v1/runtime/pull-messages",
        "/v1/fleet/",
        "/v1/fleet",
        "/v1/fleet/../control/start-run",
        "/v1/fleet/..%2fcontrol%2fstart-run",
        "/v1/fleet/%2e%2e/control/start-run",
        "/v1/fleet/%252e%252e%252fcontrol%252fstart-run",
        "/v1/fleet//../../v1/control/start-run",
        "/v1/fleet/pull-messages/../../control/start-run",
        "/v1/fleet/get-run;/../../control/start-run",
        "/V1/control/start-run",
    ],
)
def test_no_path_leads_through_the_proxy_to_another_api(folder, running, path):
    assert knock(folder, path) == 403
    logged(folder, "refused 403")


def test_the_refused_call_is_logged_with_who_and_what(folder, running):
    knock(folder, "/v1/control/stop-run-of-others")
    log = logged(folder, "stop-run-of-others")
    assert '127.0.0.1 refused 403 "POST /v1/control/stop-run-of-others' in log


def logged(folder, words):
    """The proxy writes after it has answered."""
    deadline = time.monotonic() + WAIT_S
    while words not in (log := (folder.logs / "proxy.log").read_text()):
        assert time.monotonic() < deadline, log
        time.sleep(0.05)
    return log


def test_a_host_header_or_another_method_opens_nothing(folder, running):
    assert knock(folder, "/v1/control/start-run", headers={"Host": "localhost"}) == 403
    assert knock(folder, "/v1/control/start-run", headers={"X-Original-URL": "/v1/fleet/get-run"}) == 403
    assert knock(folder, "/v1/fleet/pull-messages", method="GET") == 403
    assert knock(folder, "/v1/fleet/pull-messages", method="DELETE") == 403


def test_a_huge_message_is_refused_before_it_is_read(folder, running):
    assert knock(folder, "/v1/fleet/push-object", headers={"Content-Length": str(2 * 1024**3)}) == 413


def test_the_ca_alone_lets_nobody_use_the_fleet_api(folder, running):
    assert knock(folder, "/v1/fleet/pull-messages") == 401


def test_whoever_does_not_trust_the_authority_is_not_talked_to(folder, running):
    host, _, port = folder.address().rpartition(":")
    with pytest.raises(ssl.SSLCertVerificationError):
        HTTPSConnection(host, int(port), context=ssl.create_default_context(), timeout=20).request("GET", "/")


def test_plain_http_is_not_spoken(folder, running):
    assert httpx.post(f"http://{folder.address()}/v1/fleet/get-run", trust_env=False).status_code == 400


def test_control_is_on_loopback_only(folder, running):
    address = json.loads(folder.running.read_text())["superlink"]
    assert address == f"127.0.0.1:{running.superlink_port}"
    with socket.socket() as other, pytest.raises(ConnectionRefusedError):
        other.connect(("127.0.0.2", running.superlink_port))  # it listens on 127.0.0.1 alone


def test_a_key_that_nobody_invited_is_refused(folder, running, tmp_path):
    _, invitation = invited(folder, "known", tmp_path)
    stranger = ec.generate_private_key(ec.SECP384R1())
    key = stranger.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    files = node_files(invitation, tmp_path / "stranger", key=key)
    with supernode(files) as process:
        wait_for_end(files[0], process)
    assert "[code: 2004] Failed to activate SuperNode" in (files[0] / "log").read_text()


def test_a_revoked_client_is_cut_off_while_it_runs_and_kept_out(folder, running, tmp_path):
    files = invited(folder, "leaver", tmp_path)
    with supernode(files) as process, open_control(folder) as control:
        wait_for_log(files[0], "SuperNode ID", process)
        revoke(folder, "leaver")
        assert follow(control, folder)[1] >= 1
        wait_for_end(files[0], process)
    assert 'refused 401 "POST /v1/fleet/pull-messages' in (folder.logs / "proxy.log").read_text()
    with supernode(files) as process:
        wait_for_end(files[0], process)
    assert "[code: 2004] Failed to activate SuperNode" in (files[0] / "log").read_text()


EVIL = """
from flwr.app import Message, MessageType, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from pathlib import Path
import time

app, client = ServerApp(), ClientApp()

@app.main()
def main(grid, context):
    while not (nodes := list(grid.get_node_ids())):
        time.sleep(0.5)
    replies = grid.send_and_receive([Message(RecordDict(), n, MessageType.QUERY) for n in nodes], timeout=60)
    print("EVIL GOT", [r.error.reason if r.has_error() else "an answer" for r in replies])

@client.query()
def query(message, context):
    Path("{trace}").write_text("it ran")
    return Message(RecordDict(), reply_to=message)
"""


def test_a_client_runs_no_bundle_but_ours_even_if_the_superlink_is_taken(folder, running, tmp_path):
    trace = tmp_path / "trace"
    project = PYPROJECT.replace("server.app:app", "evil:app").replace("client.app:app", "evil:client")
    content, _ = build_fab_from_files(
        {"pyproject.toml": project.encode(), "evil.py": EVIL.replace("{trace}", str(trace)).encode()}
    )
    files = invited(folder, "careful", tmp_path)
    with supernode(files) as process, open_control(folder) as control:
        wait_for_log(files[0], "SuperNode ID", process)
        request = StartRunRequest(fab=Fab(hash_str=hashlib.sha256(content).hexdigest(), content=content))
        run_id = control._client.StartRun(request).run_id
        wait_for_log(files[0], "could not be verified", process)
        control.stop_run(run_id)
    assert not trace.exists()


def test_an_expired_client_is_let_in_no_more(folder, running, tmp_path):
    invite(folder, "guest", tmp_path / "guest.myofed", days=1)
    with open_control(folder) as control:
        assert follow(control, folder)[0] == ["guest"]
        assert follow(control, folder) == ([], 0)
        assert follow(control, folder, now_s=time.time() + 86_401)[1] >= 1
    for client in clients(folder):  # the SuperLink takes no key back
        revoke(folder, client.name)


def test_only_one_server_uses_a_folder(folder, running):
    with (
        pytest.raises(ConfigError, match="another `myofed serve` uses it"),
        deployment(folder, "127.0.0.1:1"),
    ):
        pass


def tend_until_restarted(running, process):
    restarts, deadline = process.restarts, time.monotonic() + WAIT_S
    os.kill(process.pid, signal.SIGKILL)
    while process.restarts == restarts:
        assert time.monotonic() < deadline
        running.tend()
        time.sleep(0.1)


def test_a_killed_superlink_comes_back_with_the_same_clients(folder, running, tmp_path):
    invited(folder, "stays", tmp_path)
    with open_control(folder) as control:
        before = control.nodes()
    tend_until_restarted(running, running.superlink)
    with open_control(folder) as control:
        assert control.nodes() == before


def test_a_killed_proxy_comes_back_on_the_same_port(folder, running):
    tend_until_restarted(running, running.proxy)
    port = int(folder.address().rpartition(":")[2])
    running.proxy.wait_until(lambda: passes(folder, "127.0.0.1", port))
    assert knock(folder, "/v1/control/start-run") == 403
    assert knock(folder, "/v1/fleet/pull-messages") == 401
