"""The documentation says what the code does."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_args, get_type_hints

from simulations.experiment import Experiment
from simulations.experiment_file import ready_experiments

ROOT = Path(__file__).parents[1]


def keys_of(settings: type) -> set[str]:
    """All keys that an experiment may hold, at any depth."""
    found = set()
    for name, hint in get_type_hints(settings).items():
        if name in {f.name for f in fields(settings)}:
            found.add(name)
            for inner in (hint, *get_args(hint)):
                if is_dataclass(inner):
                    found |= keys_of(inner)
    return found


def test_every_key_of_an_experiment_is_documented():
    text = (ROOT / "docs/experiments.md").read_text()
    assert {key for key in keys_of(Experiment) if not re.search(rf"[`.]{key}\b", text)} == set()


def test_every_ready_experiment_is_named_in_the_documentation():
    text = (ROOT / "docs/experiments.md").read_text()
    assert [name for name in ready_experiments() if f"`{name}`" not in text] == []


def test_links_between_documents_lead_somewhere():
    for document in (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))):
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_nothing_in_the_documentation_waits_to_be_filled_in():
    for document in (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))):
        assert "@@" not in document.read_text(), document.name
