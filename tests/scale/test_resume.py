"""A run that is stopped goes on after its last finished phase, or leaves nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unrolled import load
from unrolled.ngram.counts.count_files import write_counts
from unrolled.ngram.counts.counting import count_ngrams
from unrolled.ngram.editing.quantization import quantize
from unrolled.ngram.training import ngram_config, train_on_corpus, train_on_counts
from unrolled.scale import counts_training
from unrolled.scale.clock import Clock
from unrolled.scale.estimator import count_levels, estimated_arrays
from unrolled.storage.work_folder import WorkFolder
from unrolled.text.corpus import read_corpus

TEXTS = [" ".join(f"w{number * step % 23}" for step in range(9)) for number in range(200)]


class StoppedError(Exception):
    pass


def arrays_of(
    parent: Path, stop_at: str, smoothing: str, resume: bool, quantized: bool = False
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
        arrays, _ = estimated_arrays(
            files, config, corpus.word_counts, quantized=quantized, **shared
        )
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
@pytest.mark.parametrize("stop_at", ["choosing", *(f"rounding order {n}" for n in (2, 3, 5))])
def test_stopped_quantizing_goes_on(tmp_path: Path, stop_at: str) -> None:
    with pytest.raises(StoppedError):
        arrays_of(tmp_path, stop_at, "katz", resume=False, quantized=True)
    arrays, begun = arrays_of(tmp_path, "", "katz", resume=True, quantized=True)
    assert begun[0].startswith(stop_at)
    config = ngram_config({"order": 5, "smoothing": "katz", "prune": (0, 0, 1)})
    expected = quantize(train_on_corpus(read_corpus(texts=TEXTS), config))
    for name, array in expected.trie.arrays().items():
        assert arrays[name].tobytes() == array.tobytes(), name


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


STAGES = ["reading counts from", *(f"completing n-grams of order {n}" for n in (4, 3, 2)),
          "sorting n-grams", "estimating order 1", "estimating order 3"]  # fmt: skip


@pytest.mark.parametrize("stop_at", STAGES)
def test_stopped_training_on_count_files_goes_on(
    tmp_path: Path, stop_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = [tmp_path / "one", tmp_path / "two"]
    for source, texts in zip(sources, (TEXTS[:120], TEXTS[90:]), strict=True):
        corpus = read_corpus(texts=texts)
        counts = count_ngrams(corpus.ids, 4, len(corpus.vocabulary))
        write_counts(counts, corpus.vocabulary, source)
    monkeypatch.setattr(counts_training, "_fit", lambda sources, budget: False)
    target, begun = tmp_path / "m", list[str]()
    settings: dict[str, Any] = {"weights": [1, 2], "smoothing": "witten-bell"}

    def stopping(stage: str) -> None:
        begun.append(stage)
        if stage.startswith(stop_at) and len(begun) > 1:
            raise StoppedError

    def train(report: Any, **more: Any) -> None:
        with counts_training.counts_training(
            sources, target, report=report, **settings, **more
        ) as trained:
            trained.model.save(target)

    with pytest.raises(StoppedError):
        train(stopping)
    assert begun[-1].startswith("finished phases stay in ")
    first = begun.copy()
    begun.clear()
    train(begun.append, resume=True)
    assert begun[0].startswith(stop_at)
    assert not set(begun) & set(first[:-2])
    expected = train_on_counts(sources, **settings)
    found: Any = load(target)
    for name, array in expected.arrays().items():
        assert found.arrays()[name].tobytes() == array.tobytes(), name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "one", "two"]


def test_stopped_merging_of_count_files_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = read_corpus(texts=TEXTS)
    source, target = tmp_path / "one", tmp_path / "merged"
    counts = count_ngrams(corpus.ids, 4, len(corpus.vocabulary))
    write_counts(counts, corpus.vocabulary, source)
    monkeypatch.setattr(counts_training, "_fit", lambda sources, budget: False)

    def stopping(stage: str) -> None:
        if stage.startswith("writing"):
            raise StoppedError

    with pytest.raises(StoppedError):
        counts_training.merge_counts_into_file(source, target, report=stopping)
    begun: list[str] = []
    counts_training.merge_counts_into_file(source, target, report=begun.append, resume=True)
    assert begun == [f"writing {target}"]
    assert target.read_bytes() == source.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["merged", "one"]
