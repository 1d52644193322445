"""Compiling ahead runs in a process whose errors nobody sees: here they would be."""

from __future__ import annotations

import gc

from unrolled import first_use


def test_everything_that_is_compiled_ahead_runs() -> None:
    before = gc.get_threshold()
    first_use.compile_all()
    assert gc.get_threshold() == before


def test_garbage_is_looked_for_less_often_meanwhile() -> None:
    before = gc.get_threshold()
    with first_use.rare_collections():
        assert gc.get_threshold()[0] > before[0]
    assert gc.get_threshold() == before
