"""The one style of all pictures: colours, sizes, the width of texts, and mathematics in labels.

A picture is one SVG file for light and dark pages, for browsers and for programs that know no style
sheets: what has a colour of its own has one that is seen on both, and text and axes are of a middle
grey, which a browser replaces by what suits the page.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

INK, AXIS, GREY = "#707070", "#8c8c8c", "#999999"
# M. Okabe and K. Ito, Color Universal Design, 2008, without yellow, which white paper hides; their
# black is the colour of the text, and grey is added for the eighth of many.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", INK, GREY)
DASHES = ("", "6 3", "2 2", "8 3 2 3")
FONT = "system-ui, 'Helvetica Neue', Arial, sans-serif"
TEXT, SMALL = 12.0, 11.0  # sizes of labels and of ticks
LINE = 15.0  # from one line of text to the next
WIDTH = 420.0  # of a file, so that its text can be read on a telephone too

# A browser's colours of text (i), axes (a), and lines in the colour of the text (s).
STYLE_SHEET = (
    "@media (prefers-color-scheme:light){.u-i{fill:#24272d}.u-a{stroke:#6b7078}.u-s{stroke:#43484f}"
    ".u-d{fill:#43484f}}"
    "@media (prefers-color-scheme:dark){.u-i{fill:#e4e6ea}.u-a{stroke:#9aa1ad}.u-s{stroke:#c3c8d0}"
    ".u-d{fill:#c3c8d0}}"
)
# A page may be dark where the reader's browser is not, or the other way round, without telling its
# pictures: an edge around the letters, which else is not seen, keeps them readable.
EDGES = (
    "@media (prefers-color-scheme:light){text{stroke:#fff}}"
    "@media (prefers-color-scheme:dark){text{stroke:#1b1e23}}"
    "@media (prefers-color-scheme){text{paint-order:stroke;stroke-width:2.4px;"
    "stroke-linejoin:round;stroke-opacity:.85}}"
)
_VIRIDIS = (
    "440154",
    "472d7b",
    "3b528b",
    "2c728e",
    "21918c",
    "28ae80",
    "5ec962",
    "addc30",
    "fde725",
)
_ORDERED = ("0072b2", "009e73", "e69f00")

# Widths of the characters 32 to 126 in hundredths of the size, of DejaVu Sans: other fonts that a
# browser may choose are narrower.
_WIDTHS = (
    32, 40, 46, 84, 64, 95, 78, 27, 39, 39, 50, 84, 32, 36, 32, 34, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 34, 34, 84, 84, 84, 53, 100, 68, 69, 70, 77, 63, 58, 77, 75, 29, 29, 66, 56, 86, 75, 79,
    60, 79, 69, 63, 61, 73, 68, 99, 69, 61, 69, 39, 34, 39, 84, 50, 50, 61, 63, 55, 63, 62, 35, 63,
    63, 28, 28, 58, 28, 97, 63, 61, 63, 63, 41, 52, 39, 63, 59, 82, 59, 59, 52, 64, 34, 64, 84,
)  # fmt: skip


class Maths(str):
    """A label with mathematics: ``*x*`` is italic, ``_{t}`` a subscript, ``^{2}`` a superscript."""

    __slots__ = ()


@dataclass(frozen=True)
class Run:
    """Characters of one kind; level is -1 for a subscript and 1 for a superscript."""

    text: str
    italic: bool = False
    level: int = 0

    @property
    def scale(self) -> float:
        """Its size as a share of the label's."""
        return 0.78 if self.level else 1.0


def runs(label: str) -> list[Run]:
    """A label cut where its kind changes.

    >>> [(run.text, run.italic, run.level) for run in runs(Maths("|*h*_{*t*-1}|"))]
    [('|', False, 0), ('h', True, 0), ('t', True, -1), ('-1', False, -1), ('|', False, 0)]
    >>> runs("a*b*c") == [Run("a*b*c")]
    True
    """
    if not isinstance(label, Maths):
        return [Run(str(label))]
    found, text, italic, level, place = [], "", False, 0, 0
    while place <= len(label):
        mark = next((m for m in ("_{", "^{", "}", "*") if label.startswith(m, place)), "")
        if (mark or place == len(label)) and text:
            found.append(Run(text, italic, level))
            text = ""
        if not mark:
            text += label[place : place + 1]
        italic ^= mark == "*"
        level = {"_{": -1, "^{": 1, "}": 0}.get(mark, level)
        place += len(mark) or 1
    return found


def plain(label: str) -> str:
    """The label's characters alone, for titles."""
    return "".join(run.text for run in runs(label))


def text_width(label: str, size: float = TEXT) -> float:
    """How wide a label is at most."""
    return sum(_width(run.text) * run.scale for run in runs(label)) * size


def _width(text: str) -> float:
    total = 0.0
    for character in text:
        code = ord(character)
        if 32 <= code < 127:
            total += _WIDTHS[code - 32] / 100
        else:
            total += 1.0 if code >= 0x2000 else 0.8
    return total


def wrapped(label: str, width: float, size: float = TEXT) -> list[str]:
    """A label in lines of at most that width, cut at spaces; a longer word ends with an ellipsis.

    >>> wrapped("trigram Kneser-Ney one discount", 110)
    ['trigram', 'Kneser-Ney one', 'discount']
    """
    width += 0.01
    if isinstance(label, Maths) or text_width(label, size) <= width:
        return [label]
    lines = [""]
    for word in label.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer, size) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return [_shortened(line, width, size) for line in lines]


def _shortened(line: str, width: float, size: float) -> str:
    if text_width(line, size) <= width:
        return line
    while line and text_width(line + "…", size) > width:
        line = line[:-1]
    return line + "…"


def tspans(label: str, size: float) -> str:
    """A label as the content of a text element."""
    parts, level = [], 0
    for run in runs(label):
        text = html.escape(run.text, quote=False)
        given = ' font-style="italic"' if run.italic else ""
        if run.level:
            given += f' font-size="{run.scale * size:.3g}"'
        if run.level != level:
            given += f' dy="{0.3 * size * (level - run.level):.3g}"'
        level = run.level
        parts.append(f"<tspan{given}>{text}</tspan>" if given else text)
    return "".join(parts)


def heat_colour(share: float) -> str:
    """A colour of the scale viridis, from dark at 0 to light at 1."""
    return _between(_VIRIDIS, share)


def ordered_colours(count: int) -> list[str]:
    """Colours for lines in an order, such as by a number of steps; seen on light and dark."""
    return [_between(_ORDERED, number / max(count - 1, 1)) for number in range(count)]


def _between(stops: Sequence[str], share: float) -> str:
    place = min(max(share, 0.0), 1.0) * (len(stops) - 1)
    low = min(int(place), len(stops) - 2)
    rest = place - low
    pairs = [
        (int(stops[low][channel : channel + 2], 16), int(stops[low + 1][channel : channel + 2], 16))
        for channel in (0, 2, 4)
    ]
    return "#" + "".join(f"{round(first + rest * (last - first)):02x}" for first, last in pairs)
