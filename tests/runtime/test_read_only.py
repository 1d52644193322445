"""A copy of the package that its user cannot write to, without a home: services, containers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import unrolled

NOBODY = 65534
NOTE = "note: compiled kernels cannot be cached"


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user can read, with a copy of the package, a text and a model."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        source = Path(unrolled.__file__).parent
        shutil.copytree(source, folder / "unrolled", ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "text").write_text("a b\nb a\n")
        model = unrolled.train_ngram(texts=["a b", "b a"], order=2, smoothing="witten-bell")
        model.save(folder / "model")
        (folder / "model").chmod(0o644)
        yield folder
        _set_writable(folder / "unrolled", True)


def _set_writable(folder: Path, writable: bool) -> None:
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o755 if writable else 0o555)


def run(place: Path, *words: str) -> tuple[str, str]:
    """The command's output and messages, as the user nobody where the tests run as root."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")
    }
    environment |= {"HOME": "/nonexistent", "PYTHONPATH": str(place)}
    command = [sys.executable, "-m", "unrolled", *words]
    if os.geteuid() == 0:
        prefix = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        trial = [*prefix, sys.executable, "-c", ""]
        if not shutil.which("setpriv") or subprocess.run(trial, check=False).returncode:
            pytest.skip("setpriv is not there, or the user nobody cannot run this Python")
        command = [*prefix, *command]
    done = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_commands_work_compiled_in_memory_and_a_note_says_what_to_set(place: Path) -> None:
    _set_writable(place / "unrolled", False)
    output, messages = run(place, "evaluate", "model", "text")
    assert output.startswith("ppl ")
    assert messages.count(NOTE) == messages.count("set NUMBA_CACHE_DIR to a folder") == 1
    assert "unrolled compile" not in messages  # which would be of no use
    output, messages = run(place, "train", "ngram", "text", "--order", "1", "-o", "/dev/null")
    assert messages.count(NOTE) == 1
    assert not list((place / "unrolled").rglob("__pycache__"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a command as another user")
def test_what_root_owns_serves_all_users(place: Path) -> None:
    """As in an image of a container in which root has compiled."""
    package = place / "unrolled"
    _give_to(NOBODY, package)
    output, messages = run(place, "evaluate", "model", "text")
    assert "note: compiling kernels" in messages
    _give_to(0, package)
    again, messages = run(place, "evaluate", "model", "text")
    assert again == output
    assert "note" not in messages


def _give_to(user: int, folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user, user)
