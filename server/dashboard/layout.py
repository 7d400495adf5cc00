"""What every page looks like: header, navigation, theme, one column of cards.

    from server.dashboard.layout import page_frame

    @ui.page("/runs")
    def runs_page() -> None:
        with page_frame("Runs", here="runs"):          # here: run, runs, devices, teacher
            with ui.element("section").classes("card"):
                ui.label("All runs").classes("card-title")

There is no Tailwind (it would compile in the browser): use these classes of `static/style.css`, or Quasar's.

| class | for |
|---|---|
| `card` · `card-title` · `card-note` | a panel, its heading, one quiet sentence below the heading |
| `cards` | a grid of cards, one column on a phone; `cards wide` for cards of at least 26 rem; `full` takes a row |
| `stats` with `stat` in it: `stat-value`, `stat-label` | big figures with a few words below |
| `row` · `spread` · `stack` | beside each other, wrapping; the same, ends apart; below each other |
| `scroll-x` | round a table or picture that may be wider than a phone |
| `table` | a plain `<table>`; `num` on cells with numbers |
| `chip` + `good`, `warn`, `bad`, `calm` | a state in one word, never by colour alone |
| `notice` + `good`, `warn`, `bad` | a sentence that must be seen |
| `muted` · `small` · `mono` · `num` | quiet text, small text, code, tabular figures |
| `clip` | one line cut with …; give the whole text as tooltip |
| `button` · `button quiet` | a link or button that does something |
| `empty` | the friendly sentence where there is nothing yet |

CSS variables for components: `--ink --muted --faint --line --paper --card --accent --accent-ink --good --warn --bad`,
series colours `--c1` … `--c8`; they change with the theme (`html[data-theme]`). A canvas reads them with
getComputedStyle and listens to the window's event `myofed-theme`.
"""

from __future__ import annotations

from contextlib import contextmanager
from importlib.resources import files
from typing import TYPE_CHECKING

from nicegui import ui

from server.dashboard.state import run_path, site, teacher_path
from server.history.untrusted import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

STATIC = files("server.dashboard") / "static"
MAX_SHOWN = 200  # characters of a name that a page shows


@contextmanager
def page_frame(title: str, *, here: str, run: str | None = None) -> Iterator[None]:
    """The page around its content, which is what the block adds.

    Args:
        title: of the browser's tab, and the page's heading for screen readers; untrusted text is fine.
        here: which entry of the navigation this is: run, runs, devices, teacher; "" for none.
        run: the run that is looked at: "Run" and "Teacher" lead to it instead of the latest.
    """
    ui.page_title(f"{shown(title, 80)} · myofed")
    ui.add_head_html(
        '<script src="/static/theme.js"></script><link rel="stylesheet" href="/static/style.css">'
    )
    ui.link("Skip to content", "#main").classes("skip")
    with ui.element("header").classes("site-header"):
        with ui.link(target="/").classes("brand").props('aria-label="myofed, the latest run"'):
            ui.icon("graphic_eq")
            ui.label("myofed")
        _navigation(here, run)
        _theme_switch()
        if site().needs_login:
            with (
                ui.element("form").props('method="post" action="/logout"'),
                ui.element("button").classes("tool"),
            ):
                ui.icon("logout")
                ui.label("Log out").classes("tool-word")
    with (
        ui.element("div").classes("site-main").props('id="main" tabindex="-1"')
    ):  # Quasar's page is the <main>
        yield


def _navigation(here: str, run: str | None) -> None:
    entries = (
        ("run", "Run", "show_chart", run_path(run) if run else "/"),
        ("runs", "Runs", "view_list", "/runs"),
        ("devices", "Devices", "sensors", "/devices"),
        ("teacher", "Teacher", "school", teacher_path(run) if run else "/teacher"),
    )
    with ui.element("nav").classes("site-nav").props('aria-label="Pages"'):
        for key, word, icon, target in entries:
            with ui.link(target=target).classes("nav-link") as link:
                ui.icon(icon)
                ui.label(word)
            if key == here:
                link.props('aria-current="page"')


def _theme_switch() -> None:
    """Auto, dark, light, in turn; kept by the browser."""
    switch = (
        ui.element("button")
        .classes("tool theme-switch")
        .props('type="button" title="Colours: auto, dark or light"')
    )
    switch.on("click", js_handler="() => window.myofedTheme.next()")
    with switch:
        for choice, icon in (("auto", "brightness_auto"), ("dark", "dark_mode"), ("light", "light_mode")):
            with ui.element("span").classes(f"theme-{choice}"):
                ui.icon(icon)
                ui.label(choice.capitalize()).classes("tool-word")


def shown(text: str, most: int = MAX_SHOWN) -> str:
    """Untrusted text as a page shows it: without control and direction characters, of at most `most` characters."""
    return clean(text, limit=most)
