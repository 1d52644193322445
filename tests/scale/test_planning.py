"""What training takes is foreseen within a factor of two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unrolled
from unrolled.errors import TextError
from unrolled.scale import planning
from unrolled.scale.clock import Clock
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
