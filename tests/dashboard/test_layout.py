"""The frame and its colours."""

import re

import pytest
from run_folders import NAMES

from server.dashboard.layout import STATIC, shown

STYLE = (STATIC / "style.css").read_text()
TEXT_ON = [
    ("ink", "paper"), ("ink", "card"), ("muted", "paper"), ("muted", "card"), ("faint", "card"), ("accent", "paper"),
    ("accent", "card"), ("accent", "accent-soft"), ("accent-ink", "accent"), ("good", "good-soft"),
    ("warn", "warn-soft"), ("bad", "bad-soft"), ("ink", "warn-soft"), ("ink", "bad-soft"),
]  # fmt: skip


def colours(theme):
    block = STYLE.split(":root {" if theme == "light" else 'html[data-theme="dark"] {', 1)[1].split("}", 1)[0]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))


def luminance(colour):
    """WCAG 2.2, relative luminance."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), TEXT_ON)
def test_text_can_be_read(theme, text, ground):
    found = colours(theme)
    dark, bright = sorted(luminance(found[name]) for name in (text, ground))
    assert (bright + 0.05) / (dark + 0.05) >= 4.5  # WCAG AA


@pytest.mark.parametrize("name", NAMES)
def test_untrusted_names_are_shown_short_and_plain(name):
    found = shown(name, 40)
    assert len(found) <= 40
    assert not set(found) & set("\n\t\x00\x1b\u202e\u200f\ud800")
