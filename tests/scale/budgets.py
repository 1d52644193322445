"""Budgets of memory for tests, whose process has run other tests before."""

from __future__ import annotations

from unrolled.runtime.memory import resident_memory
from unrolled.runtime.threads import return_memory


def budget_with(megabytes: int) -> int:
    """A budget in bytes that leaves so many megabytes beyond what this process has."""
    return_memory()  # of tests before, which would count as room a moment later
    return resident_memory() + (megabytes << 20)
