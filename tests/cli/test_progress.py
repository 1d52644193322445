"""What a command loads before it begins."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import unrolled

START = """
import sys
from unrolled.cli.progress import compiling_announced
with compiling_announced():
    from unrolled.text.vocabulary import Vocabulary
    Vocabulary.from_words(["a"]).encode("a")  # a kernel
assert "numba.np.arraymath" in sys.modules
assert not [name for name in sys.modules if name.split(".")[0] == "scipy"]
import scipy.linalg
with compiling_announced():
    assert "scipy.linalg" in sys.modules
"""


def test_a_command_starts_without_scipy_and_can_load_it_later() -> None:
    pytest.importorskip("scipy")
    environment = {**os.environ, "PYTHONPATH": str(Path(unrolled.__file__).parent.parent)}
    subprocess.run([sys.executable, "-c", START], check=True, env=environment)
