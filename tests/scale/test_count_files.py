"""Count files over temporary files give the models and the merged counts of those in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.scale.budgets import budget_with

import unrolled
from unrolled.errors import FormatError, SettingError, UnrolledError
from unrolled.ngram.counts.count_files import read_counts, write_counts
from unrolled.ngram.estimation.config import SMOOTHING_NAMES
from unrolled.ngram.training import ngram_config, train_on_counts
from unrolled.scale.budget import Budget
from unrolled.scale.clock import Clock
from unrolled.scale.count_files import read_counts_within
from unrolled.scale.counting import write_columns
from unrolled.scale.counts_training import counts_training, merge_counts_into_file
from unrolled.scale.estimator import estimated_arrays
from unrolled.storage.work_folder import WorkFolder
from unrolled.text.vocabulary import Vocabulary

WORDS = [f"w{number}" for number in range(30)]
SHARES = 1 / np.arange(1, 31)

pytestmark = pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")


def counts_file(path: Path, seed: int, order: int = 4, lines: int = 120) -> Path:
    rng = np.random.default_rng(seed)
    shares = SHARES / SHARES.sum()
    texts = [" ".join(rng.choice(WORDS, rng.integers(0, 12), p=shares)) for _ in range(lines)]
    corpus = unrolled.read_corpus(texts=texts)
    counts = unrolled.count_ngrams(corpus.ids, order, len(corpus.vocabulary))
    write_counts(counts, corpus.vocabulary, path)
    return path


def whole(source: Any) -> Any:
    return source if isinstance(source, np.ndarray) else np.concatenate(list(source))


def check_same(folder: Path, sources: list[Path], *, rows: int = 1, **chosen: Any) -> None:
    """Model and merged counts over ranges of so many rows have the bytes of those in memory."""
    settings = {name: value for name, value in chosen.items() if name not in ("words", "weights")}
    reading: dict[str, Any] = {"order": chosen.get("order"), "weights": chosen.get("weights")}
    if "words" in chosen:
        reading["vocabulary"] = Vocabulary.from_words(chosen["words"])
    own, words = read_counts(sources, **reading)
    write_counts(own, words, folder / "expected")
    given = {name: reading[name] for name in ("vocabulary", "weights") if name in reading}
    expected = train_on_counts(sources, **given, **settings)
    with WorkFolder(folder, {}) as work:
        files, vocabulary, counts = read_counts_within(
            sources, work, Budget(None), rows_at_once=rows, report=lambda stage: None, **reading
        )
        assert list(vocabulary) == list(words)
        write_columns(files, counts, vocabulary, 1000, folder / "found")
        config = ngram_config({**settings, "order": files.order})
        arrays, rules = estimated_arrays(
            files, config, counts, folder=work, room=3000, threads=2,
            clock=Clock(lambda stage: None, work, 0, files.order),
        )  # fmt: skip
        made = {name: whole(source) for name, source in arrays.items()}
    assert (folder / "found").read_bytes() == (folder / "expected").read_bytes()
    assert expected.provenance == expected.provenance | rules.record()
    for name, array in expected.trie.arrays().items():
        assert made[name].dtype == array.dtype
        assert made[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize(
    ("order", "smoothing", "prune"),
    [
        (1, "absolute", ()), (2, "katz", ()), (3, "additive", ()), (4, "katz", (0, 1)),
        (5, "modified-kneser-ney", (0, 0, 1)), (7, "witten-bell", ()),
    ],
)  # fmt: skip
def test_models_of_one_file(
    tmp_path: Path, order: int, smoothing: str, prune: tuple[int, ...]
) -> None:
    path = counts_file(tmp_path / "counts", order, order)
    check_same(tmp_path, [path], rows=500, smoothing=smoothing, prune=prune)


@pytest.mark.slow
@pytest.mark.parametrize("smoothing", SMOOTHING_NAMES)
@pytest.mark.parametrize("order", range(1, 8))
def test_all_of_them(tmp_path: Path, smoothing: str, order: int) -> None:
    path = counts_file(tmp_path / "counts", order, order)
    for number, prune in enumerate([(), (0, 0, 1), (0, 1, 3)]):
        check_same(tmp_path, [path], rows=10**number, smoothing=smoothing, prune=prune[:order])


def test_several_files_with_weights(tmp_path: Path) -> None:
    paths = [counts_file(tmp_path / f"counts{n}", n, order) for n, order in enumerate((3, 4, 2))]
    check_same(tmp_path, paths, rows=100)
    check_same(tmp_path, paths, rows=1, weights=[1, 3, 2], smoothing="additive")
    check_same(tmp_path, paths[:1], rows=300, weights=[7])
    check_same(tmp_path, paths, rows=10**6, order=2)


def test_given_words_and_lines_in_any_order(tmp_path: Path) -> None:
    path = counts_file(tmp_path / "counts", 5)
    lines = path.read_text().splitlines()
    rng = np.random.default_rng(0)
    ngram, count = lines[50].split("\t")
    lines[50:51] = [f"{ngram} {int(count) - 1}", f"{ngram}  1"]
    path.write_text("\n".join(rng.permutation([*lines, "", "w0 w0 w0 w0 0"])))
    longest = tmp_path / "longest"
    longest.write_text("\n".join(line for line in lines if len(line.split()) in (2, 5, 6)))
    check_same(tmp_path, [path], rows=100)
    check_same(tmp_path, [path, longest], rows=200, words=WORDS[::2])
    check_same(tmp_path, [longest], rows=10)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there are no counts"),
        ("a 1\nb x", r"counts:2: 'b x' does not end in a count"),
        ("a 3\nb 3\na b 4", r"counts:1: the n-gram 'a' comes 3 times, but longer .* come 4 times"),
        ("a 9\nb 9\nc 9\na b c 4\nb c 2", r"counts:5: the n-gram 'b c' comes 2 times, but longer"),
        ("a 4294967296", "the n-gram 'a' comes 4294967296 times, and at most"),
        ("a 3\na b 2", "the word 'b' has no line of its own.*--vocabulary"),
    ],
)
def test_errors_are_those_of_memory(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "counts"
    path.write_text(text)
    with (
        WorkFolder(tmp_path, {}) as work,
        pytest.raises((FormatError, SettingError), match=message),
    ):
        read_counts_within(path, work, Budget(None), report=lambda stage: None)
    if "of its own" not in message:
        with pytest.raises(FormatError, match=message):
            read_counts(path)


def test_orders_and_sums_that_have_no_room(tmp_path: Path) -> None:
    path = counts_file(tmp_path / "counts", 1, 3)
    with WorkFolder(tmp_path, {}) as work:
        given: dict[str, Any] = {"report": lambda stage: None}
        with pytest.raises(SettingError, match="the order 4 is not between 1 and 3"):
            read_counts_within(path, work, Budget(None), order=4, **given)
        with pytest.raises(UnrolledError, match=r"an n-gram comes \d+ times, and at most"):
            read_counts_within(path, work, Budget(None), weights=[2**31], **given)


def test_a_large_count_file_is_read_within_a_budget(tmp_path: Path) -> None:
    # Long words: a large file with few lines.
    names = [f"w{number:0>100}" for number in range(3, 3000)]
    rng = np.random.default_rng(2)
    ids = np.concatenate([[1], rng.integers(3, 3000, 70_000), [2]])
    ranks = np.argsort(np.argsort(-np.bincount(ids)[3:], kind="stable"), kind="stable") + 3
    ids = np.append(np.arange(3), ranks)[ids].astype(np.int32)  # by descending count
    path = tmp_path / "counts"
    write_counts(unrolled.count_ngrams(ids, 3, 3000), Vocabulary.from_words(names), path)
    memory = budget_with(220)
    stages: list[str] = []
    with counts_training(
        path, tmp_path / "m", memory=memory, smoothing="witten-bell", report=stages.append
    ) as trained:
        trained.model.save(tmp_path / "m")
    expected = train_on_counts(path, smoothing="witten-bell")
    found: Any = unrolled.load(tmp_path / "m")
    for name, array in expected.arrays().items():
        assert found.arrays()[name].tobytes() == array.tobytes(), name
    expected.save(tmp_path / "expected")
    for name in ("counts", "discounts", "settings"):
        assert found.provenance[name] == unrolled.load(tmp_path / "expected").provenance[name]
    assert found.config == unrolled.load(tmp_path / "expected").config
    (tmp_path / "expected").unlink()
    assert any("completing n-grams of order 3" in stage for stage in stages)
    merge_counts_into_file(path, tmp_path / "merged", memory=memory)
    assert (tmp_path / "merged").read_bytes() == path.read_bytes()
    with counts_training(
        path, tmp_path / "q", memory=memory, smoothing="witten-bell", quantize=8
    ) as trained:
        trained.model.save(tmp_path / "q")
    rounded: Any = unrolled.load(tmp_path / "q")
    for name, array in unrolled.quantize(expected).arrays().items():
        assert rounded.arrays()[name].tobytes() == array.tobytes(), name
    refused = pytest.raises(SettingError, match="within a memory budget is not written as ARPA")
    with refused, counts_training(path, tmp_path / "q.arpa", memory=memory, quantize=8):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["counts", "m", "merged", "q"]
