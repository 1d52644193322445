"""Lines: what is drawn is the data, and every line can be seen and told by its name."""

from __future__ import annotations

import math

import numpy as np
import pytest

from report.drawn import Drawn
from unrolled.report.canvas import spread
from unrolled.report.line_chart import Line, Panel, line_chart, numbered
from unrolled.report.scales import Axis, Scale, fitting_ticks, scale_of, ticks_of
from unrolled.report.style import COLOURS, Maths, text_width

X, Y = Axis("time, s"), Axis("height, m")


def test_points_are_where_the_ticks_say() -> None:
    xs, ys = [0.0, 1.5, 4.0, 9.0], [120.0, 80.0, 95.0, 20.0]
    powers = [1e-6, 1e-3, 0.2, 4.0]
    panels = [
        Panel([Line("a", xs, ys)], X, Y), Panel([Line("b", xs, powers)], X, Axis("p", log=True))
    ]  # fmt: skip
    drawn = Drawn(line_chart(panels, "Title", shared_y=False))
    first, second = drawn.panels()
    (_, a), (_, b) = drawn.lines()
    np.testing.assert_allclose(first.read(a), np.column_stack([xs, ys]), atol=0.5)
    found = second.read(b)
    np.testing.assert_allclose(found[:, 0], xs, atol=0.1)
    np.testing.assert_allclose(found[:, 1], powers, rtol=0.05)


def test_panels_share_one_range_unless_told_otherwise() -> None:
    panels = [Panel([Line("a", [0, 1], [0, top])], X, Y) for top in (1, 100)]
    shared = Drawn(line_chart(panels, "Title")).panels()
    assert [v for _, v in shared[0].y_ticks] == [v for _, v in shared[1].y_ticks]
    apart = Drawn(line_chart(panels, "Title", shared_y=False)).panels()
    assert max(v for _, v in apart[0].y_ticks) <= 1


def test_a_line_that_leaves_the_panel_is_cut_at_its_edge() -> None:
    tall = Line("bound", [0, 1, 2], [1, 1e30, 1e60], 1, framed=False)
    drawn = Drawn(
        line_chart(
            [Panel([Line("norm", [0, 1, 2], [1, 0.1, 0.01]), tall], X, Axis("n", log=True))], "T"
        )
    )
    panel = drawn.panels()[0]
    (_, norm), (_, bound) = drawn.lines()
    assert len(norm) == 3
    assert min(y for _, y in norm) > 20
    read = panel.read(bound)
    assert len(read) == 2
    assert read[-1, 0] < 0.1
    assert read[-1, 1] < 10
    assert "bound" in [text.words for text in drawn.texts]


def test_zero_and_nan_leave_a_gap() -> None:
    ys = [1.0, 0.1, 0.0, 0.1, math.nan, 1.0, 0.5]
    svg = line_chart([Panel([Line("a", range(7), ys)], X, Axis("y", log=True))], "T")
    node = Drawn(svg).groups("line")[0][1]
    kinds = [path.attrib["fill"] for path in node[1:]]
    assert kinds == ["none", COLOURS[0], "none"]  # two points, a lone one, two points


def test_a_lone_point_and_an_empty_panel_can_be_seen() -> None:
    lone = line_chart([Panel([Line("a", [1], [2])], X, Y)], "T")
    assert len(Drawn(lone).groups("line")[0][1].findall("*")) == 2  # the title and a marker
    zeros = line_chart([Panel([Line("a", [1, 2], [0, 0])], X, Axis("y", log=True))], "T")
    assert "no finite number above 0" in [text.words for text in Drawn(zeros).texts]


def test_every_mark_has_a_colour_of_its_own_without_a_style_sheet() -> None:
    """Programs that know no style sheet draw what has no colour in black."""
    lines = [Line(f"{n}", [0, 1], [n, n + 1], n, marker=n) for n in range(8)]
    for node in Drawn(line_chart([Panel(lines, X, Y)], "T", key=lines[:2])).root.iter():
        if node.tag.endswith("}path"):
            assert node.attrib["fill"] == "none" or node.attrib["fill"].startswith("#")
            assert node.attrib["fill"] != "none" or node.attrib["stroke"].startswith("#")
        assert "var(" not in str(node.attrib)


