"""Compiling ahead runs in a process whose errors nobody sees: here they would be."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import unrolled
from unrolled import compilation as first_use

ALL_READY = """
import sys
from unrolled.compilation import compile_all
from unrolled.runtime.cached_kernels import KeptKernel
compile_all()
modules = [module for name, module in sys.modules.items() if name.startswith("unrolled")]
kept = {kernel for module in modules for kernel in vars(module).values()
        if isinstance(kernel, KeptKernel)}
print(len(kept), [kernel.name for kernel in kept if kernel._function is None])
"""


def test_everything_that_is_compiled_ahead_runs() -> None:
    before = gc.get_threshold()
    first_use.compile_all()
    assert gc.get_threshold() == before


def test_every_kept_kernel_is_compiled_ahead() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(unrolled.__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", ALL_READY], capture_output=True, text=True, env=environment
    )
    assert done.stdout == "4 []\n", done.stderr


def test_garbage_is_looked_for_less_often_meanwhile() -> None:
    before = gc.get_threshold()
    with first_use.rare_collections():
        assert gc.get_threshold()[0] > before[0]
    assert gc.get_threshold() == before
