"""The command line: one sub-command per job, each a few lines that call one room.

Every command takes `--json`: one JSON object on stdout, logs on stderr. Exit 0: the job is done;
1: it failed; 2: a wrong call or configuration.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

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

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__.split("\n", 1)[0]
)
data_app = typer.Typer(
    no_args_is_help=True, help="The datasets at hand, what is wrong with one, and importing your own."
)
app.add_typer(data_app, name="data")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout; logs go to stderr.")]

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


def fail(error: BaseException, code: int) -> NoReturn:
    """Say what went wrong on stderr and leave with `code`."""
    sys.stderr.write(f"myofed: {error}\n")
    raise SystemExit(code)


def main() -> None:
    """Run the command line; every expected error ends with a sentence, never with a traceback."""
    try:
        app()
    except ConfigError as error:
        fail(error, 2)
    except FAILED as error:
        fail(error, 1)
    except KeyboardInterrupt:
        sys.stderr.write("myofed: stopped\n")
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
