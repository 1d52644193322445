"""Pictures of experiments: whole, standalone and the same each time."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from unrolled.errors import MissingExtraError
from unrolled.report.experiment_plots import contours, line_panels, surface
from unrolled.report.figures import require_matplotlib

LINES = {"one": {"a & b": ([1, 2], [3, 4])}, "two": {"a & b": ([1, 2], [1, 9]), "c": ([1], [2])}}


def test_lines_have_titles_and_one_legend_entry_a_name() -> None:
    text = line_panels(LINES, x_label="steps", y_label="accuracy, %")
    assert text.startswith("<svg")
    assert text.count("a &amp; b") == 1
    for part in ("one", "two", "steps", "accuracy, %"):
        assert f">{part}<" in text
    assert "metadata" not in text
    assert text == line_panels(LINES, x_label="steps", y_label="accuracy, %")
    assert text != line_panels(LINES, x_label="steps", y_label="accuracy, %", log_y=True)


def test_surfaces_are_pngs() -> None:
    w, b = np.linspace(0, 1, 5), np.linspace(-1, 0, 4)
    errors = w * b[:, None]
    path = np.array([[0.1, -0.5], [0.2, -0.4], [9.0, 9.0]])  # the last point is outside
    pictures = [
        surface(w, b, errors, {"p": path}, {"p": np.array([0.1, 0.2, 9.0])}),
        contours(w, b, errors, {"p": path}),
    ]
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'unrolled\[report\]'"):
        require_matplotlib()
