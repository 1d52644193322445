"""The report: numbers in their places, text that stays text, nothing fetched or run."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import asdict, replace
from html.parser import HTMLParser
from itertools import pairwise
from random import Random

import numpy as np
import pytest

from report.comparisons import CURVE, EVIL, row
from report.drawn import Drawn, points_of
from unrolled.errors import FormatError, MissingExtraError
from unrolled.report import html, plots, read_results, tables, write_report
from unrolled.report.canvas import Box, text_box


class Page(HTMLParser):
    """Collects tags, their attributes and text, and that tags close in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.words, self.open = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_is_whole_and_shows_every_model(result):
    text = html.render(result)
    page = Page(text)
    shown = " ".join(page.words)
    for name in (EVIL, "impossible", "stupid", "net", "both", "hopeless"):
        assert name in shown
    assert "both is best, with a test perplexity of 100.00, 3.8 % below the next, net." in shown
    assert "net comes within 4.0 % of it in 62 % of its size." in shown
    assert "1 min 15 s" in shown
    assert "12,345" in shown
    assert "more than four times the best: impossible; hopeless" in shown
    assert sum(tag == "svg" for tag, _ in page.tags) == 6  # three, for wide screens and narrow ones
    assert ("tr", {"class": "best"}) in page.tags
    assert "ppl of both" in shown


def test_nothing_is_fetched_and_nothing_runs(result):
    page = Page(html.render(result))
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "image", "foreignobject"}
    for _, attributes in page.tags:
        assert not any(name.startswith("on") or name == "src" for name in attributes)
        assert all(value.startswith("#") for name, value in attributes.items() if "href" in name)
        assert "url(http" not in str(attributes)
    assert "@import" not in html.render(result)


def test_names_inside_the_pictures_are_unique_and_point_somewhere(result):
    page = Page(html.render(result))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = [attributes.get("aria-labelledby", "") for _, attributes in page.tags]
    assert sum(bool(names) for names in named) == 6
    assert {name for names in named for name in names.split()} == set(ids)


def test_the_points_are_the_models(result):
    for draw, column in (
        (plots.against_speed, lambda row: row.score_tokens_per_second),
        (plots.against_size, lambda row: row.file_bytes / 1e6),
    ):
        drawn = Drawn(draw(result.rows))
        shown = {row.name: row for row in plots.near_best(result.rows)}
        points = drawn.groups("point")
        assert len(points) == len(shown) == 3
        panel = drawn.panels()[0]
        for title, node in points:
            row = next(row for name, row in shown.items() if title.startswith(f"{name}: "))
            read = panel.read(points_of(node[-1].attrib["d"])[:1])[0]
            np.testing.assert_allclose(read, [column(row), row.test_perplexity], rtol=0.03)
            assert f"perplexity {row.test_perplexity:.2f}" in title
        names = " ".join(text.words for text in drawn.texts)
        assert "net" in names
        assert "both" in names


def test_time_goes_on_along_the_learning_curves(result):
    rows = [*result.rows, row("short", 120.0, kind="net", curve=CURVE[:1])]
    drawn = Drawn(plots.learning_curves(rows))
    panel = drawn.panels()[0]
    lines = drawn.lines()
    assert [title for title, _ in lines] == ["", "net", "", "short"]
    # The validation text after 5 and after 5 + 9.5 seconds.
    net = panel.read(lines[1][1])
    np.testing.assert_allclose(net, [[5, 250], [14.5, 180]], rtol=0.02)
    # One epoch: the training text's perplexity over the epoch, and the validation's at its end.
    short = panel.read(lines[2][1])
    np.testing.assert_allclose(short, [[0, 300], [5, 300], [5, 250]], rtol=0.02, atol=0.1)
    assert any(text.words == "short" for text in drawn.texts)
    for _, points in lines:
        assert all(one[0] <= other[0] for one, other in pairwise(points))
    looks = [look for look in drawn.looks() if look[0]]
    assert len({look[1:] for look in looks}) == len(looks)


WORDS = (
    "trigram",
    "LSTM",
    "a",
    "Kneser-Ney",
    "x" * 40,
    "日本語モデル",
    "with cache",
    "<b>&",
    "é" * 12,
)


