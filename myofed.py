"""The command line: one sub-command per job, each a few lines that call one room.

Every command takes `--json`: one JSON object on stdout, logs on stderr. Exit 0: the job is done;
1: it failed; 2: a wrong call or configuration.
"""

from __future__ import annotations

import ast
import json
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from client.join.command import join
from device.commands import board_app
from protocols.errors import (
    AggregationError,
    ConfigError,
    DataError,
    DivergedError,
    FrameError,
    LinkError,
    MessageError,
    VersionMismatch,
)
from server.serve.command import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager


class BoardBroker:
    """What `join --broker` runs: the client knows nothing of boards, see client/join/beside.py."""

    def running(self, folder: Path, boards: str, address: str) -> AbstractContextManager[None]:
        """A broker for boards, for as long as the block lasts."""
        from device.broker.gateway import broker_beside

        return broker_beside(folder, boards, address)

    def status(self, folder: Path) -> dict[str, Any] | None:
        """How the broker of a folder is."""
        from device.broker.gateway import broker_status

        return broker_status(folder)

    def text(self, status: Mapping[str, Any]) -> str:
        """The same in plain words."""
        from device.broker.gateway import status_text

        return status_text(status)


app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__.split("\n", 1)[0]
)
data_app = typer.Typer(
    no_args_is_help=True, help="The datasets at hand, what is wrong with one, and importing your own."
)
app.add_typer(data_app, name="data")
app.add_typer(board_app, name="board")
app.command()(serve)
app.command(context_settings={"obj": BoardBroker()})(join)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout; logs go to stderr.")]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder of datasets; default $MYOFED_DATA, else ../shared/data."),
]

LEARN = {"matplotlib", "ray", "sklearn", "tensorboard", "torch"}  # of the extra `learn`
DASHBOARD = {"fastapi", "nicegui", "prometheus_client", "starlette", "uvicorn"}  # of the extra `dashboard`
FAILED = (
    DataError,
    MessageError,
    FrameError,
    VersionMismatch,
    DivergedError,
    AggregationError,
    LinkError,
    OSError,
)


def report(result: Mapping[str, Any], text: Callable[[Mapping[str, Any]], str], *, as_json: bool) -> None:
    """Print a job's result: as one JSON object, or as the text that `text` makes of it."""
    sys.stdout.write((json.dumps(result) if as_json else text(result)) + "\n")


@app.command()
def models(
    *,
    channels: Annotated[int, typer.Option(help="Electrodes.")] = 16,
    outputs: Annotated[int, typer.Option(help="Gestures.")] = 9,
    rate: Annotated[float, typer.Option(help="Samples a second.")] = 2000,
    window: Annotated[
        int | None, typer.Option(help="Samples in a window; without it, event streams.")
    ] = None,
    as_json: Json = False,
) -> None:
    """The teacher and the students: parameters, output rate, and the device each is meant for."""
    from distillation.models import catalogue

    found = catalogue(channels=channels, outputs=outputs, sample_rate_hz=rate, window=window)
    report({"models": found}, models_text, as_json=as_json)


def models_text(result: Mapping[str, Any]) -> str:
    """One line a model."""
    lines = [f"{'name':12} {'parameters':>10}  {'output':>8}  device"]
    for model in result["models"]:
        rate_hz = model["output_rate_hz"]
        output = "a window" if rate_hz is None else f"{rate_hz:g} Hz"
        lines.append(f"{model['name']:12} {model['parameters']:>10,}  {output:>8}  {model['device']}")
    return "\n".join(lines)


@data_app.command("list")
def data_list(*, data_dir: DataDir = None, as_json: Json = False) -> None:
    """The datasets at hand: people, sessions, rates, classes, licences."""
    from distillation.data_report import list_datasets, list_text

    report(list_datasets(data_dir), list_text, as_json=as_json)


