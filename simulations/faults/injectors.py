"""The faults: what is broken, at which moment, and how it is put right where somebody would have to."""

from __future__ import annotations

import os
import resource
import signal
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from protocols.errors import LinkError
from simulations.faults.network import CUT, FINE, STALLED, Weather
from simulations.working_in import processes_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from simulations.deployed import Client
    from simulations.faults.stage import Stage

TINY_FILE_BYTES = 64  # the largest file on a disk that is as good as full


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to break a federation.

    Attributes:
        name: short.
        what: what is done, in words.
        inject: waits for the moment, does it, and puts right what does not come back by itself; what it hit.
    """

    name: str
    what: str
    inject: Callable[[Stage], dict[str, Any]]


def client_loses_power(stage: Stage) -> dict[str, Any]:
    """Everything of a client ends while it trains; it is started again a few seconds later."""
    client, number = stage.someone(), stage.some_round()
    stage.wait_for_task(client, number)
    stage.strikes()
    client.kill9()
    stage.pause(1.0, 5.0)
    client.start()
    return {"client": client.name, "round": number}


def client_is_killed(stage: Stage) -> dict[str, Any]:
    """`myofed join` alone is killed while its ClientApp trains; it is started again."""
    client, number = stage.someone(), stage.some_round()
    stage.wait_for_task(client, number)
    stage.strikes()
    client.kill9(everything=False)
    stage.pause(1.0, 5.0)
    client.start()
    return {"client": client.name, "round": number}


def supernode_is_killed(stage: Stage) -> dict[str, Any]:
    """The SuperNode is killed while its ClientApp trains; `myofed join` starts it again."""
    client, number = stage.someone(), stage.some_round()
    stage.wait_for_task(client, number)
    pid = stage.wait_for(lambda: client.pids()["supernode"], f"the SuperNode of {client.name}")
    stage.strikes()
    kill(pid)
    return {"client": client.name, "round": number}


def clientapp_is_killed(stage: Stage) -> dict[str, Any]:
    """The process that trains is killed, as by a machine without memory."""
    client, number = stage.someone(), stage.some_round()
    pid = stage.wait_for_task(client, number)
    stage.strikes()
    kill(pid)
    return {"client": client.name, "round": number}


def downloading_client_is_killed(stage: Stage) -> dict[str, Any]:
    """`myofed join` is killed while the pack is on its way to it; it is started again."""
    client = stage.someone()
    share = stage.wait_for_download(client)
    stage.strikes()
    client.kill9(everything=False)
    return _back_after_download(stage, client, share)


def downloading_client_loses_power(stage: Stage) -> dict[str, Any]:
    """Everything of a client ends while the pack is on its way to it; it is started again."""
    client = stage.someone()
    share = stage.wait_for_download(client)
    stage.strikes()
    client.kill9()
    return _back_after_download(stage, client, share)


def _back_after_download(stage: Stage, client: Client, share: float) -> dict[str, Any]:
    stage.networks[client.name].becomes(FINE)
    stage.pause(1.0, 5.0)
    client.start()
    return {"client": client.name, "share": round(share, 2)}


def serverapp_is_killed(stage: Stage) -> dict[str, Any]:
    """The ServerApp is killed in a round; `myofed serve` submits the plan again."""
    return _server_part(stage, "serverapp")


def superlink_is_killed(stage: Stage) -> dict[str, Any]:
    """The SuperLink is killed in a round; `myofed serve` starts it again."""
    return _server_part(stage, "superlink")


def proxy_is_killed(stage: Stage) -> dict[str, Any]:
    """The proxy is killed in a round; `myofed serve` starts it again."""
    return _server_part(stage, "proxy")


def server_is_killed(stage: Stage) -> dict[str, Any]:
    """`myofed serve` is killed in a round; `serve --resume` is typed a few seconds later."""
    number = stage.some_round()
    stage.wait_in_round(number)
    stage.strikes()
    stage.here.kill9_server()
    stage.pause(1.0, 5.0)
    stage.here.resume()
    return {"round": number}


def server_loses_power(stage: Stage) -> dict[str, Any]:
    """Everything of the server ends in a round; `serve --resume` is typed a few seconds later."""
    number = stage.some_round()
    stage.wait_in_round(number)
    stage.strikes()
    stage.here.kill9_server(everything=True)
    stage.pause(1.0, 5.0)
    stage.here.resume()
    return {"round": number}


def server_disk_is_full(stage: Stage) -> dict[str, Any]:
    """The ServerApp can write no more from a moment on; whoever takes over can."""
    number = stage.some_round()
    stage.wait_in_round(number)
    pid = stage.wait_for(lambda: stage.here.pid_of("serverapp"), "the ServerApp")
    stage.strikes()
    with suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (TINY_FILE_BYTES, resource.RLIM_INFINITY))
    return {"round": number}


def client_disk_is_full(stage: Stage) -> dict[str, Any]:
    """A client's tasks can write no more for a round: no journal, and so no answer."""
    client, number = stage.someone(), stage.some_round()
    stage.wait_in_round(number)
    stage.strikes()
    with _full_disk(client):
        stage.wait_for(
            lambda: any(e["round"] > number for e in stage.here.events("asked")), f"end of round {number}"
        )
    return {"client": client.name, "round": number}


