"""A table whose rows live in the browser: sorted, filtered and paged there, and sent only where they changed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from nicegui import ui

from server.dashboard.run_rows import changes, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Heading:
    """One column.

    Attributes:
        name: key of its cells.
        sort_by: key of the number behind the words, to sort by; by the cell itself where empty.
        number: aligned right.
        wide: left out on a phone.
        long: cut with an ellipsis, whole in its title.
        time: its cells are Unix seconds, shown in the visitor's own time, with UTC and the year as title.
        chip: classes by value, where a cell is a state.
    """

    name: str
    label: str
    sort_by: str = ""
    number: bool = False
    wide: bool = False
    long: bool = False
    mono: bool = False
    time: bool = False
    chip: Mapping[str, str] = field(default_factory=dict)


class Rows(ui.element, component="components/rows.js"):
    """A table of rows with a `key`.

    Args:
        headings: its columns.
        label: what it lists, for a screen reader.
        search: what the field to filter says; none where empty.
        nothing: said in place of an empty table.
        sort: the column sorted by at first.
        page_size: rows of one page at first.
    """

    def __init__(
        self,
        headings: Sequence[Heading],
        *,
        label: str,
        nothing: str,
        search: str = "",
        sort: str = "",
        descending: bool = False,
        page_size: int = 10,
    ) -> None:
        super().__init__()
        columns = [
            {key: value for key, value in asdict(h).items() if value or key in ("name", "label")}
            for h in headings
        ]
        self._props.update(
            columns=columns, label=label, search=search, searchable=bool(search), nothing=nothing, sort=sort
        )
        self._props.update(descending=descending, page_size=page_size)
        self._shown: dict[str, Any] = {}
        self._wanted = False
        self.on("wanted", self._answer)

    def show(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Tell the browser which rows differ from what it shows."""
        keyed = ((printable(str(row["key"])), row) for row in rows)
        now = {key: dict(row) | {"key": key} for key, row in keyed}
        put, gone = changes(self._shown, now)
        self._shown = now
        if self._wanted and (put or gone):
            self.run_method("put", put, gone)

    def _answer(self) -> None:
        self._wanted = True
        self.run_method("put", list(self._shown.values()), [])
