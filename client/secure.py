"""This device in a secure round: what it keeps between the questions, and what it refuses to answer.

Between two messages a SuperNode keeps a context in memory, for as long as a run takes; the ClientApp is a new process
each time. The secrets of a round live there and on no disk: a device that was switched off has forgotten them, and is
out of that round.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from flwr.app import ConfigRecord

from client.trainer import trainer
from distillation.privacy import PrivacySpec
from distillation.secure_sum import Layout, SecureSpec, encoded
from protocols.errors import ConfigError, MessageError
from protocols.records import Task, check_bytes
from protocols.secure.participant import Participant
from protocols.secure.session import PublicKeys, Session
from protocols.secure_records import Dealing, Keys, MaskedUpdate, Masking, Opening, Revealing, Shares

if TYPE_CHECKING:
    from flwr.app import RecordDict

    from client.node import NodeSpec

MAX_QUESTION_BYTES = 4 << 20  # everybody's keys and names, of a few thousand people
STATE = "secure"  # the record's name in Flower's context


def open_round(node: NodeSpec, content: RecordDict, state: RecordDict) -> Keys:
    """Fresh keys; what was kept of an earlier round is forgotten.

    Raises:
        MessageError: a round that was opened to the end already, or one that would hide nobody.
    """
    check_bytes(content, MAX_QUESTION_BYTES)
    session = Opening.from_record(content).session
    if session.round <= (opened := _last_opened(state)):
        raise MessageError(f"secure round: round {session.round} again, this device opened {opened} already")
    if node.train is None:
        raise MessageError(f"secure round: {node.subject} only joins at the end")
    participant = Participant.opening(session, node.known_as)
    _keep(state, participant)
    return Keys(node.known_as, session.session_id, participant.public_keys)


def deal_shares(node: NodeSpec, content: RecordDict, state: RecordDict) -> Shares:
    """Shares of this device's two secrets for everybody on the roster, sealed."""
    check_bytes(content, MAX_QUESTION_BYTES)
    question = Dealing.from_record(content)
    participant, shares = _kept(state).deal(question.session_id, question.roster)
    _keep(state, participant)
    return Shares(node.known_as, question.session_id, shares)


def masked_update(node: NodeSpec, content: RecordDict, state: RecordDict) -> MaskedUpdate:
    """Train, and answer with what changed under masks.

    The masks' secrets are forgotten before training begins: whatever happens in it, nothing else ever leaves under
    the same masks.

    Raises:
        ConfigError: the settings are none, or less than this device demands.
        MessageError: not the question whose turn it is.
    """
    masking, task = Masking.from_record(content), Task.from_record(content, "train")
    spec, privacy = SecureSpec.from_json(masking.settings), PrivacySpec.from_json(task.privacy)
    participant = _kept(state).take(masking.session_id, masking.shares)
    session = participant.session
    if not spec.active or session.threshold != spec.needed(session.asked) or task.round != session.round:
        raise MessageError(
            f"secure round: round {task.round} with {masking.settings}, this device opened {session}"
        )
    _keep(state, participant.after_masking())
    update = trainer().train(node, task)
    layout = Layout.of(spec, privacy, task.weights, session.asked)
    vector = encoded(update.weights, update.num_examples, update.metrics, layout)
    return MaskedUpdate(
        subject=update.subject,
        session_id=masking.session_id,
        round=update.round,
        trained_on=update.trained_on,
        seconds=update.metrics["seconds"],
        vector=participant.mask(vector),
    )


def reveal_shares(node: NodeSpec, content: RecordDict, state: RecordDict) -> Shares:
    """One share of everybody's secrets; then this device has forgotten the round."""
    check_bytes(content, MAX_QUESTION_BYTES)
    question = Revealing.from_record(content)
    participant = _kept(state)
    shares = participant.reveal(question.session_id, question.answered)
    state[STATE] = ConfigRecord({"opened": participant.session.round})
    return Shares(node.known_as, question.session_id, shares)


def check_demand(node: NodeSpec) -> None:
    """ConfigError where a device that wants its update masked is asked for it in the open."""
    if node.masked_only:
        raise ConfigError(
            f"{node.subject}: asked to train in the open, this device demands federation.secure_aggregation"
        )


def _keep(state: RecordDict, participant: Participant) -> None:
    facts = asdict(participant) | {"roster": {s: asdict(keys) for s, keys in participant.roster.items()}}
    state[STATE] = ConfigRecord(
        {"opened": _last_opened(state), "participant": json.dumps(facts, default=bytes.hex)}
    )


def _kept(state: RecordDict) -> Participant:
    """What this device kept of the round that it is in; MessageError if it is in none."""
    record = state.config_records.get(STATE, ConfigRecord())
    if "participant" not in record:
        raise MessageError("secure round: this device is in none, or was restarted since it began")
    facts = json.loads(str(record["participant"]))
    secrets = {name: bytes.fromhex(facts[name]) for name in ("mask_key", "share_key", "seed")}
    roster = {
        subject: PublicKeys(bytes.fromhex(keys["mask"]), bytes.fromhex(keys["share"]))
        for subject, keys in facts["roster"].items()
    }
    shares = {subject: bytes.fromhex(share) for subject, share in facts["shares"].items()}
    session = Session(**facts["session"])
    return Participant(**facts | secrets | {"session": session, "roster": roster, "shares": shares})


def _last_opened(state: RecordDict) -> int:
    """The last round of this run whose shares this device gave away; 0: none."""
    record = state.config_records.get(STATE, ConfigRecord())
    return int(str(record.get("opened", 0)))
