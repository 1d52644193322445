"""The order of the tests, a browser, and no deadlines: the first call of a kernel compiles."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("no-deadlines", deadline=None)
settings.load_profile("no-deadlines")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The README's tour first: it takes minutes, and other tests run beside it."""
    items.sort(key=lambda item: item.path.name != "test_readme.py")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium as the system installs it; one for all tests, as a process can start one only."""
    api = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("there is no Chromium")
    with api.sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        started = playwright.chromium.launch(executable_path=path, args=arguments)
        yield started
        started.close()