@data_app.command("check")
def data_check(
    dataset: Annotated[str, typer.Argument(metavar="NAME_OR_FOLDER")],
    *,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Everything that is wrong with a dataset: gaps, clipping, spikes, silent channels, broken files."""
    from distillation.data_report import check_dataset, check_text
    from distillation.datasets import open_dataset

    report(check_dataset(open_dataset(dataset, data_dir)), check_text, as_json=as_json)


@data_app.command("import")
def data_import(
    source: Annotated[Path, typer.Argument(metavar="CSV_OR_FOLDER")],
    *,
    rate: Annotated[float | None, typer.Option(help="Sample rate in Hz.")] = None,
    units: Annotated[str | None, typer.Option(help='Units of the signals: uV, mV, "ADC code".')] = None,
    label_column: Annotated[str | None, typer.Option(help="The column with the gesture.")] = None,
    time_column: Annotated[str | None, typer.Option(help="The column with the clock, if any.")] = None,
    time_unit: Annotated[str, typer.Option(help="Its unit: s, ms or us.")] = "s",
    subject_column: Annotated[
        str | None, typer.Option(help="The person; default: one file, one person.")
    ] = None,
    session_column: Annotated[str | None, typer.Option(help="The day or run, from 0.")] = None,
    repetition_column: Annotated[
        str | None, typer.Option(help="The repetition, from 0; default: counted.")
    ] = None,
    channels: Annotated[
        str | None, typer.Option(help="The EMG columns, with commas; default: all others.")
    ] = None,
    unlabelled: Annotated[
        list[str] | None, typer.Option(help="A label that says nothing; repeatable.")
    ] = None,
    rest: Annotated[str | None, typer.Option(help="The label of rest.")] = None,
    data_license: Annotated[str, typer.Option("--license", help="The data's licence.")] = "",
    as_json: Json = False,
) -> None:
    """Say once what the columns of CSV files mean; from then on they open as a dataset."""
    from distillation.csv_import import CsvFacts, import_csv
    from distillation.data_report import import_report, import_text

    facts = CsvFacts(
        rate_hz=rate if rate is not None else asked("--rate", "Sample rate in Hz", float),
        units=units if units is not None else asked("--units", "Units of the signals (uV, mV, ADC code)"),
        label_column=label_column if label_column is not None else asked("--label-column", "Label column"),
        unlabelled=tuple(unlabelled or ()),
        rest=rest,
        time_column=time_column,
        time_unit=time_unit,
        subject_column=subject_column,
        session_column=session_column,
        repetition_column=repetition_column,
        channels=None if channels is None else tuple(c.strip() for c in channels.split(",")),
        license=data_license,
    )
    report(import_report(import_csv(source, facts)), import_text, as_json=as_json)


@app.command()
def simulate(
    experiment: Annotated[
        str | None,
        typer.Argument(metavar="[EXPERIMENT.yaml]", help="A YAML file, or a ready experiment's name."),
    ] = None,
    *,
    data: Annotated[str | None, typer.Option(metavar="NAME_OR_FOLDER", help="Whose recordings.")] = None,
    data_dir: DataDir = None,
    student: Annotated[str | None, typer.Option(help="See `myofed models`.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Only this row; repeatable.")] = None,
    engine: Annotated[str | None, typer.Option(help="in-process (default) or ray.")] = None,
    clients: Annotated[int | None, typer.Option(help="How many people take part in the rounds.")] = None,
    rounds: Annotated[int | None, typer.Option(help="How many rounds.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="One repetition each; repeatable.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes at a time; default: one a core.")
    ] = None,
    run_dir: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("runs"),
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="Go on with a run: its name or folder.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Open a live page beside it, to look at in your browser.")
    ] = False,
    as_json: Json = False,
) -> None:
    """A whole federation on this machine; without arguments on synthetic people, in under two minutes."""
    from simulations.choose import Choices, choose_run
    from simulations.progress import show_progress
    from simulations.report import as_table
    from simulations.simulate import simulate as run_simulation
    from simulations.watching import live_page, need_dashboard

    if watch:
        need_dashboard()
    choices = Choices(
        experiment=experiment,
        data=data,
        data_dir=data_dir,
        student=student,
        methods=tuple(method or ()),
        engine=engine,
        clients=clients,
        rounds=rounds,
        seeds=tuple(seed or ()),
        run_dir=run_dir,
        resume=resume,
    )
    run = choose_run(choices)
    with ExitStack() as beside:
        page = beside.enter_context(live_page(run.folder.parent)) if watch else None
        if page is not None:
            sys.stderr.write(f"myofed: this run is at {page.of(run.folder.name)}\n")
        with show_progress(run) as progress:
            result = run_simulation(run, workers=workers, progress=progress)
        report(result, as_table, as_json=as_json)
        if page is not None:
            page.stay()


@app.command()
def watch(
    *,
    run_dir: Annotated[Path, typer.Option(help="A folder of runs, or one run.")] = Path("runs"),
    boards: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Your own boards, too: mqtt://HOST, serial:///dev/…; repeatable."),
    ] = None,
    status_only: Annotated[
        bool, typer.Option("--status-only", help="How boards do, never their signals.")
    ] = False,
    student: Annotated[
        Path | None, typer.Option(help="Show what this student says of the boards' signals.")
    ] = None,
    recordings: Annotated[
        str | None,
        typer.Option(
            metavar="NAME_OR_FOLDER", help="Own recordings, which give the student its levels of the signal."
        ),
    ] = None,
    data_dir: DataDir = None,
    host: Annotated[
        str, typer.Option(help="Where to listen; beyond this machine with a password.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8080,
    password_file: Annotated[
        Path | None, typer.Option(help="Who opens the page needs this password; see --set-password.")
    ] = None,
    set_password: Annotated[
        bool, typer.Option("--set-password", help="Ask for a new password, keep its hash, and end.")
    ] = False,
    as_json: Json = False,
) -> None:
    """A live page of runs and boards in your browser; it only reads, so start and stop it at any time."""
    from server.dashboard.access import default_file, write_password

    if set_password:
        path = password_file or default_file()
        write_password(new_password(), path)
        report(
            {"password_file": str(path)},
            lambda result: "{password_file} holds the password now".format(**result),
            as_json=as_json,
        )
        return
    if (student is not None or recordings is not None) and not boards:
        raise ConfigError(
            "--student and --recordings: are about boards' signals; name the boards with --boards"
        )
    from server.dashboard.watch import WatchJob, run_watch

    feed = None
    if boards:
        from device.watching.feed import open_feed

        feed = open_feed(
            boards, status_only=status_only, student=student, recordings=recordings, data_dir=data_dir
        )
    job = WatchJob(
        run_dir=run_dir,
        host=host,
        port=port,
        boards=feed,
        status_only=status_only,
        password_file=password_file,
    )

    def ready(address: str) -> None:
        sys.stderr.write(f"myofed: watch at {address} (Ctrl-C ends it)\n")
        if as_json:
            report({"address": address}, str, as_json=True)
            sys.stdout.flush()

    run_watch(job, ready)


def new_password() -> str:
    """What the person at the terminal types, twice and unseen; ConfigError where there is none to ask."""
    if not sys.stdin.isatty():
        raise ConfigError("--set-password: asks for the password, and there is no terminal to ask at")
    word: str = typer.prompt("New password", hide_input=True, confirmation_prompt=True, err=True)
    return word


@app.command()
def teach(
    *,
    data: Annotated[str, typer.Option(metavar="NAME_OR_FOLDER", help="Whose recordings.")],
    out: Annotated[Path, typer.Option(help="Where the teacher is written (.safetensors).")],
    subjects: Annotated[str | None, typer.Option(help="Public people, with commas; default: all.")] = None,
    data_dir: DataDir = None,
    model: Annotated[str, typer.Option(help="See `myofed models`.")] = "teacher",
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps.")] = None,
    window_ms: Annotated[float, typer.Option(min=1, max=60_000, help="Length of a window.")] = 250.0,
    remove_mean: Annotated[bool, typer.Option("--remove-mean", help="Subtract each trial's mean.")] = False,
    band_pass_hz: Annotated[
        tuple[float, float] | None,
        typer.Option("--band-pass", "--band-pass-hz", metavar="LOW HIGH", help="Edges in Hz."),
    ] = None,
    notch_hz: Annotated[
        float | None, typer.Option("--notch", "--notch-hz", help="Mains frequency in Hz.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of initial weights and batches.")] = 0,
    as_json: Json = False,
) -> None:
    """Train a teacher on public people's recordings; `myofed pack` then caches what it knows."""
    from server.teach import TeachJob, run_teach_job, teach_text

    job = TeachJob(
        data=data,
        out=out,
        subjects=() if subjects is None else tuple(s.strip() for s in subjects.split(",")),
        data_dir=data_dir,
        model=model,
        steps=steps,
        window_ms=window_ms,
        remove_mean=remove_mean,
        band_pass_hz=band_pass_hz,
        notch_hz=notch_hz,
        seed=seed,
    )
    result = run_teach_job(job)
    report(result, teach_text, as_json=as_json)


def asked(flag: str, question: str, kind: type[str | float] = str) -> Any:
    """The answer of the person at the terminal; ConfigError where there is none to ask."""
    if not sys.stdin.isatty():
        raise ConfigError(f"{flag}: missing, and there is no terminal to ask at")
    return typer.prompt(question, type=kind, err=True)


@app.command()
def pack(
    *,
    teacher: Annotated[Path, typer.Option(help="The teacher's file, as `myofed teach` writes it.")],
    data: Annotated[str, typer.Option(help="Name or folder of the public recordings.")],
    out: Annotated[Path, typer.Option(help="Folder of the pack.")],
    subjects: Annotated[str, typer.Option(help="Public people, a,b,…; without it, all.")] = "",
    data_dir: Annotated[Path | None, typer.Option(help="Where datasets lie.")] = None,
    window_ms: Annotated[float | None, typer.Option(max=60_000, help="Default: the teacher's own.")] = None,
    stride_ms: Annotated[float | None, typer.Option(max=60_000, help="Default: half a window.")] = None,
    remove_mean: Annotated[bool | None, typer.Option(help="Default: as the teacher's file says.")] = None,
    band_pass_hz: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--band-pass", "--band-pass-hz", metavar="LOW HIGH", help="Default: as the teacher's file says."
        ),
    ] = None,
    notch_hz: Annotated[
        float | None, typer.Option("--notch", "--notch-hz", help="Default: as the teacher's file says.")
    ] = None,
    windows: Annotated[
        bool | None,
        typer.Option("--include-windows/--no-windows", help="Default: where the licence allows it."),
    ] = None,
    simulation: Annotated[bool, typer.Option(help="The pack never leaves this machine.")] = False,
    key: Annotated[Path | None, typer.Option(help="Signing key; default: pack.key beside the pack.")] = None,
    shard_windows: Annotated[int, typer.Option(min=1, help="Windows a shard.")] = 4096,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "cpu",
    as_json: Json = False,
) -> None:
    """Cache a teacher's outputs for public people's windows in a signed knowledge pack."""
    from server.pack_job import PackJob, figures_text, run_pack_job
    from server.pack_progress import pack_progress

    job = PackJob(
        teacher=teacher,
        data=data,
        subjects=tuple(filter(None, subjects.split(","))),
        folder=out,
        data_dir=data_dir,
        window_ms=window_ms,
        stride_ms=stride_ms,
        remove_mean=remove_mean,
        band_pass_hz=band_pass_hz,
        notch_hz=notch_hz,
        include_windows=windows,
        simulation=simulation,
        key=key,
        shard_windows=shard_windows,
        device=device,
    )
    with pack_progress(out) as progress:
        result = run_pack_job(job, progress)
    report(result, figures_text, as_json=as_json)