def _bad_weather(weather: Weather, least_s: float, most_s: float) -> Callable[[Stage], dict[str, Any]]:
    def inject(stage: Stage) -> dict[str, Any]:
        client, number = stage.someone(), stage.some_round()
        stage.wait_in_round(number)
        network = stage.networks[client.name]
        stage.strikes()
        network.becomes(weather)
        seconds = stage.pause(least_s, most_s)
        network.becomes(FINE)
        return {"client": client.name, "round": number, "lasted_s": round(seconds, 1)}

    return inject


FAULTS = (
    Fault(
        "client-power", "a client loses power while it trains, and is switched on again", client_loses_power
    ),
    Fault("client-kill", "kill -9 of `myofed join` while it trains; started again", client_is_killed),
    Fault("supernode-kill", "kill -9 of a SuperNode while it trains", supernode_is_killed),
    Fault("clientapp-kill", "kill -9 of the process that trains", clientapp_is_killed),
    Fault(
        "download-kill", "kill -9 of `myofed join` while the pack is on its way", downloading_client_is_killed
    ),
    Fault(
        "download-power", "a client loses power while the pack is on its way", downloading_client_loses_power
    ),
    Fault("serverapp-kill", "kill -9 of the ServerApp in a round", serverapp_is_killed),
    Fault("superlink-kill", "kill -9 of the SuperLink in a round", superlink_is_killed),
    Fault("proxy-kill", "kill -9 of the proxy in a round", proxy_is_killed),
    Fault("server-kill", "kill -9 of `myofed serve` in a round; `serve --resume`", server_is_killed),
    Fault("server-power", "the server loses power in a round; `serve --resume`", server_loses_power),
    Fault("server-disk", "the ServerApp's disk is full from a moment on", server_disk_is_full),
    Fault("client-disk", "a client's disk is full for a round", client_disk_is_full),
    Fault("cut", "no network for 5 to 20 s, connections reset", _bad_weather(CUT, 5, 20)),
    Fault("stall", "connections silent for 5 to 20 s", _bad_weather(STALLED, 5, 20)),
    Fault(
        "drops", "one chunk in ten ends its connection, for 20 s", _bad_weather(Weather(drops=0.1), 20, 20)
    ),
    Fault("throttle", "20 kB/s for 20 s", _bad_weather(Weather(bytes_per_s=20_000), 20, 20)),
    Fault(
        "reorder",
        "connections overtake each other and are repeated, for 20 s",
        _bad_weather(Weather(lag_s=3.0, repeats=True), 20, 20),
    ),
    Fault("flips", "one chunk in ten has a wrong bit, for 20 s", _bad_weather(Weather(flips=0.1), 20, 20)),
)


def fault_named(name: str) -> Fault:
    """The fault of that name; KeyError if there is none."""
    return {fault.name: fault for fault in FAULTS}[name]


def kill(pid: int) -> None:
    """Kill -9; whoever ended a moment ago needs none."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _server_part(stage: Stage, part: str) -> dict[str, Any]:
    number = stage.some_round()
    stage.wait_in_round(number)
    pid = stage.wait_for(lambda: stage.here.pid_of(part), f"the server's {part}")
    stage.strikes()
    kill(pid)
    return {"round": number}


@contextmanager
def _full_disk(client: Client) -> Iterator[None]:
    """Whatever starts a client's tasks may write no longer file, and so they may not either."""
    starters = [pid for pid, words in processes_in(client.store).items() if "flower-superexec" in words]
    if not starters:
        raise LinkError(f"{client.name}: nothing there that starts tasks")
    _limit_files(starters, TINY_FILE_BYTES)
    try:
        yield
    finally:
        _limit_files(starters, resource.RLIM_INFINITY)


def _limit_files(pids: list[int], num_bytes: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (num_bytes, resource.RLIM_INFINITY))
