"""Pictures of gradients: their lines are the report's numbers, and all of them are in the range."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from report.drawn import Drawn
from unrolled.gradients.measure import GradientReport, compare_cells, measure_cell
from unrolled.report.gradient_plots import (
    by_lag,
    by_lag_and_time,
    singular_values,
    write_pictures,
)


@pytest.fixture(scope="module")
def lstm() -> GradientReport:
    return measure_cell("lstm", hidden=6, layers=2, steps=12, batch=3)


def test_pictures_are_written_and_the_same_each_time(tmp_path: Path) -> None:
    report = measure_cell("elman", hidden=4, steps=5, batch=3)
    others = compare_cells(["irnn (ReLU, identity)", "gru"], hidden=4, steps=5)
    names = ["by-lag.svg", "by-lag-and-time.svg", "singular-values.svg", "comparison.svg"]
    texts = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        paths = write_pictures(folder, report, others)
        assert [path.name for path in paths] == names
        texts.append([path.read_text() for path in paths])
    assert texts[0] == texts[1]
    lines = dict(Drawn(texts[0][3]).lines())
    assert list(lines) == ["elman", "irnn (ReLU, identity)", "gru"]


def test_a_cell_that_is_among_the_others_is_drawn_once(tmp_path: Path) -> None:
    others = compare_cells(hidden=5, steps=6)
    report = measure_cell("elman", hidden=5, steps=6)
    drawn = Drawn(write_pictures(tmp_path, report, others)[3].read_text())
    assert [title for title, _ in drawn.lines()] == list(others)
    own = measure_cell("elman", start="sparse", hidden=5, steps=6)
    drawn = Drawn(write_pictures(tmp_path, own, others)[3].read_text())
    assert len(drawn.lines()) == 8
    assert len({colour for _, colour, _ in drawn.looks()}) == 8


def test_lines_by_lag_are_the_norms(lstm: GradientReport) -> None:
    drawn = Drawn(by_lag({lstm.name: lstm}))
    panel = drawn.panels()[0]
    lines = dict(drawn.lines())
    assert len(lines) == 6
    assert len({look[1:] for look in drawn.looks()}) == 6
    for number, layer in enumerate(lstm.lags.layers, 1):
        for name, values in (
            (f"lstm, layer {number}", layer.norms),
            (f"lstm, layer {number}, cell state", layer.cell_norms),
            (f"lstm, layer {number}, along the cell state only", layer.highway_norms),
        ):
            assert values is not None
            read = panel.read(lines[name])
            np.testing.assert_allclose(read[:, 0], range(12), atol=0.1)
            np.testing.assert_allclose(read[:, 1], values, rtol=0.03)


def test_singular_values_show_what_was_measured_beside_a_bound_that_grows() -> None:
    report = measure_cell("lstm", hidden=8, steps=40, batch=2, forget_bias=4.0)
    jacobian = report.jacobians[0]
    assert jacobian.bound[-1] > 100 * jacobian.highest.max()  # it would hide all else
    drawn = Drawn(singular_values(report))
    spectrum, norms = drawn.panels()
    lines = dict(drawn.lines())
    for k, values in zip(jacobian.steps, jacobian.spectrum, strict=True):
        read = spectrum.read(lines[f"k = {k}"])
        shown = values[values > values.max() * 1e-12][: len(read)]
        np.testing.assert_allclose(read[: len(shown), 1], shown, rtol=0.1)
    np.testing.assert_allclose(norms.read(lines["mean"])[:, 1], jacobian.norms, rtol=0.05)
    np.testing.assert_allclose(norms.read(lines["largest"])[:, 1], jacobian.highest, rtol=0.05)
    places = [y for _, y in lines["mean"]]
    assert max(places) - min(places) > 5  # not a flat line at the bottom
    assert len([title for title in lines if title.startswith("bound")]) == 1


def test_the_map_has_each_layers_cells(lstm: GradientReport) -> None:
    svg = by_lag_and_time(lstm)
    drawn = Drawn(svg)
    assert [t.words for t in drawn.texts if t.words.startswith("layer")] == ["layer 1", "layer 2"]
    ticks = [t.words for t in drawn.texts if t.size == 11]
    assert any(words.startswith("10") for words in ticks)
    # A triangle: no lag is longer than its step, and what is empty is not drawn.
    panel = drawn.panels()[0]
    cells = [path for path in drawn.root.iter() if path.get("shape-rendering")]
    assert len(cells) > 10
    assert panel.x_ticks[0][1] == 0


def test_no_picture_names_matplotlibs_fonts_or_has_a_background(lstm: GradientReport) -> None:
    for svg in (by_lag({"a": lstm}), singular_values(lstm), by_lag_and_time(lstm)):
        assert "mathdefault" not in svg
        assert "<rect" not in svg
        assert "var(" not in svg
        assert "prefers-color-scheme:dark" in svg
        assert "<title" in svg
        assert "<desc" in svg
