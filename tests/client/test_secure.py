"""A device in a secure round, by its messages: what it answers once, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from small_federation import FEW_STEPS, SIGNAL, make_grid, make_nodes, make_plan

from client.node import NodeSpec
from distillation.secure_sum import SecureSpec
from protocols.records import Task
from protocols.secure.participant import Participant
from protocols.secure.session import Session
from protocols.secure_records import (
    KEYS,
    REVEAL,
    SHARES,
    Dealing,
    Keys,
    MaskedUpdate,
    Masking,
    Opening,
    Revealing,
    Shares,
)
from server.federation import initial_weights

ID = "ab" * 16
SPEC = SecureSpec("masked")


class Device:
    """s0 as a server sees it, among made-up others."""

    def __init__(self, dataset, folder, **changes):
        self.nodes = tuple(replace(node, **changes) for node in make_nodes(dataset, folder))
        self.grid, self.weights = make_grid(folder, self.nodes), initial_weights(make_plan(folder), None)

    def ask(self, content, message_type, number=0):
        (reply,) = self.grid.send_and_receive([Message(content, 1000 + number, message_type)])
        return reply

    def open(self, server_round=1, session_id=ID, number=0):
        self.session = Session(session_id, server_round, 3, 3)
        return self.ask(Opening(self.session).to_record(), KEYS, number)

    def deal(self):
        """After which the roster and the shares for s0 are there."""
        own = Keys.from_record(self.open().content)
        others = {name: Participant.opening(self.session, name) for name in ("a", "b")}
        self.roster = {name: other.public_keys for name, other in others.items()} | {"s0": own.keys}
        reply = self.ask(Dealing(ID, self.roster).to_record(), SHARES)
        dealt = {name: other.deal(ID, self.roster)[1] for name, other in others.items()}
        self.shares = {name: shares["s0"] for name, shares in dealt.items()}
        self.shares["s0"] = Shares.from_record(reply.content).shares["s0"]
        return reply

    def task(self, **changes):
        return Task(**{
            "kind": "train", "round": 1, "seed": 0, "student": "convonly", "signal": SIGNAL.to_json(),
            "settings": FEW_STEPS.to_json(), "weights": self.weights,
        } | changes)  # fmt: skip

    def train(self, settings=SPEC, task=None, shares=None):
        masking = Masking(ID, settings.to_json(), self.shares if shares is None else shares)
        return self.ask(masking.added_to((task or self.task()).to_record()), MessageType.TRAIN)

    def reveal(self, *answered):
        return self.ask(Revealing(ID, answered).to_record(), REVEAL)


@pytest.fixture
def device(dataset, tmp_path):
    return Device(dataset, tmp_path)


def test_a_device_answers_each_question_once(device):
    """Keys, shares, a masked vector, shares of the others' secrets; then it has forgotten all."""
    assert set(Shares.from_record(device.deal().content).shares) == {"a", "b", "s0"}
    update = MaskedUpdate.from_record(device.train().content)
    assert (update.subject, update.round, update.trained_on) == ("s0", 1, "")
    assert update.seconds > 0
    revealed = Shares.from_record(device.reveal("a", "b", "s0").content).shares
    assert {len(share) for share in revealed.values()} == {33}
    assert "device is in none" in device.reveal("a", "b", "s0").error.reason


AGAIN = {
    "shares twice": (
        lambda d: d.ask(Dealing(ID, d.roster).to_record(), SHARES),
        "this device has dealt, which is not opened: no answer",
    ),
    "another vector under the same masks": (
        lambda d: [d.train(), d.train(task=d.task(seed=1))][1],
        "this device has masked, which is not dealt: no answer",
    ),
    "another vector after a training that failed": (
        lambda d: [d.train(task=d.task(settings={"steps": 10**9})), d.train()][1],
        "this device has masked, which is not dealt: no answer",
    ),
    "the sum before its own vector": (
        lambda d: d.reveal("a", "b", "s0"),
        "this device has dealt, which is not masked: no answer",
    ),
    "another round's task": (lambda d: d.train(task=d.task(round=2)), "secure round: round 2 with"),
    "a lower threshold than was agreed": (
        lambda d: d.ask(Opening(Session("cd" * 16, 1, 5, 3)).to_record(), KEYS) and d.train(),
        "session: found 'abab",
    ),
    "a task that is not masked": (
        lambda d: d.train(settings=SecureSpec()),
        "secure round: round 1 with {'kind': 'none'",
    ),
    "no clip that bounds anything": (
        lambda d: d.ask(
            Masking(ID, SPEC.to_json() | {"clip": float("inf")}, d.shares).added_to(d.task().to_record()),
            MessageType.TRAIN,
        ),
        "ConfigError: secure_aggregation.clip: found inf",
    ),
    "shares of too few": (lambda d: d.train(shares={"s0": d.shares["s0"]}), "shares: 1 people, expected 3"),
    "shares that are no bytes": (
        lambda d: d.ask(
            RecordDict(
                {
                    **Masking(ID, SPEC.to_json(), {}).added_to(d.task().to_record()),
                    "shares": ConfigRecord({"a": 1}),
                }
            ),
            MessageType.TRAIN,
        ),
        "masking message: TypeError('shares are no bytes by name')",
    ),
    "both secrets of those who answered": (
        lambda d: [d.train(), d.reveal("a", "b", "s0"), d.reveal("s0")][2],
        "secure round: this device is in none",
    ),
    "the secrets of a majority that fell silent": (
        lambda d: [d.train(), d.reveal("s0")][1],
        "answered: 1 people, expected 3",
    ),
}


