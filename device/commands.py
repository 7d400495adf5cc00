"""`myofed board …`: one sub-command per job, each a few lines that call one module of this room."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

board_app = typer.Typer(no_args_is_help=True, help="Attach a board, or an emulated one: look, record, live.")

Url = Annotated[
    str,
    typer.Argument(
        metavar="URL", help="serial://PORT, mqtt(s)://HOST/BOARD, replay://FILE_OR_SET, synthetic://"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout; logs go to stderr.")]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder of datasets; default $MYOFED_DATA, else ../shared/data."),
]


def report(result: Mapping[str, Any], text: Callable[[Mapping[str, Any]], str], *, as_json: bool) -> None:
    """Print a job's result: as one JSON object, or as the text that `text` makes of it."""
    sys.stdout.write((json.dumps(result) if as_json else text(result)) + "\n")


@board_app.command()
def broker(
    folder: Annotated[Path, typer.Argument(help="Its configuration and passwords; made if it is not there.")],
    *,
    boards: Annotated[
        str,
        typer.Option(
            help="Board ids, with commas: each gets a password and its own topics; no others come in."
        ),
    ],
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Default: 8883; with --plain 1883.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for boards on your Wi-Fi.")
    ] = "127.0.0.1",
    plain: Annotated[
        bool, typer.Option("--plain", help="Without TLS, for programs of this machine.")
    ] = False,
) -> None:
    """Set up a Mosquitto broker with TLS, a password and rights for each board, and run it until Ctrl-C."""
    from device.broker import serve_forever, write_broker
    from device.broker.gateway import split_boards

    written = write_broker(folder, split_boards(boards), port=port, host=host, tls=not plain)
    serve_forever(written, sys.stderr.write)


@board_app.command()
def emulate(
    link: Annotated[
        Path | None, typer.Argument(metavar="[LINK]", help="With --serial: a name for the port's path.")
    ] = None,
    *,
    serial: Annotated[bool, typer.Option("--serial", help="Speak over a pseudo-terminal.")] = False,
    mqtt: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="mqtt(s)://USER:PASSWORD@HOST:PORT/BOARD, or $MYOFED_MQTT_PASSWORD."
        ),
    ] = None,
    data: Annotated[
        str,
        typer.Option(metavar="NAME_OR_FOLDER", help="Who wears it: a dataset, an HDF5 recording, synthetic."),
    ] = "synthetic",
    subject: Annotated[str | None, typer.Option(help="The person; default: the first.")] = None,
    repetitions: Annotated[
        str | None, typer.Option(help="Repetitions that are performed, 0,1,…; default: all.")
    ] = None,
    rest: Annotated[
        str | None, typer.Option(help="The gesture between prompts; default: the set's rest.")
    ] = None,
    board_id: Annotated[str | None, typer.Option(help="Default: as in --mqtt, else `emulated`.")] = None,
    speed: Annotated[float, typer.Option(help="Times faster than life.")] = 1.0,
    frame_ms: Annotated[float, typer.Option(help="Length of a frame.")] = 20.0,
    faults: Annotated[
        str,
        typer.Option(help="loss=0.01,flip=1e-5,repeat=…,late=…,reset=30,drift=200,jump=5@20,stall=2@10,…"),
    ] = "",
    seed: Annotated[int, typer.Option(min=0, help="Of faults, reactions and synthetic people.")] = 0,
    seconds: Annotated[float | None, typer.Option(help="How long; default: until Ctrl-C.")] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Run the firmware's own code here, fed by recordings, on a pseudo-terminal or a broker."""
    from device.emulator.emulate import EmulateJob, emulate_text, parse_repetitions, run_emulate

    job = EmulateJob(
        data=data,
        serial=serial,
        link=link,
        mqtt=mqtt,
        subject=subject,
        repetitions=parse_repetitions(repetitions),
        rest=rest,
        board_id=board_id,
        speed=speed,
        frame_ms=frame_ms,
        faults=faults,
        seed=seed,
        seconds=seconds,
        data_dir=data_dir,
    )
    report(run_emulate(job), emulate_text, as_json=as_json)


@board_app.command("list")
def list_(
    *,
    broker: Annotated[str, typer.Option(metavar="mqtt(s)://[USER[:PASSWORD]@]HOST[:PORT]")] = "",
    port: Annotated[
        list[str] | None,
        typer.Option(help="A serial port to ask, or socket://HOST:PORT; repeatable; default: all."),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, max=60, help="Seconds to wait for a hello.")] = 2.0,
    as_json: Json = False,
) -> None:
    """The boards at this machine's serial ports and, with --broker, at an MQTT broker."""
    from device.links.discovery import ListJob, list_text, run_list

    job = ListJob(broker=broker, ports=tuple(port or ()), timeout_s=timeout)
    report(run_list(job), list_text, as_json=as_json)


