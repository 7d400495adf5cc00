"""The in-process engine: every node gets a message of its own, and every fault is that node's reply."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from simulations.engine import CLIENT_APP_RAISED, InProcessGrid, run_in_process


def app_that(answer):
    """A ClientApp whose answer to a training message is `answer(message, context)`, a RecordDict."""
    app = ClientApp()

    @app.train()
    def train(message, context):
        return Message(answer(message, context), reply_to=message)

    return app


def asked(grid, content, nodes=None):
    nodes = grid.get_node_ids() if nodes is None else nodes
    return [grid.create_message(content, "train", node, "1") for node in nodes]


def weights(*values):
    return RecordDict({"weights": ArrayRecord([np.array(values, np.float32)])})


def test_records_are_private_to_the_node_that_got_them():
    """Flower's mods add to the records of a message, and strategies send one record to everybody."""
    arrived = []

    def spoil(message, context):
        arrived.append((sorted(message.content), dict(message.content["settings"])))
        message.content["settings"]["rounds"] = 99
        message.content["left"] = ConfigRecord({"behind": 1})
        del message.content["weights"]
        return RecordDict()

    grid = InProcessGrid(app_that(spoil), 3, {})
    content = weights(1, 2)
    content["settings"] = ConfigRecord({"rounds": 2})
    grid.send_and_receive(asked(grid, content))
    assert arrived == [(["settings", "weights"], {"rounds": 2})] * 3
    assert sorted(content) == ["settings", "weights"]
    assert content["settings"]["rounds"] == 2


def test_nodes_have_ids_and_partitions_of_their_own():
    seen = []

    def note(message, context):
        seen.append((context.node_id, context.node_config["partition-id"], context.run_config["plan"]))
        assert context.node_config["num-partitions"] == 3
        assert message.metadata.dst_node_id == context.node_id
        return RecordDict()

    grid = InProcessGrid(app_that(note), 3, {"plan": "here"})
    replies = list(grid.send_and_receive(asked(grid, RecordDict())))
    assert len(set(grid.get_node_ids())) == 3
    assert seen == [(node, k, "here") for k, node in enumerate(grid.get_node_ids())]
    assert [reply.metadata.src_node_id for reply in replies] == list(grid.get_node_ids())


def test_a_nodes_context_lasts_from_message_to_message():
    def count(message, context):
        before = context.state["seen"]["times"] if "seen" in context.state else 0
        context.state["seen"] = ConfigRecord({"times": before + 1})
        return RecordDict({"seen": ConfigRecord({"times": before + 1})})

    grid = InProcessGrid(app_that(count), 2, {})
    first, second = grid.get_node_ids()
    for node in (first, first, second):
        (reply,) = grid.send_and_receive(asked(grid, RecordDict(), [node]))
    assert reply.content["seen"]["times"] == 1
    (reply,) = grid.send_and_receive(asked(grid, RecordDict(), [first]))
    assert reply.content["seen"]["times"] == 3


def test_an_exception_is_that_nodes_reply_and_the_others_go_on():
    def fail_second(message, context):
        if context.node_config["partition-id"] == 1:
            raise ZeroDivisionError("no samples")
        return weights(context.node_config["partition-id"])

    grid = InProcessGrid(app_that(fail_second), 3, {})
    replies = list(grid.send_and_receive(asked(grid, RecordDict())))
    assert [reply.has_error() for reply in replies] == [False, True, False]
    assert replies[1].error.code == CLIENT_APP_RAISED
    assert replies[1].error.reason == "ZeroDivisionError: no samples"
    assert replies[1].metadata.src_node_id == grid.get_node_ids()[1]


def test_a_message_that_no_handler_takes_is_an_error_reply():
    grid = InProcessGrid(ClientApp(), 1, {})
    (reply,) = grid.send_and_receive(asked(grid, RecordDict()))
    assert reply.has_error()


def test_a_stop_is_no_reply():
    """Ctrl-C ends the run; only what a client raises is answered for it."""

    def stop(message, context):
        raise KeyboardInterrupt

    grid = InProcessGrid(app_that(stop), 1, {})
    with pytest.raises(KeyboardInterrupt):
        grid.send_and_receive(asked(grid, RecordDict()))


def test_replies_belong_to_their_messages_and_are_handed_out_once():
    grid = InProcessGrid(app_that(lambda _, c: weights(c.node_config["partition-id"])), 3, {})
    messages = asked(grid, RecordDict())
    ids = list(grid.push_messages(messages))
    assert len(set(ids)) == 3
    (last,) = grid.pull_messages(ids[2:])
    assert last.content["weights"].to_numpy_ndarrays()[0] == 2
    assert last.metadata.reply_to_message_id == ids[2]
    assert [reply.metadata.reply_to_message_id for reply in grid.pull_messages(ids)] == ids[:2]
    assert list(grid.pull_messages(ids)) == []


def test_an_app_runs_as_on_flowers_engines():
    """A ServerApp written for Flower's engines finds its nodes, its run config and its replies."""
    server_app, sums = ServerApp(), []

    @server_app.main()
    def main(grid, context):
        replies = grid.send_and_receive(asked(grid, weights(context.run_config["number"])), timeout=1)
        sums.append(sum(float(reply.content["weights"].to_numpy_ndarrays()[0][0]) for reply in replies))

    double = app_that(lambda m, _: weights(2 * m.content["weights"].to_numpy_ndarrays()[0][0]))
    run_in_process(server_app, double, 4, {"number": 3})
    assert sums == [24]
