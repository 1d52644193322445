"""Readers of text formats: good files, files that once failed, and a few hundred broken ones."""

from __future__ import annotations

import contextlib
import random
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz import fuzz_readers
from fuzz.fuzz_readers import CORPUS, READERS, attempt, one_round
from unrolled.errors import UnrolledError


@pytest.fixture(scope="module", autouse=True)
def compiled(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What a reader compiles at its first use may take longer than a file may."""
    for name, reader in READERS.items():
        path = tmp_path_factory.mktemp(name) / f"first{reader.suffix}"
        path.write_bytes(reader.contents[0])
        with contextlib.suppress(UnrolledError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.read(path)


@pytest.mark.parametrize("name", READERS)
def test_good_files_are_read(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    outcomes = []
    for number, content in enumerate(reader.contents):
        path = tmp_path / f"{number}{reader.suffix}"
        path.write_bytes(content)
        outcomes.append(attempt(reader, path))
    # Tags that are numbers have no names in a file alone.
    assert outcomes.count("read") >= len(outcomes) - (name == "columns")


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*/*.*")), ids=lambda path: path.name)
def test_files_that_once_failed(path: Path) -> None:
    attempt(READERS[path.parent.name], path)


@pytest.mark.parametrize("name", READERS)
@settings(
    max_examples=100, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(seed=st.integers(0, 2**32))
def test_broken_files_are_read_or_refused(
    name: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz_readers, "CORPUS", tmp_path / "corpus")
    one_round(name, random.Random(seed), tmp_path)
