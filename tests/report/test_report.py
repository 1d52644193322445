"""The report: numbers in their places, text that stays text, nothing fetched or run."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import asdict, replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from unrolled.comparison.compare import Comparison, Row
from unrolled.errors import FormatError, MissingExtraError
from unrolled.report import html, plots, read_results, tables, write_report

EVIL = "<script>alert('x')</script> & \"$x_1$\" {{ 7 * 7 }}"
CURVE = [
    {"epoch": 1, "seconds": 5.0, "train_perplexity": 300.0, "valid_perplexity": 250.0},
    {"epoch": 2, "seconds": 9.5, "train_perplexity": None, "valid_perplexity": 180.0},
]


def row(name, test, **settings):
    tokens = [{"word": "the", "bits": 1.0, "oov": False}, {"word": EVIL, "bits": None, "oov": True}]
    given = {
        "name": name, "valid_perplexity": test, "test_perplexity": test, "line": f"ppl of {name}",
        "train_seconds": 75.0, "train_tokens_per_second": 1e5, "score_tokens_per_second": 2e6,
        "parameters": 12345, "file_bytes": 2_500_000, "peak_bytes": 9**9, "settings": {},
        "surprisals": [tokens] if test else [],
    }  # fmt: skip
    return Row(**{**given, **settings})


@pytest.fixture
def result():
    rows = [
        row(EVIL, 150.0, score_tokens_per_second=9e6, file_bytes=10**6),
        row("impossible", math.inf),
        row("stupid", None),
        row("net", 104.0, kind="net", curve=CURVE, score_tokens_per_second=1e4),
        row("both", 100.0, kind="mixture", settings={"how": "log-linear"}, file_bytes=4 * 10**6,
            weights=[{"model": "net", "weight": 0.9}, {"model": EVIL, "weight": 0.3}]),
        row("hopeless", 4000.0),
    ]  # fmt: skip
    texts = {"train": {"name": EVIL, "bytes": 1000, "crc32": "00c0ffee"}}
    return Comparison(rows, texts, {"cores": 2}, {"min_count": 2}, [f"the {EVIL}"])


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
    assert sum(tag == "svg" for tag, _ in page.tags) == 3
    assert ("tr", {"class": "best", "title": "ppl of both"}) in page.tags


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
    for _, attributes in page.tags:
        for value in attributes.values():
            for target in re.findall(r"(?:url\(#|^#)([\w-]+)", value or ""):
                assert target in ids or value.startswith("#0"), target


def test_the_pictures_are_xml_and_follow_the_pages_colours(result):
    for svg in (
        plots.against_speed(result.rows),
        plots.against_size(result.rows),
        plots.learning_curves(result.rows),
    ):
        ElementTree.fromstring(svg)
        assert "var(--ink)" in svg
        assert not re.search(r"#(?:0a0b|0102|0405)", svg)
        assert "#000000" not in svg
    speed = plots.against_speed(result.rows)
    assert "<title>net: perplexity 104.00, 10,000 tokens scored a second</title>" in speed


def test_what_has_nothing_to_show_is_left_out(result):
    bare = replace(result, rows=[row("stupid", None)], sentences=[])
    page = Page(html.render(bare))
    assert not any(tag == "svg" for tag, _ in page.tags)
    assert "Mixture weights" not in " ".join(page.words)
    one = replace(result, rows=[row("only", 100.0)])
    assert sum(tag == "svg" for tag, _ in Page(html.render(one)).tags) == 2


def test_cells_and_shares(result):
    sentence = tables.sentences(result)[0]
    assert sentence.words == ["the", EVIL]
    assert [name for name, _, _ in sentence.rows] == [
        EVIL, "impossible", "net", "both", "hopeless",
    ]  # fmt: skip
    _, cells, mean = sentence.rows[0]
    assert (cells[0].text, cells[0].strength) == ("1.0", 1 / 16)
    assert cells[0].hover == "the: 1.00 bits, probability 0.5"
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


@pytest.mark.parametrize("package", ["matplotlib", "jinja2"])
def test_without_the_extra_it_says_how_to_get_it(result, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=f"{package} is not installed. Run: pip install"):
        write_report(result, tmp_path / "report.html")
    assert not list(tmp_path.iterdir())


def test_matplotlibs_settings_stay_as_they_are(result):
    import matplotlib

    before = dict(matplotlib.rcParams)
    html.render(result)
    assert dict(matplotlib.rcParams) == before
