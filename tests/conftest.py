"""The order of the tests."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The README's tour first: it takes minutes, and other tests run beside it."""
    items.sort(key=lambda item: item.path.name != "test_readme.py")
