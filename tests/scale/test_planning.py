"""What training takes is foreseen within a factor of two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unrolled
from unrolled.errors import TextError
from unrolled.ngram.training import train_on_counts
from unrolled.scale import counts_planning, planning
from unrolled.scale.budget import Budget
from unrolled.scale.clock import Clock
from unrolled.scale.count_files import read_counts_within
from unrolled.scale.counts_planning import plan_counts
from unrolled.scale.estimator import count_levels, estimated_arrays
from unrolled.scale.planning import plan_ngram
from unrolled.storage.work_folder import WorkFolder
from unrolled.text.demo_text import demo_text

pytestmark = pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(demo_text(tmp_path_factory.mktemp("demo")).train)


def within_two(foreseen: float, found: float) -> bool:
    return found / 2 <= foreseen <= 2 * found


@pytest.mark.parametrize("settings", [{"order": 5}, {"order": 3, "min_count": 2}])
def test_sizes_from_an_eighth_of_a_text(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    monkeypatch.setattr(planning, "SAMPLE_BYTES", text.stat().st_size // 8)
    plan = plan_ngram(text, **settings)
    model = unrolled.train_ngram(text, **settings)
    model.save(tmp_path / "m.safetensors")
    assert plan.sampled < plan.tokens / 6
    assert within_two(plan.tokens, model.provenance["text"]["tokens"])
    for foreseen, found in zip(plan.ngrams, np.diff(model.trie.levels), strict=True):
        assert within_two(foreseen, found)
    assert within_two(plan.model, (tmp_path / "m.safetensors").stat().st_size)
    assert within_two(plan.vocabulary, len(model.vocabulary))
    assert plan.disk == 0
    assert plan.seconds > 0


def test_temporary_files_of_a_small_budget(text: Path, tmp_path: Path) -> None:
    plan = plan_ngram(text, memory="1M")
    assert plan.disk > 0
    corpus = unrolled.read_corpus(text)
    largest = 0
    with WorkFolder(tmp_path, {}) as folder:

        def seen(stage: str = "") -> None:
            nonlocal largest
            files = [path.stat().st_size for path in folder.path.rglob("*") if path.is_file()]
            largest = max(largest, sum(files))

        clock = Clock(seen, folder, corpus.tokens, 5)
        shared: dict[str, Any] = {"threads": 1, "folder": folder, "room": 1 << 26, "clock": clock}
        files = count_levels([corpus.ids].__iter__, corpus.word_counts, 5, **shared)
        seen()
        config = unrolled.NgramConfig()
        arrays, _ = estimated_arrays(files, config, corpus.word_counts, **shared)
        seen()
        del arrays
    assert within_two(plan.disk, largest)


@pytest.mark.parametrize(("quantize", "ending"), [(8, ".safetensors"), (None, ".arpa.gz")])
def test_quantized_models_and_arpa_files(
    text: Path, tmp_path: Path, quantize: int | None, ending: str
) -> None:
    path, target = tmp_path / "text.txt", tmp_path / f"m{ending}"
    path.write_bytes(text.read_bytes()[:800_000])
    plan = plan_ngram(path, order=4, quantize=quantize, ending=ending)
    model = unrolled.train_ngram(path, order=4)
    if quantize:
        unrolled.quantize(model).save(target)
        usual = plan_ngram(path, order=4)
        assert plan.memory > usual.memory
    else:
        unrolled.write_arpa(model, target)
    assert within_two(plan.model, target.stat().st_size)


def test_a_cluster(text: Path, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(text.read_bytes()[:200_000])
    plan = plan_ngram(path, order=2, cluster=True)
    assert [line.split()[0] for line in plan.lines()] == ["text", "n-grams", "network", "disk"]


def test_count_files(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts, part = tmp_path / "counts", tmp_path / "text.txt"
    part.write_bytes(text.read_bytes()[:500_000])
    corpus = unrolled.read_corpus(part)
    unrolled.write_counts(
        unrolled.count_ngrams(corpus.ids, 4, len(corpus.vocabulary)), corpus.vocabulary, counts
    )
    monkeypatch.setattr(counts_planning, "SAMPLE_BYTES", counts.stat().st_size // 4)
    plan = plan_counts(counts, memory="8G")
    model = train_on_counts(counts)
    model.save(tmp_path / "m")
    assert abs(plan.ngrams[0] - len(model.vocabulary)) <= 3
    assert plan.ngrams[1:] == tuple(np.diff(model.trie.levels)[1:])
    assert plan.tokens == pytest.approx(corpus.tokens, rel=0.1)
    assert within_two(plan.model, (tmp_path / "m").stat().st_size)
    assert plan.lines()[0].startswith("counts   ")
    assert plan.disk == 0
    small = plan_counts(counts, memory="1M", order=3, quantize=8)
    largest = 0
    with WorkFolder(tmp_path, {}) as folder:

        def seen(stage: str) -> None:
            nonlocal largest
            files = [path.stat().st_size for path in folder.path.rglob("*") if path.is_file()]
            largest = max(largest, sum(files))

        read_counts_within(counts, folder, Budget(None), report=seen)
        seen("")
    assert within_two(small.disk, largest)
    assert len(small.ngrams) == 3
    with pytest.raises(TextError, match="a plan needs files"):
        plan_counts("-")


def test_compressed_files_and_the_lines_of_a_plan(text: Path, tmp_path: Path) -> None:
    import gzip

    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(text.read_bytes()[:400_000]))
    plan = plan_ngram(path, order=2, memory="8G")
    assert plan.bytes == pytest.approx(400_000, rel=0.01)
    lines = plan.lines()
    assert [line.split()[0] for line in lines] == ["text", "n-grams", "memory", "disk", "time"]
    assert lines[2].endswith("all in memory")
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    with pytest.raises(TextError, match="the text is empty"):
        plan_ngram(empty)
    with pytest.raises(TextError, match="a plan needs files"):
        plan_ngram("-")
