"""The whole way on this machine: emulated boards, broker, recorder, federation, live gestures.

`make board-demo` runs it. Every step is the command that a person with real boards would type, and is printed; the
boards are the firmware's own code, worn by synthetic people. Passwords go through the environment.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from device.broker import GATEWAY, free_port, running, write_broker
from protocols.errors import ConfigError, LinkError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from device.broker import BrokerFolder

# Who wears which board; they record three repetitions, and are asked for two others at the end.
WEARERS = {"ada": "syn000", "ben": "syn001", "cleo": "syn002"}
RECORDED, LIVE = "0,1,2", "3,4"
MYOFED = str(Path(sys.executable).with_name("myofed"))


@dataclass(frozen=True, slots=True)
class Demo:
    """Where the demonstration keeps what it makes, and through which broker.

    Attributes:
        folder: recordings and run records.
        broker: running Mosquitto.
        speed: how many times faster than life the recording goes.
        live_speed: the same for the live gestures.
    """

    folder: Path
    broker: BrokerFolder
    speed: float
    live_speed: float

    def url(self, board: str, user: str) -> str:
        """The board's link, without the password."""
        return f"{self.broker.place('127.0.0.1').replace('://', f'://{user}@')}/{board}"

    def environment(self, user: str) -> dict[str, str]:
        """This process's environment with the password of `user`."""
        secrets = {"MYOFED_MQTT_PASSWORD": self.broker.passwords[user]}
        return os.environ | secrets

    @contextmanager
    def board(self, name: str, repetitions: str, speed: float) -> Iterator[None]:
        """An emulated board on the broker, worn by its person, while the block lasts."""
        command = ["board", "emulate", "--mqtt", self.url(name, name), "--data", "synthetic"]
        command += ["--subject", WEARERS[name], "--repetitions", repetitions, "--speed", f"{speed:g}"]
        show(command)
        process = subprocess.Popen(  # noqa: S603
            [MYOFED, *command, "--json"], env=self.environment(name), stdout=subprocess.DEVNULL
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()

    def start(self, *command: str) -> subprocess.Popen[str]:
        """One of the gateway's commands, running; its result is JSON on stdout."""
        show(command)
        return subprocess.Popen(  # noqa: S603
            [MYOFED, *command, "--json"],
            env=self.environment(GATEWAY),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if "record" in command else None,  # three at once would be unreadable
            text=True,
        )


def show(command: list[str] | tuple[str, ...]) -> None:
    """Print a command as a person would type it."""
    sys.stderr.write(f"$ myofed {shlex.join(command)}\n")


def result_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The JSON object that a command printed; LinkError where it failed."""
    try:
        out, err = process.communicate()
    finally:
        stop(process)
    if process.returncode:
        said = (err or "see above").strip().splitlines()[-1]
        raise LinkError(f"board demo: a command ended with code {process.returncode}: {said}")
    found: dict[str, Any] = json.loads(out)
    return found


def stop(process: subprocess.Popen[str]) -> None:
    """End a command that still runs, as Ctrl-C would."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        process.wait()


def record(demo: Demo) -> dict[str, dict[str, Any]]:
    """Everybody records all gestures, at the same time, each through the broker."""
    with ExitStack() as boards:
        for name in WEARERS:
            boards.enter_context(demo.board(name, RECORDED, demo.speed))
        sys.stderr.write(f"Three people record at once, {demo.speed:g} times as fast as life …\n")
        started = {name: demo.start(*record_command(demo, name)) for name in WEARERS}
        for process in started.values():
            boards.callback(stop, process)  # where another one fails
        return {name: result_of(process) for name, process in started.items()}


def record_command(demo: Demo, name: str) -> list[str]:
    """What a person types to record."""
    into = ["--out", str(demo.folder / "recordings"), "--subject", name]
    return ["board", "record", demo.url(name, GATEWAY), *into, "--repetitions", "3"]


def learn(demo: Demo) -> tuple[dict[str, Any], Path]:
    """A federation of the three on what they recorded; its result, and Ada's own student."""
    data = ["--data", str(demo.folder / "recordings"), "--run-dir", str(demo.folder / "runs")]
    method = ["--method", "federated_distilled"]
    result = result_of(demo.start("simulate", "board-demo", *data, *method))
    (student,) = (demo.folder / "runs").glob("*/stores/**/federated_distilled/ada/student.safetensors")
    return result, student


def perform(demo: Demo, student: Path) -> dict[str, Any]:
    """Ada performs every gesture twice, as asked, and her student says which it was."""
    with demo.board("ada", LIVE, demo.live_speed):
        live = ["board", "live", demo.url("ada", GATEWAY), "--student", str(student), "--check", "2"]
        return result_of(demo.start(*live))


def board_demo(folder: Path, *, speed: float, live_speed: float) -> dict[str, Any]:
    """Run the whole way; LinkError where a step fails."""
    boards = write_broker(folder / "broker", list(WEARERS), port=free_port(), tls=False)
    with running(boards):
        demo = Demo(folder, boards, speed, live_speed)
        recorded = record(demo)
        trained, student = learn(demo)
        live = perform(demo, student)
    return {
        "recordings": {name: found["file"] for name, found in recorded.items()},
        "lost_samples": sum(found["link"]["lost_samples"] for found in recorded.values()),
        "trained": trained,
        "student": str(student),
        "live": live,
    }


def demo_text(result: dict[str, Any]) -> str:
    """What came out, in four lines."""
    live = result["live"]
    latency = live["latency_ms"]
    return "\n".join(
        (
            f"Recorded: {len(result['recordings'])} people over MQTT, {result['lost_samples']} samples lost.",
            f"Student: {result['student']}",
            (
                f"Live gestures: in {live['check']['prompts']} prompts {100 * live['check']['accuracy']:.1f} % of the "
                f"10-ms hops were right (repetitions {LIVE}, which nobody had recorded)."
            ),
            f"From sample to gesture: {latency['p50']:.0f} ms in half of the cases, {latency['p99']:.0f} ms in 99 %.",
        )
    )


def main() -> None:
    """Run the demonstration and print its result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--folder", type=Path, help="where to keep what it makes; default: a new one under runs/"
    )
    parser.add_argument("--speed", type=float, default=8, help="of the recording, times life")
    parser.add_argument("--live-speed", type=float, default=1, help="of the live gestures, times life")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what was started, as Ctrl-C does
    Path("runs").mkdir(exist_ok=True)
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="board-demo-", dir="runs"))
    try:
        result = board_demo(folder, speed=asked.speed, live_speed=asked.live_speed)
    except (ConfigError, LinkError) as error:
        sys.exit(f"board demo: {error}")
    except KeyboardInterrupt:
        sys.exit("board demo: stopped")
    print(json.dumps(result) if asked.json else demo_text(result))


if __name__ == "__main__":
    main()