@board_app.command()
def info(
    url: Url,
    *,
    seconds: Annotated[float, typer.Option(help="How long to listen; the rate needs 5.")] = 5.0,
    mains: Annotated[str, typer.Option(help="Mains frequency: 50, 60 or auto.")] = "auto",
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Who a board is, how its link does, and which electrodes touch the skin (channels count from 1)."""
    from device.inspect import InfoJob, check_info, info_text, run_info

    result = run_info(InfoJob(url=url, seconds=seconds, mains=mains, data_dir=data_dir))
    report(result, info_text, as_json=as_json)
    check_info(result)


@board_app.command()
def live(
    url: Url,
    *,
    student: Annotated[Path, typer.Option(help="A student's file (.safetensors).")],
    recordings: Annotated[
        str | None,
        typer.Option(
            metavar="NAME_OR_FOLDER", help="Own recordings, which fit the student to you; labels unread."
        ),
    ] = None,
    subject: Annotated[str | None, typer.Option(help="Whose recordings; default: the only person's.")] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Probability that counts; default 0.5, of event students 0.35.")
    ] = None,
    debounce_ms: Annotated[float, typer.Option(help="How long a gesture has to last to count.")] = 50.0,
    publish: Annotated[
        str | None, typer.Option(metavar="mqtt(s)://[USER[:PASSWORD]@]HOST[:PORT]", help="Tell this broker.")
    ] = None,
    home_assistant: Annotated[
        bool, typer.Option("--home-assistant", help="With --publish: announce a sensor.")
    ] = False,
    donning: Annotated[Path | None, typer.Option(help="What `myofed board donning --out` wrote.")] = None,
    check: Annotated[
        int, typer.Option(min=0, help="Prompt each gesture so often, and print how often it was right.")
    ] = 0,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="How long; default: until Ctrl-C, or the check is done.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the check's order; default: any.")] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """The gestures as they are made: on the screen, at a broker, and with --check how often they are right."""
    from device.donning import read_channel_map
    from device.live.live import LiveJob, live_text, run_live

    job = LiveJob(
        url=url,
        student=student,
        recordings=recordings,
        subject=subject,
        threshold=threshold,
        debounce_s=debounce_ms / 1000,
        publish=publish,
        home_assistant=home_assistant,
        channel_map=None if donning is None else read_channel_map(donning),
        check=check,
        seconds=seconds,
        seed=seed,
        data_dir=data_dir,
    )
    report(run_live(job), live_text, as_json=as_json)


@board_app.command()
def donning(
    url: Url,
    *,
    recordings: Annotated[
        str, typer.Option(metavar="NAME_OR_FOLDER", help="The person's earlier recordings.")
    ],
    subject: Annotated[str | None, typer.Option(help="Whose recordings; default: the only person's.")] = None,
    gestures: Annotated[
        str | None, typer.Option(metavar="A,B", help="The two to hold; default: those that tell most.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where the channel map is written (.json).")] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """How far the armband is rotated since the earlier recordings, and which channels are which now."""
    from device.live.donning_check import DonningJob, donning_text, run_donning

    job = DonningJob(
        url=url, recordings=recordings, subject=subject, gestures=gestures, out=out, data_dir=data_dir
    )
    report(run_donning(job), donning_text, as_json=as_json)


@board_app.command()
def record(
    url: Url,
    *,
    out: Annotated[Path, typer.Option(help="Folder of recordings: a dataset of everybody's.")],
    subject: Annotated[str, typer.Option(help="Who; a made-up name, never a real one.")],
    gestures: Annotated[
        str | None, typer.Option(help="With commas; default: rest and seven motions of the hand.")
    ] = None,
    repetitions: Annotated[int, typer.Option(help="Of each gesture.")] = 3,
    hold: Annotated[float, typer.Option(help="Seconds that each is held; the first half is left out.")] = 3.0,
    rest: Annotated[float, typer.Option(help="Seconds to relax before each.")] = 2.0,
    session: Annotated[
        int | None, typer.Option(help="From 0; an earlier one is gone on with; default: the next.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the order; default: drawn anew.")] = None,
    donning: Annotated[
        Path | None,
        typer.Option("--donning", "--channel-map", help="File of `myofed board donning`: a rotated armband."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing: what to repeat is only reported.")] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Record prompted gestures; stopped or killed, the same command goes on."""
    from device.donning import read_channel_map
    from device.recorder.plan import DEFAULT_GESTURES, split_names
    from device.recorder.record import RecordJob, check_record, record_text, run_record

    job = RecordJob(
        url=url,
        out=out,
        subject=subject,
        gestures=DEFAULT_GESTURES if gestures is None else split_names(gestures),
        repetitions=repetitions,
        hold_s=hold,
        rest_s=rest,
        session=session,
        seed=seed,
        channel_map=None if donning is None else read_channel_map(donning),
        ask=not yes,
        data_dir=data_dir,
    )
    result = run_record(job)
    report(result, record_text, as_json=as_json)
    check_record(result)


@board_app.command()
def flash(
    folder: Annotated[
        Path, typer.Argument(metavar="BUILD_FOLDER", help="Of ESP-IDF: device/firmware/build.")
    ],
    *,
    port: Annotated[str | None, typer.Option(help="Serial port; default: the only board there.")] = None,
    baud: Annotated[int, typer.Option(help="Of the transfer.")] = 460_800,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and tell; write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Check a build of the firmware and put it onto a board, with esptool."""
    from device.flash import FlashJob, flash_text, run_flash

    job = FlashJob(folder=folder, port=port, baud=baud, dry_run=dry_run)
    report(run_flash(job), flash_text, as_json=as_json)


@board_app.command()
def configure(
    url: Url,
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]…", help="KEY=@FILE reads a file; none: show all settings."),
    ] = None,
    *,
    restart: Annotated[bool, typer.Option(help="Restart the board, so that they apply.")] = True,
    as_json: Json = False,
) -> None:
    """Show or change a board's settings: Wi-Fi, broker, channels, rate."""
    from device.configure import ConfigureJob, configure_text, run_configure

    job = ConfigureJob(url=url, settings=tuple(settings or ()), restart=restart)
    report(run_configure(job), configure_text, as_json=as_json)
