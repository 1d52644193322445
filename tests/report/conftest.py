"""A comparison, for tests of its report."""

from __future__ import annotations

import pytest

from report.comparisons import small_comparison
from unrolled.comparison.compare import Comparison


@pytest.fixture
def result() -> Comparison:
    """A few models."""
    return small_comparison()
