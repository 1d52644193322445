"""A run that is stopped goes on after its last finished phase, or leaves nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unrolled.ngram.training import ngram_config, train_on_corpus
from unrolled.scale.clock import Clock
from unrolled.scale.estimator import count_levels, estimated_arrays
from unrolled.storage.work_folder import WorkFolder
from unrolled.text.corpus import read_corpus

TEXTS = [" ".join(f"w{number * step % 23}" for step in range(9)) for number in range(200)]


class StoppedError(Exception):
    pass


def arrays_of(
    parent: Path, stop_at: str, smoothing: str, resume: bool
) -> tuple[dict[str, Any], list[str]]:
    """The model's arrays and the phases that were begun; stops as ``stop_at`` begins."""
    begun: list[str] = []

    def report(stage: str) -> None:
        if stop_at and stage.startswith(stop_at):
            raise StoppedError
        begun.append(stage)

    config = ngram_config({"order": 5, "smoothing": smoothing, "prune": (0, 0, 1)})
    corpus = read_corpus(texts=TEXTS)
    with WorkFolder(parent, {"smoothing": smoothing}, resume=resume) as folder:
        shared: dict[str, Any] = {
            "folder": folder,
            "room": 3000,
            "threads": 2,
            "clock": Clock(report, folder, 0, 5),
        }
        pieces = np.array_split(corpus.ids, 3)
        files = count_levels(pieces.__iter__, corpus.word_counts, 5, **shared)
        arrays, _ = estimated_arrays(files, config, corpus.word_counts, **shared)
        return {
            name: made if isinstance(made, np.ndarray) else np.concatenate(list(made))
            for name, made in arrays.items()
        }, begun


@pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")
@pytest.mark.parametrize("smoothing", ["modified-kneser-ney", "katz", "additive"])
@pytest.mark.parametrize("stop_at", [f"estimating order {length}" for length in (1, 2, 3, 4, 5)])
def test_a_stopped_run_goes_on(tmp_path: Path, smoothing: str, stop_at: str) -> None:
    with pytest.raises(StoppedError):
        arrays_of(tmp_path, stop_at, smoothing, resume=False)
    assert len(list(tmp_path.iterdir())) == 1
    arrays, begun = arrays_of(tmp_path, "", smoothing, resume=True)
    assert begun[0].startswith(stop_at)
    config = ngram_config({"order": 5, "smoothing": smoothing, "prune": (0, 0, 1)})
    expected = train_on_corpus(read_corpus(texts=TEXTS), config)
    for name, array in expected.trie.arrays().items():
        assert arrays[name].tobytes() == array.tobytes(), name
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")
def test_a_run_that_does_not_resume_removes_what_was_left(tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        arrays_of(tmp_path, "estimating order 3", "katz", resume=False)
    _, begun = arrays_of(tmp_path, "", "katz", resume=False)
    assert begun[0].startswith("counting")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")
def test_other_work_is_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        arrays_of(tmp_path, "estimating order 3", "katz", resume=False)
    _, begun = arrays_of(tmp_path, "", "absolute", resume=True)
    assert begun[0].startswith("counting")
    assert list(tmp_path.iterdir()) == []
