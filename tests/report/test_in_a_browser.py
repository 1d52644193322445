"""Pictures and the report as a browser shows them: on light and dark pages, on narrow screens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from unrolled.comparison.compare import Comparison
from unrolled.report import plots, write_report

DOCS = Path(__file__).parents[2] / "docs"
PICTURES = sorted([*DOCS.glob("*.svg"), *DOCS.glob("gradients/*.svg")])

# Boxes of all texts, and points along all lines but grids and leaders, in the page's pixels.
LAYOUT = """() => [...document.querySelectorAll('svg')].map(svg => {
  const box = e => { const b = e.getBoundingClientRect();
    return [b.left, b.top, b.right, b.bottom]; };
  const points = [];
  for (const path of svg.querySelectorAll('g.line path[fill=none], path.front')) {
    const length = path.getTotalLength(), move = path.getScreenCTM();
    for (let at = 0; at <= length; at += 3) {
      const p = path.getPointAtLength(at).matrixTransform(move);
      points.push([p.x, p.y]);
    }
  }
  return {frame: box(svg), points,
    texts: [...svg.querySelectorAll('text')].map(e => [e.textContent, ...box(e)]),
    inks: [...new Set([...svg.querySelectorAll('text')].map(
      e => getComputedStyle(e).fill + ' edged ' + getComputedStyle(e).stroke))]};
})"""


def _page(browser: Any, width: int, scheme: str, content: str) -> Any:
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.set_content(content)
    return page


def _check_layout(layout: dict[str, Any], name: str) -> None:
    left, top, right, bottom = layout["frame"]
    texts = layout["texts"]
    assert texts, name
    for number, (words, *box) in enumerate(texts):
        inside = box[0] >= left - 0.6 and box[1] >= top - 0.6
        assert inside and box[2] <= right + 0.6 and box[3] <= bottom + 0.6, (name, words, box)
        for other, *theirs in texts[:number]:
            # A line box has room above and below its letters: only these must stand apart.
            high, low = box[1] + 0.2 * (box[3] - box[1]), box[3] - 0.2 * (box[3] - box[1])
            over = box[0] < theirs[2] - 0.5 and theirs[0] < box[2] - 0.5
            over = over and high < theirs[3] - 0.2 * (theirs[3] - theirs[1])
            assert not (over and theirs[1] + 0.2 * (theirs[3] - theirs[1]) < low), (
                name, words, other,
            )  # fmt: skip
        crossed = [
            point
            for point in layout["points"]
            if box[0] + 0.5 < point[0] < box[2] - 0.5
            and box[1] + 0.25 * (box[3] - box[1]) < point[1] < box[3] - 0.25 * (box[3] - box[1])
        ]
        assert not crossed, (name, words, crossed[:3])


def test_names_of_every_committed_picture_stand_apart_off_the_curves(browser: Any) -> None:
    assert len(PICTURES) >= 12
    content = "".join(path.read_text(encoding="utf-8") for path in PICTURES)
    inks = {}
    for scheme in ("light", "dark"):
        page = _page(browser, 460, scheme, content)
        layouts = page.evaluate(LAYOUT)
        page.close()
        for path, layout in zip(PICTURES, layouts, strict=True):
            _check_layout(layout, path.name)
        inks[scheme] = {ink for layout in layouts for ink in layout["inks"]}
    # Dark with a light edge and the other way round: readable on a page of either kind.
    assert inks == {
        "light": {"rgb(36, 39, 45) edged rgb(255, 255, 255)"},
        "dark": {"rgb(228, 230, 234) edged rgb(27, 30, 35)"},
    }


@pytest.mark.parametrize("width", [320, 680])
def test_names_in_the_reports_pictures_stand_apart(
    browser: Any,
    result: Comparison,
    width: int,
) -> None:
    drawn = [
        draw(result.rows, width)
        for draw in (plots.against_speed, plots.against_size, plots.learning_curves)
    ]
    page = _page(browser, width + 20, "light", "".join(text or "" for text in drawn))
    for number, layout in enumerate(page.evaluate(LAYOUT)):
        _check_layout(layout, f"picture {number}")
    page.close()


def test_pictures_have_no_background_and_no_other_colours_in_the_dark(
    browser: Any, tmp_path: Path
) -> None:
    """As files in a page: the page shows through at the corners, and text is light on dark."""
    path = next(path for path in PICTURES if path.name == "comparison.svg")
    page = browser.new_page(viewport={"width": 460, "height": 400}, color_scheme="dark")
    html = f"<body style='margin:0;background:#102030'><img src='{path.name}'>"
    (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "page.html").write_text(html)
    page.goto(f"file://{tmp_path}/page.html")
    seen = page.evaluate("""async () => {
      const image = document.images[0];
      await image.decode();
      const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
      const drawing = canvas.getContext('2d');
      drawing.drawImage(image, 0, 0);
      try { return [...drawing.getImageData(1, 1, 1, 1).data]; } catch { return null; }
    }""")
    shot = page.screenshot(clip={"x": 0, "y": 0, "width": 4, "height": 4})
    page.close()
    assert seen in (None, [0, 0, 0, 0])  # a browser may forbid to read a file's pixels
    assert len(shot) < 120  # one colour


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (500, "dark"), (1200, "light")])
def test_the_report_is_usable_at_any_width(
    browser: Any,
    result: Comparison,
    tmp_path: Path,
    width: int,
    scheme: str,
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    write_report(result, tmp_path / "report.html")
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.goto(f"file://{tmp_path}/report.html")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # What is wider than its frame scrolls, is reached by keyboard, and is announced.
    for region in page.locator(".wide").all():
        if region.evaluate("e => e.scrollWidth > e.clientWidth + 1"):
            assert region.get_attribute("tabindex") == "0"
            assert region.get_attribute("aria-label")
    # And a hint above says that it scrolls; without need of it there is none.
    for frame in page.locator(".scrolling").all():
        scrolls = frame.locator("> .wide").evaluate("e => e.scrollWidth > e.clientWidth + 1")
        hint = frame.locator(".sideways")
        assert hint.is_visible() == scrolls
        assert hint.evaluate("e => e.clientHeight > 10") == scrolls
    for details in page.locator("details").all():
        details.locator("summary").focus()
        page.keyboard.press("Enter")
        assert details.evaluate("e => e.open")
    shown = page.locator("svg:visible").count()
    assert shown == 3
    found = axe.run(page)
    page.close()
    assert found.violations_count == 0, found.generate_report()


def test_nothing_is_told_only_to_those_who_point(
    browser: Any,
    result: Comparison,
    tmp_path: Path,
) -> None:
    write_report(result, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert 'title="' not in text
    page = browser.new_page()
    page.goto(f"file://{tmp_path}/report.html")
    hints = page.evaluate("""() => [...document.querySelectorAll('g.point > title')]
      .map(e => e.textContent)""")
    table = page.locator(".models").inner_text()
    page.close()
    for hint in hints:
        assert hint.split(": perplexity ")[1].split(",")[0] in table
