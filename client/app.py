"""The Flower ClientApp: distil on one's own recordings and on the pack; personalise; never send a sample."""

from __future__ import annotations

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from client.answers import one_line_errors
from client.join.conditions import when_allowed
from client.join.journalled import journalled
from client.node import NodeSpec, load_shard
from client.packs import offered, pack_store
from client.secure import check_demand, deal_shares, masked_update, open_round, reveal_shares
from client.trainer import trainer
from distillation.prepare import window_spec
from distillation.spec import SignalSpec
from protocols.pack_records import shards_from_record
from protocols.records import Hello, Introduction, Task
from protocols.secure_records import asks_for_mask

app = ClientApp(mods=[journalled, one_line_errors, when_allowed])


@app.query()
def introduce(message: Message, context: Context) -> Message:
    """Say whose device this is, what it has recordings for, and which shards of the pack it lacks."""
    node = NodeSpec.from_context(context)
    node.limits.check_hello(message.content)
    hello = Hello.from_record(message.content)
    signal = SignalSpec.from_json(hello.signal)
    node.limits.check_signal(signal)
    train = load_shard(node, signal).train
    num_examples = 0 if train is None else len(train.window_set(window_spec(signal)))
    if hello.private or node.local_noise or node.masked_only:
        num_examples = min(1, num_examples)
    missing = () if hello.pack is None or train is None else offered(node, hello.pack, signal)
    introduction = Introduction(node.known_as, node.roles, num_examples, missing)
    return Message(introduction.to_record(), reply_to=message)


@app.query("shards")
def keep_shards(message: Message, context: Context) -> Message:
    """Keep the shards that the server sent; the answer says whose store has them now."""
    node = NodeSpec.from_context(context)
    node.limits.check_shards(message.content)
    store = pack_store(node)
    for shard in shards_from_record(message.content):
        store.add_shard(shard)
    return Message(Introduction(node.known_as, node.roles, 0).to_record(), reply_to=message)


@app.query("secure_keys")
def begin_secure_round(message: Message, context: Context) -> Message:
    """Secure aggregation, step 1: fresh public keys."""
    keys = open_round(NodeSpec.from_context(context), message.content, context.state)
    return Message(keys.to_record(), reply_to=message)


@app.query("secure_shares")
def share_secrets(message: Message, context: Context) -> Message:
    """Step 2: shares of this device's secrets, sealed for each other. Step 3 is `train`."""
    shares = deal_shares(NodeSpec.from_context(context), message.content, context.state)
    return Message(shares.to_record(), reply_to=message)


@app.query("secure_reveal")
def open_sum(message: Message, context: Context) -> Message:
    """Step 4: the shares that open the sum."""
    shares = reveal_shares(NodeSpec.from_context(context), message.content, context.state)
    return Message(shares.to_record(), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """One round: distil on one's own labelled windows and on the pack; answer with the new weights."""
    node = NodeSpec.from_context(context)
    node.limits.check_size(message.content)
    if asks_for_mask(message.content):
        return Message(masked_update(node, message.content, context.state).to_record(), reply_to=message)
    check_demand(node)
    update = trainer().train(node, Task.from_record(message.content, "train"))
    return Message(update.to_record(), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Classify one's own test windows with the shared student and, if asked, with a personalised one."""
    node = NodeSpec.from_context(context)
    node.limits.check_size(message.content)
    evaluation = trainer().evaluate(node, Task.from_record(message.content, "evaluate"))
    return Message(evaluation.to_record(), reply_to=message)
