"""The order of the tests, and no deadlines: the first call of a kernel compiles."""

from __future__ import annotations

import pytest
from hypothesis import settings

settings.register_profile("no-deadlines", deadline=None)
settings.load_profile("no-deadlines")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The README's tour first: it takes minutes, and other tests run beside it."""
    items.sort(key=lambda item: item.path.name != "test_readme.py")