def _any_row(random, number):
    """A model of a long or a strange name, with numbers that may be missing, equal or infinite."""
    name = " ".join(random.choices(WORDS, k=random.randint(1, 5))) + f" {number}"
    curve = [
        {
            "epoch": epoch, "seconds": random.choice([0.0, 0.001, 100 * random.random(), 1e5]),
            "train_perplexity": random.choice([None, math.inf, 1.0, 10 ** random.uniform(0, 6)]),
            "valid_perplexity": random.choice([None, 50.0, 50.0, 10 ** random.uniform(0, 4)]),
        }
        for epoch in range(1, 1 + random.choice([0, 1, 1, 2, 5, 40]))
    ]  # fmt: skip
    return row(
        name, random.choice([None, math.inf, 100.0, 100.0, 1 + 100 * random.random()]),
        curve=curve, kind=random.choice(["n-gram", "net", "mixture"]),
        score_tokens_per_second=random.choice([0, 1e5, 10 ** random.uniform(0, 9)]),
        file_bytes=random.choice([0, 10**6, 10**9, int(10 ** random.uniform(2, 10))]),
    )  # fmt: skip


@pytest.mark.parametrize("seed", [0, 1, 5, 10, 27, 38, 103, 120, 129])
def test_texts_of_any_models_stand_apart_and_inside(seed):
    random = Random(seed)
    rows = [_any_row(random, number) for number in range(random.choice([1, 3, 8, 17, 30]))]
    for width in (320, 420, 680):
        for draw in (plots.against_speed, plots.against_size, plots.learning_curves):
            svg = draw(rows, width)
            if svg is None:
                continue
            assert not re.search(r"[ML ]-?(nan|inf)", svg)
            drawn = Drawn(svg)
            boxes = [text_box(t.x, t.y, t.words, t.anchor, t.size) for t in drawn.texts]
            assert not [
                (drawn.texts[number].words, drawn.texts[other].words)
                for number, one in enumerate(boxes)
                for other in range(number)
                if one.overlaps(boxes[other])
            ]
            assert all(box.within(Box(*drawn.box)) for box in boxes)


def test_what_has_nothing_to_show_is_left_out(result):
    bare = replace(result, rows=[row("stupid", None)], sentences=[])
    page = Page(html.render(bare))
    assert not any(tag == "svg" for tag, _ in page.tags)
    assert "Mixture weights" not in " ".join(page.words)
    one = replace(result, rows=[row("only", 100.0)])
    assert sum(tag == "svg" for tag, _ in Page(html.render(one)).tags) == 4


def test_cells_and_shares(result):
    sentence = tables.sentences(result)[0]
    assert sentence.words == ["the", EVIL]
    assert [name for name, _, _ in sentence.rows] == [
        EVIL, "impossible", "net", "both", "hopeless",
    ]  # fmt: skip
    _, cells, mean = sentence.rows[0]
    assert (cells[0].text, cells[0].strength) == ("1.0", 1 / 16)
    assert cells[0].details == "0.5"
    assert cells[1].details == "0 (unknown)"
    assert (cells[1].text, cells[1].strength, cells[1].oov) == ("∞", 1.0, True)
    assert mean.text == "∞"
    mix = tables.mixes(result.rows)[0]
    assert mix.how == "log-linear"
    assert [(share.percent, share.weight) for share in mix.shares] == [(75, "0.900"), (25, "0.300")]
    sure = row("sure", 1.0, surprisals=[[{"word": "a", "bits": -0.0, "oov": False}]])
    assert tables.sentences(replace(result, rows=[sure]))[0].rows[0][1][0].text == "0.0"


def test_bars_and_the_best(result):
    lines = tables.lines(result.rows)
    assert [line.best for line in lines] == [False, False, False, False, True, False]
    assert lines[4].bar == pytest.approx(0.04)
    assert lines[5].bar == 1
    assert lines[1].bar is None
    assert lines[1].cells[1] == "∞"
    assert lines[2].cells[1] == "-"


def test_results_are_read_back(result, tmp_path):
    import json

    path = tmp_path / "results.json"
    path.write_text(json.dumps(asdict(result)))
    assert read_results(path) == result
    write_report(read_results(path), tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    path.write_text("[]")
    with pytest.raises(FormatError, match=r"results\.json: holds no results of unrolled compare"):
        read_results(path)
    with pytest.raises(FormatError, match="cannot be read"):
        read_results(tmp_path / "none.json")


def test_without_the_extra_it_says_how_to_get_it(result, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match="jinja2 is not installed. Run: pip install"):
        write_report(result, tmp_path / "report.html")
    assert not list(tmp_path.iterdir())
