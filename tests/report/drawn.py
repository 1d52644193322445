"""What a picture shows, read from its SVG alone: texts, lines, and the numbers that they stand for.

Numbers are read as a person reads them, by the ticks at the axes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np

NAMESPACE = "{http://www.w3.org/2000/svg}"
_RAISED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Text:
    x: float
    y: float
    anchor: str
    size: float
    words: str


@dataclass(frozen=True)
class Panel:
    """Ticks of one panel: (place, number) of x and of y."""

    x_ticks: Points
    y_ticks: Points
    bottom: float
    top: float

    def read(self, points: Points) -> np.ndarray:
        """The numbers (N, 2) of places."""
        places = np.array(points)
        return np.column_stack(
            [_read(self.x_ticks, places[:, 0]), _read(self.y_ticks, places[:, 1])]
        )


class Drawn:
    def __init__(self, svg: str) -> None:
        self.root = ElementTree.fromstring(svg)
        left, top, width, height = map(float, self.root.attrib["viewBox"].split())
        self.box = (left, top, left + width, top + height)
        self.texts = [
            Text(
                float(node.attrib["x"]), float(node.attrib["y"]),
                node.attrib.get("text-anchor", "start"), float(node.attrib.get("font-size", 12)),
                "".join(node.itertext()),
            )
            for node in self.root.iter(f"{NAMESPACE}text")
        ]  # fmt: skip

    def groups(self, kind: str) -> list[tuple[str, ElementTree.Element]]:
        """Titles and elements of the groups of a kind."""
        found = [node for node in self.root.iter(f"{NAMESPACE}g") if node.get("class") == kind]
        return [(node.find(f"{NAMESPACE}title").text or "", node) for node in found]

    def lines(self) -> list[tuple[str, Points]]:
        """The title and the points of each line."""
        found = []
        for title, node in self.groups("line"):
            paths = [path for path in node.iter(f"{NAMESPACE}path") if path.get("fill") == "none"]
            points = [point for path in paths for point in points_of(path.attrib["d"])]
            found.append((title, [p for n, p in enumerate(points) if n == 0 or p != points[n - 1]]))
        return found

    def looks(self) -> list[tuple[str, str, str]]:
        """The title, colour and dashes of each line."""
        found = []
        for title, node in self.groups("line"):
            path = next(iter(node.iter(f"{NAMESPACE}path")))
            colour = path.get("stroke") or path.get("fill") or ""
            found.append((title, colour, path.get("stroke-dasharray", "")))
        return found

    def panels(self) -> list[Panel]:
        """The panels from top to bottom."""
        ticks = [(text, number_of(text.words)) for text in self.texts if text.size == 11]
        rows = sorted({text.y for text, _ in ticks if text.anchor == "middle"})
        found, above = [], -10.0
        for row in rows:
            x = [(t.x, v) for t, v in ticks if t.anchor == "middle" and t.y == row]
            y = [(t.y - 4, v) for t, v in ticks if t.anchor == "end" and above < t.y < row]
            known = [(place, value) for place, value in x if value is not None]
            bottom = row - 16
            found.append(Panel(known, [(p, v) for p, v in y if v is not None], bottom, above))
            above = row
        return found


def points_of(d: str) -> Points:
    """The points of a path of straight lines."""
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", d)]


def number_of(words: str) -> float | None:
    """The number that a tick shows, if it is one."""
    match = re.fullmatch(r"(?:(\d)·)?10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)", words)
    if match:
        return float(match[1] or 1) * 10.0 ** int(match[2].translate(_RAISED))
    size = {"k": 1e3, "M": 1e6, "G": 1e9}.get(words[-1:], 1.0)
    try:
        return size * float(words.replace("−", "-").replace(",", "").rstrip("kMG"))
    except ValueError:
        return None


def _read(ticks: Points, places: np.ndarray) -> np.ndarray:
    """Numbers at places, by ticks that are even or logarithmic."""
    at, values = np.array(ticks).T
    if len(at) < 2:
        return np.full(len(places), np.nan)
    even = np.polyfit(at, values, 1)
    error = np.abs(np.polyval(even, at) - values).max() / np.ptp(values)
    if (values <= 0).any() or error < 0.002:
        return np.polyval(even, places)
    powers = np.polyfit(at, np.log10(values), 1)
    assert np.abs(np.polyval(powers, at) - np.log10(values)).max() < 0.02
    return 10 ** np.polyval(powers, places)
