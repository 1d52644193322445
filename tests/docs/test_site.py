"""The guide builds strictly, which finds dead links and anchors, and asks no other server."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path

import pytest

import unrolled

ROOT = Path(__file__).parents[2]

pytest.importorskip("mkdocs", reason="the guide needs the extra docs")
pytest.importorskip("mkdocstrings", reason="the guide needs the extra docs")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return folder


def test_the_api_pages_hold_every_public_name(site: Path) -> None:
    # Four lines of head, then compressed lines: name, domain:role, priority, address, title.
    packed = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    described = {line.split()[0] for line in zlib.decompress(packed).decode().splitlines()}
    assert {f"unrolled.{name}" for name in unrolled._HOMES} <= described


def test_no_name_is_described_twice() -> None:
    pages = sorted((ROOT / "docs/api").glob("*.md"))
    lines = [line for page in pages for line in page.read_text().splitlines()]
    names = [line for line in lines if line.startswith(":::")]
    assert len(names) > 50
    assert [name for name in names if names.count(name) > 1] == []


class _Requests(HTMLParser):
    """What a browser loads by itself when it opens a page; `found` holds addresses elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        address = given.get("src") or (tag == "link" and given.get("href")) or ""
        if address.startswith(("http:", "https:", "//")):
            self.found.append(address)


def test_a_page_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 5
    for page in pages:
        requests = _Requests()
        requests.feed(page.read_text(encoding="utf-8"))
        assert requests.found == [], page
    for style in site.rglob("*.css"):
        assert "url(http" not in style.read_text(encoding="utf-8"), style
