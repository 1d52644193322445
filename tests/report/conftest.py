"""A comparison, and a real browser, for tests that look at pages and pictures as a reader does."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from report.comparisons import small_comparison
from unrolled.comparison.compare import Comparison


@pytest.fixture
def result() -> Comparison:
    """A few models."""
    return small_comparison()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium as the system installs it."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no chromium is installed")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()