@app.command()
def score(
    predictions: Annotated[
        Path, typer.Argument(metavar="PREDICTIONS.npz", help="Arrays probs (9, F) and times (F,) in seconds.")
    ],
    prompts: Annotated[Path, typer.Argument(metavar="PROMPTS.json", help="A list of [name, time] pairs.")],
    *,
    threshold: Annotated[float, typer.Option(help="Probability at which an event starts.")] = 0.35,
    debounce: Annotated[
        float, typer.Option(help="Seconds within which an event is not counted again.")
    ] = 0.05,
    tolerance: Annotated[
        tuple[float, float], typer.Option(help="Seconds from a prompt in which its event may come.")
    ] = (-0.05, 0.25),
    as_json: Json = False,
) -> None:
    """CLER, misses, false activations and onset delay of saved event predictions."""
    from distillation.cler import score as score_events
    from distillation.predictions import read_predictions, read_prompts, score_as_json, score_as_text

    probs, times = read_predictions(predictions)
    result = score_events(
        probs,
        times,
        read_prompts(prompts),
        threshold=threshold,
        debounce_s=debounce,
        tolerance_s=tolerance,
    )
    report(score_as_json(result), score_as_text, as_json=as_json)


@app.command()
def plot(
    runs: Annotated[list[str], typer.Argument(metavar="RUN…", help="Names below --run-dir, or folders.")],
    *,
    run_dir: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("runs"),
    out: Annotated[Path, typer.Option(help="Folder that the files are written to.")] = Path("plots"),
    formats: Annotated[
        list[str] | None, typer.Option("--format", help="png (default), svg or csv; repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Pictures of runs to keep: accuracy, people, confusion, bytes, methods; several runs are overlaid too."""
    from server.plots.job import PlotJob, plot_text, run_plot_job

    job = PlotJob(runs=tuple(runs), run_dir=run_dir, out=out, formats=tuple(formats or ("png",)))
    report(run_plot_job(job), plot_text, as_json=as_json)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(help="Which; without it, what there is. Its own options follow.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Measure: the benchmarks of the folder `benchmarks`, each printing its figures side by side."""
    folder = Path(__file__).with_name("benchmarks")
    found = {path.stem: path for path in sorted(folder.glob("*.py"))}
    if not found:
        raise ConfigError(
            f"bench: {folder} is not there; benchmarks come with the source, not with the wheel"
        )
    if name is None:
        listed = {n: first_sentence(path) for n, path in found.items()}
        report({"benchmarks": listed}, bench_text, as_json=as_json)
    elif name not in found:
        raise ConfigError(f"bench: found {name!r}, allowed are {', '.join(found)}")
    else:
        command = [sys.executable, str(found[name]), *context.args, *(["--json"] if as_json else [])]
        sys.exit(subprocess.run(command, check=False).returncode)  # noqa: S603


def first_sentence(script: Path) -> str:
    """What a script says of itself on its first line."""
    return (ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or "").split("\n", 1)[0]


def bench_text(result: Mapping[str, Any]) -> str:
    """One line a benchmark."""
    return "\n".join(f"{name:16} {what}" for name, what in result["benchmarks"].items())


def fail(error: BaseException | str, code: int) -> NoReturn:
    """Say what went wrong on stderr and leave with `code`."""
    sys.stderr.write(f"myofed: {error}\n")
    raise SystemExit(code)


def main() -> None:
    """Run the command line; every expected error ends with a sentence, never with a traceback."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what was started, as Ctrl-C does
    try:
        app()
    except ConfigError as error:
        fail(error, 2)
    except FAILED as error:
        fail(error, 1)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in LEARN | DASHBOARD:
            raise
        extra = "learn" if missing in LEARN else "dashboard"
        fail(f'this command needs {missing}: pip install "myofed[{extra}]"', 2)
    except KeyboardInterrupt:
        fail("stopped", 130)
    except SystemExit as ended:
        if ended.code == 130:  # Typer's word for Ctrl-C
            sys.stderr.write("myofed: stopped\n")
        raise


if __name__ == "__main__":
    main()