@pytest.mark.parametrize("what", AGAIN)
def test_a_device_refuses(device, what):
    """In one line."""
    ask, reason = AGAIN[what]
    device.deal()
    reply = ask(device)
    assert reply.has_error()
    assert reason in reply.error.reason
    assert "\n" not in reply.error.reason


def test_a_round_that_was_opened_is_not_begun_again(device):
    """Two sums of the same round, over other people, would differ by single updates."""
    device.deal()
    device.train()
    assert device.reveal("a", "b", "s0").has_content()
    assert "round 1 again, this device opened 1 already" in device.open().error.reason
    assert device.open(2, "cd" * 16).has_content()


def test_a_round_that_came_to_nothing_can_be_begun_again(device):
    """With other keys; what was kept of the first is gone."""
    first = Keys.from_record(device.open().content)
    second = Keys.from_record(device.open(session_id="cd" * 16).content)
    assert first.keys != second.keys


@pytest.mark.parametrize(
    ("session", "reason"),
    [
        ({"asked": 2, "threshold": 2}, "session: found 2 people, expected at least 3"),
        ({"asked": 9, "threshold": 4}, "threshold: found 4 of 9 people, expected 5 to 9"),
    ],
)
def test_rounds_that_hide_nobody_are_refused(device, session, reason):
    content = Opening(Session(ID, 1, 3, 3)).to_record()
    facts = f'{{"session_id": "{ID}", "round": 1, "asked": {session["asked"]}, "threshold": {session["threshold"]}}}'
    content["message"]["facts"] = facts
    assert reason in device.ask(content, KEYS).error.reason


def test_who_does_not_train_takes_no_part(device):
    assert "only joins at the end" in device.open(number=4).error.reason


def test_a_device_that_demands_masks_refuses_plain_tasks(dataset, tmp_path):
    """And takes masked ones; it introduces itself without its number of windows."""
    device = Device(dataset, tmp_path, masked_only=True)
    reply = device.ask(device.task().to_record(), MessageType.TRAIN)
    assert "s0: asked to train in the open, this device demands" in reply.error.reason
    device.deal()
    assert device.train().has_content()


def test_a_demand_is_kept_in_the_nodes_file(dataset, tmp_path):
    node = replace(make_nodes(dataset, tmp_path)[0], masked_only=True)
    make_grid(tmp_path, [node])
    assert NodeSpec.read(tmp_path / "nodes" / "node-0000.json") == node


def test_secrets_are_in_no_answer(device):
    """Neither private key nor seed; looked for as bytes and as digits."""
    replies = [device.open()]
    kept = device.grid._contexts[1000].state
    replies.append(device.deal())
    state = str(kept["secure"]["participant"])
    secrets = [state.split(f'"{name}": "')[1][:64] for name in ("mask_key", "share_key", "seed")]
    replies += [device.train(), device.reveal("a", "b", "s0")]
    for reply in replies:
        told = str(reply.content).encode() + b"".join(_bytes_in(reply.content))
        assert all(s.encode() not in told and bytes.fromhex(s) not in told for s in secrets)
    assert dict(kept["secure"]) == {"opened": 1}


def _bytes_in(content):
    for record in content.array_records.values():
        yield from (np.ascontiguousarray(array.numpy()).tobytes() for array in record.values())
    for record in content.config_records.values():
        yield from (value for value in record.values() if isinstance(value, bytes))
