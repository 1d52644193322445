"""Runs that are killed or find no room: never a wrong model, nothing left after the next run."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import unrolled

pytestmark = pytest.mark.slow

TOKENS = 6_000_000
MEMORY = "420M"  # the text takes more


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(1)
    ranks = np.minimum(rng.zipf(1.2, TOKENS), 20_000)
    lines = (" ".join(f"w{rank}" for rank in line) for line in ranks.reshape(-1, 20).tolist())
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def expected(text: Path) -> dict[str, bytes]:
    return contents(unrolled.train_ngram(text))


def contents(model: unrolled.NgramModel) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in model.arrays().items()}


def command(text: Path, output: Path, *more: str) -> list[str]:
    words = ["train", "ngram", text, "-o", output, "--memory", MEMORY, *more]
    return [sys.executable, "-m", "unrolled", *map(str, words)]


def check_model(output: Path, expected: dict[str, bytes]) -> None:
    assert contents(unrolled.load(output)) == expected


def test_kill_9_at_20_moments(text: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    output, rng = tmp_path / "model.safetensors", random.Random(7)
    begin = time.monotonic()
    subprocess.run(command(text, output), check=True, capture_output=True)
    seconds = time.monotonic() - begin
    check_model(output, expected)
    for turn in range(20):
        output.unlink(missing_ok=True)
        process = subprocess.Popen(
            command(text, output, *["--resume"] * (turn % 2)), stderr=subprocess.DEVNULL
        )
        time.sleep(rng.uniform(0.3, seconds))
        process.send_signal(signal.SIGKILL)
        process.wait()
        if output.exists():
            check_model(output, expected)
        if turn % 4 == 3:
            subprocess.run(command(text, output, "--resume"), check=True, capture_output=True)
            check_model(output, expected)
            assert [path.name for path in tmp_path.iterdir()] == [output.name]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals(text: Path, tmp_path: Path, number: int) -> None:
    output = tmp_path / "model.safetensors"
    for seconds in (0.5, 1.5, 3.0):
        process = subprocess.Popen(command(text, output), stderr=subprocess.PIPE)
        time.sleep(seconds)
        process.send_signal(number)
        _, errors = process.communicate(timeout=10)
        assert process.returncode == 128 + number
        assert b"Traceback" not in errors
        assert not output.exists()
    small = tmp_path / "small.txt"
    small.write_text("a b c\n")
    subprocess.run(command(small, output), check=True, capture_output=True)
    assert {path.name for path in tmp_path.iterdir()} == {small.name, output.name}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, to be mounted with a size."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("megabytes", [1, 15, 30, 60, 90, 120, 150, 200, 240, 280])
def test_a_full_disk(
    text: Path, expected: dict[str, bytes], small_disk: Path, megabytes: int
) -> None:
    output = small_disk / "model.safetensors"
    _resize(small_disk, megabytes)
    found = subprocess.run(command(text, output), capture_output=True, text=True, check=False)
    if found.returncode == 0:
        check_model(output, expected)
        return
    assert found.returncode == 2
    sentence = found.stderr.splitlines()[-1]
    assert "the disk is full: " in sentence
    assert "are needed and " in sentence
    assert not output.exists()
    _resize(small_disk, 1000)
    resumed = subprocess.run(command(text, output, "--resume"), capture_output=True, check=False)
    assert resumed.returncode == 0
    check_model(output, expected)
    assert list(small_disk.iterdir()) == [output]


def _resize(folder: Path, megabytes: int) -> None:
    how = f"remount,size={megabytes}m"
    subprocess.run(["mount", "-o", how, str(folder)], check=True)