def test_lines_that_cover_each_other_show_in_turn() -> None:
    same, xs = [1.0, 2.0, 3.0, 3.0], [0, 1, 2, 3]
    other = [1.0, 2.0, 3.0, 1.0]
    lines = [Line("a", xs, same, 0), Line("b", xs, same, 1), Line("c", xs, other, 2)]
    drawn = Drawn(line_chart([Panel(lines, X, Y)], "T"))
    dashes = {
        title: [(path.get("stroke-dasharray"), path.get("stroke-dashoffset")) for path in node[1:]]
        for title, node in drawn.groups("line")
    }
    assert dashes["a"] == [(None, None), (None, None)]  # below the others, with gaps to see it
    assert dashes["b"] == [("6 12", "12"), ("6 6", "6")]  # three cover each other, then two
    assert dashes["c"] == [("6 12", "6"), (None, None)]


def test_no_two_of_many_lines_look_alike() -> None:
    names = [f"model {number}" for number in range(20)]
    looks = numbered(names)
    assert len(set(looks.values())) == 20
    lines = [Line(name, [0, 1], [n, n + 1], *looks[name]) for n, name in enumerate(names)]
    drawn = Drawn(line_chart([Panel(lines, X, Y)], "T"))
    assert len({look[1:] for look in drawn.looks()}) == 20
    assert len(set(COLOURS)) == 8


def test_labels_at_line_ends_stand_apart_and_inside() -> None:
    lines = [Line(f"the model number {n}", [0, 1], [0, n / 1000], n) for n in range(12)]
    drawn = Drawn(line_chart([Panel(lines, X, Y, height=80)], "T", width=320))
    labels = [text for text in drawn.texts if text.size == 12 and text.x > 200]
    heights = sorted(text.y for text in labels)
    assert len(heights) >= 12
    assert min(np.diff(heights)) >= 14.9
    for text in labels:
        assert text.x + text_width(text.words) <= drawn.box[2]


def test_mathematics_is_set_and_other_names_stay_as_they_are() -> None:
    svg = line_chart(
        [Panel([Line("a*b_{c} <&>", [0, 1], [0, 1])], Axis(Maths("*h*_{*t*−1}")), Y)], "T"
    )
    words = [text.words for text in Drawn(svg).texts]
    assert "a*b_{c} <&>" in words
    assert "ht−1" in words
    assert '<tspan font-style="italic">h</tspan>' in svg
    assert "mathdefault" not in svg


@pytest.mark.parametrize(
    ("axis", "values", "shown"),
    [
        (Axis("", whole=True), [1, 3], ["1", "2", "3"]),
        (Axis(""), [0, 5000], ["0", "1,000", "2,000", "3,000", "4,000", "5,000"]),
        (Axis("", log=True), [0.01, 300], ["0.01", "0.1", "1", "10", "100"]),
        (Axis("", log=True), [90, 140], ["90", "100", "110", "120", "130", "140"]),
        (Axis("", names=("30", "full")), [0, 1], ["30", "full"]),
        (Axis("", log=True), [1e-12, 1], ["10⁻¹²", "10⁻¹⁰", "10⁻⁸", "10⁻⁶", "10⁻⁴", "10⁻²", "10⁰"]),
    ],
)  # fmt: skip
def test_ticks_are_round_and_few(axis: Axis, values: list[float], shown: list[str]) -> None:
    scale = scale_of(axis, values, 0, 400)
    ticks = [tick.text for tick in ticks_of(axis, scale, 6)]
    assert [text for text in ticks if text in shown] == ticks
    assert 2 <= len(ticks) <= 8
    assert all("." not in text for text in ticks) or not axis.whole


@pytest.mark.parametrize("low", [1e-30, 1e-6, 0.5, 90.0])
@pytest.mark.parametrize("times", [1.0, 1.3, 3.0, 8.0, 30.0, 1e4, 1e15])
@pytest.mark.parametrize("log", [False, True])
def test_ticks_of_any_range_are_some_and_stand_apart(low: float, times: float, log: bool) -> None:
    axis = Axis("", log=log)
    scale = scale_of(axis, [low, low * times], 0, 200)
    ticks = fitting_ticks(axis, scale)
    assert 1 <= len(ticks) <= 9
    places = [scale(tick.value) for tick in ticks]
    assert all(-0.5 <= place <= 200.5 for place in places)
    assert places == sorted(places)


def test_a_scale_is_a_line_or_a_logarithm() -> None:
    assert Scale(0, 10, 100, 0)(2.5) == 75
    assert Scale(1, 100, 0, 10, log=True)(10) == pytest.approx(5)


def test_spread_keeps_order_and_distance() -> None:
    wanted = [5.0, 5.0, 5.0, 90.0, 99.0]
    found = spread(wanted, [20.0] * 5, 0, 100)
    assert found == pytest.approx([10, 30, 50, 70, 90])
    assert spread([50.0], [10.0], 0, 100) == [50.0]
