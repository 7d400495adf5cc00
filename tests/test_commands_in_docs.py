"""Every `myofed …` line in a block of commands of the documentation is a call that the command line accepts."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
import typer

from myofed import app

ROOT = Path(__file__).parents[1]
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
SHELL = re.compile(r"\d?>{1,2}|[&|;]+|<|\d?>&\d")  # from here on a line is the shell's


def commands_of(document):
    """The words behind `myofed` of each line of the document's blocks, as the shell would split them."""
    found = []
    for block in re.findall(
        r"^```(?:console|sh|bash)?\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE
    ):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.split("·"):
                call = part.strip().removeprefix("$ ").removeprefix(".venv/bin/")
                if call.startswith("myofed ") and "…" not in call:  # there the reader has to think
                    words = shlex.split(call.replace("`", ""), comments=True)
                    end = next((i for i, word in enumerate(words) if SHELL.fullmatch(word)), len(words))
                    found.append(words[1:end])
    return found


def parsed(words):
    """Walk down to the command and let it read its options; a click error says what it does not accept."""
    command, context = typer.main.get_command(app), None
    while isinstance(command, click.Group):
        context = click.Context(command, parent=context, info_name=command.name)
        name, command, words = command.resolve_command(context, words)
    command.make_context(command.name, list(words), parent=context)
    return name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_of_a_document_is_one(document):
    refused = []
    for words in commands_of(document):
        try:
            parsed(words)
        except click.exceptions.UsageError as error:
            refused.append(f"myofed {' '.join(words)}: {error.format_message()}")
    assert refused == []


def test_a_wrong_option_is_found():
    with pytest.raises(click.exceptions.UsageError, match="--sever"):
        parsed(["serve", "--sever", "here"])


def test_the_walk_through_a_deployment_has_its_commands():
    called = {words[0] for words in commands_of(ROOT / "docs/deploy.md")}
    assert called >= {"serve", "join", "teach", "pack", "simulate"}
