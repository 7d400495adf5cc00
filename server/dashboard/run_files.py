"""What a run was made with, and what there is to take along: pack, settings, files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicegui import ui

from server.dashboard.layout import shown
from server.dashboard.rows import Heading, Rows
from server.dashboard.run_rows import megabytes
from server.dashboard.run_view import ARMS, arm_words
from server.dashboard.state import download_path, run_path
from server.history.methods import METHODS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server.dashboard.run_view import RunView
    from server.history.part import PackFacts

RECORD = "Record and result"
GROUPS = {
    "": RECORD,
    "results": "Results of each method",
    "checkpoints": "Checkpoints: students after a round",
    "plots": "Plots",
    "tensorboard": "TensorBoard",
}
MAX_FILES = 200  # links shown of a group
LONGEST_VALUE = 300  # characters of one setting


class PackCard:
    """The knowledge pack of the run: what its clients learn from beside their own recordings."""

    def __init__(self, view: RunView) -> None:
        self.view = view
        self._facts: list[tuple[str, str]] = []
        with ui.element("section").classes("card full") as self.card:
            ui.label("Knowledge pack").classes("card-title")
            ui.label("The teacher's answers to public windows, which clients learn from.").classes(
                "card-note"
            )
            self.list = ui.element("dl").classes("facts")
        self.card.visible = False

    def update(self) -> None:
        """Show what the record says now; the card is not there without a pack."""
        packs = [part.pack for part in self.view.parts if part.pack is not None]
        facts = pack_facts(packs)
        self.card.visible = bool(packs)
        if facts != self._facts:
            self._facts = facts
            fact_list(self.list, facts)


def pack_facts(packs: Sequence[PackFacts]) -> list[tuple[str, str]]:
    """What is known of the packs: the first one's making, the bytes of all."""
    if not packs:
        return []
    first = packs[0]
    sent, saved = sum(p.bytes_down for p in packs), sum(p.bytes_saved for p in packs)
    facts = [
        ("windows", f"{first.windows:,}" if first.windows is not None else ""),
        ("size", f"{megabytes(first.num_bytes)} MB" if first.num_bytes is not None else ""),
        ("sent in", f"{first.shards} files" if first.shards is not None else ""),
        ("lost by packing", lost(first.kl_loss)),
        (
            "same gesture first",
            f"{first.top1_agreement:.1%} of windows".replace("%", " %")
            if first.top1_agreement is not None
            else "",
        ),
        ("packed as", shown(first.codec, 80)),
        ("teacher", shown(first.teacher, 80)),
        ("licence", shown(first.license)),
        ("sent", f"{megabytes(sent)} MB"),
        ("there already", f"{megabytes(saved)} MB" if saved else ""),
        ("checksum", shown(first.pack, 12)),
        ("packs of this run", str(len({p.pack for p in packs})) if len({p.pack for p in packs}) > 1 else ""),
    ]
    return [(name, text) for name, text in facts if text]


def lost(kl: float | None) -> str:
    """What packing the answers small cost: Kullback-Leibler divergence, nats a window."""
    return "" if kl is None else f"{kl:.4f} (0: nothing)"


def fact_list(parent: ui.element, facts: Sequence[tuple[str, str]]) -> None:
    """Names and what they are, in place of what `parent` held."""
    parent.clear()
    with parent:
        for name, text in facts:
            with ui.element("div").classes("fact"):
                with ui.element("dt"):
                    ui.label(name)
                with ui.element("dd"):
                    ui.label(text)


class SettingsCard:
    """All settings, flattened, to be searched."""

    def __init__(self, view: RunView) -> None:
        self.view = view
        with ui.element("details").classes("card fold"):
            with ui.element("summary"):
                ui.label("Settings").classes("card-title")
                self.count = ui.label().classes("muted small")
            self.rows = Rows(
                (Heading("setting", "Setting", mono=True), Heading("value", "Value", long=True)),
                label="Settings",
                search="Find a setting",
                nothing="run.json names no settings.",
                sort="setting",
            )

    def update(self) -> None:
        """Show what the record says now."""
        self.count.text = f"{len(self.view.history.facts.settings):,}, as run.json says"
        self.rows.show(
            {"key": name[:LONGEST_VALUE], "setting": shown(name, 100), "value": shown(value, LONGEST_VALUE)}
            for name, value in self.view.history.facts.settings.items()
        )


class FilesCard:
    """What can be downloaded, in groups; looked up again where the run went on by a round."""

    def __init__(self, view: RunView) -> None:
        self.view = view
        self._names: list[str] = []
        with ui.element("section").classes("card"):
            ui.label("Files").classes("card-title")
            ui.label("The record of this run, to keep or to reckon with.").classes("card-note")
            with ui.element("ul").classes("files"), ui.element("li"):
                ui.link("rounds.csv", run_path(view.name, "/rounds.csv"))
                ui.label("every round as a row of a spreadsheet").classes("muted small")
            self.groups = ui.element("div").classes("stack")

    def show(self, files: list[tuple[str, int]]) -> None:
        """Links to (path in the run's folder, bytes)."""
        names = [name for name, _ in files]
        if names == self._names:
            return
        self._names = names
        self.groups.clear()
        with self.groups:
            for title, members in grouped(files).items():
                self._group(title, members)

    def _group(self, title: str, files: list[tuple[str, int]]) -> None:
        """The record itself is open, the folders of the run are not."""
        with ui.element("details").classes("fold") as group:
            if title == RECORD:
                group.props("open")
            with ui.element("summary"):
                ui.label(title)
                ui.label(f"{len(files):,} · {file_size(sum(size for _, size in files))}").classes(
                    "muted small"
                )
            with ui.element("ul").classes("files"):
                for name, size in files[:MAX_FILES]:
                    with ui.element("li"):
                        ui.link(shown(name), download_path(self.view.name, name))
                        ui.label(file_size(size)).classes("muted small")
                if len(files) > MAX_FILES:
                    with ui.element("li"):
                        ui.label(f"and {len(files) - MAX_FILES} more in the run's folder").classes("muted")


def grouped(files: Sequence[tuple[str, int]]) -> dict[str, list[tuple[str, int]]]:
    """By the folder they lie in, the record first."""
    found: dict[str, list[tuple[str, int]]] = {}
    for name, size in files:
        folder = name.partition("/")[0] if "/" in name else ""
        found.setdefault(GROUPS.get(folder, shown(folder, 40)), []).append((name, size))
    return found


def file_size(num_bytes: int) -> str:
    """Decimal; small files in kB, so that none looks empty that is not."""
    return f"{num_bytes / 1e3:,.1f} kB" if num_bytes < 1e6 else f"{megabytes(num_bytes)} MB"


def about(view: RunView) -> str:
    """Which experiment this is, in a line."""
    facts = view.history.facts
    words = (("experiment", facts.experiment), ("data", facts.dataset), ("student", facts.student))
    told = [f"{what} {shown(word, 60)}" for what, word in (*words, ("engine", facts.engine)) if word]
    asked = facts.methods or view.arms
    return " · ".join([*told, f"methods {'; '.join(map(method_words, asked))}"] if asked else told)


def method_words(method: str) -> str:
    """A federation by its arm, a baseline by its title."""
    return arm_words(method) if method in ARMS or method not in METHODS else METHODS[method].title
