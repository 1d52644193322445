"""The model from files has the bytes of the model from memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unrolled.errors import SettingError
from unrolled.ngram.arpa.files import write_arpa, write_tables
from unrolled.ngram.editing import quantization
from unrolled.ngram.editing.quantization import quantize
from unrolled.ngram.estimation.config import SMOOTHING_NAMES
from unrolled.ngram.training import ngram_config, train_on_corpus
from unrolled.scale import books, estimator
from unrolled.scale.clock import Clock
from unrolled.scale.estimator import count_levels, estimated_arrays
from unrolled.scale.level_files import LevelFiles
from unrolled.scale.part_shapes import part_tables, parts_within, table_sizes
from unrolled.storage.work_folder import WorkFolder
from unrolled.text.corpus import read_corpus
from unrolled.text.options import TextOptions
from unrolled.text.vocabulary import Vocabulary

WORDS = [f"w{number}" for number in range(30)]
SHARES = 1 / np.arange(1, 31)


def some_texts(seed: int, lines: int = 150) -> list[str]:
    rng = np.random.default_rng(seed)
    shares = SHARES / SHARES.sum()
    return [" ".join(rng.choice(WORDS, rng.integers(0, 12), p=shares)) for _ in range(lines)]


def whole(source: Any) -> Any:
    return source if isinstance(source, np.ndarray) else np.concatenate(list(source))


def check_same_bytes(
    folder: Path,
    settings: dict[str, Any],
    texts: list[str],
    room: int,
    *,
    quantized: bool = False,
    **reading: Any,
) -> None:
    """The model over files within ``room`` bytes has the arrays of the model in memory."""
    config = ngram_config(settings)
    order = config.order
    expected = train_on_corpus(read_corpus(texts=texts, **reading), config)
    if quantized:
        expected = quantize(expected)
    corpus = read_corpus(texts=texts, **reading)
    pieces = np.array_split(corpus.ids, 7)
    with WorkFolder(folder, {}) as work:
        clock = Clock(lambda stage: None, work, 0, order)
        shared: dict[str, Any] = {"room": room, "threads": 2, "clock": clock, "folder": work}
        files = count_levels(pieces.__iter__, corpus.word_counts, order, **shared)
        arrays, rules = estimated_arrays(
            files, config, corpus.word_counts, quantized=quantized, **shared
        )
        made = {name: whole(source) for name, source in arrays.items()}
        if config.smoothing != "stupid-backoff" and "codes" not in made:
            check_same_arpa(folder, files, corpus.vocabulary, made, expected, room)
    assert list(made) == list(expected.trie.arrays())
    assert expected.provenance == expected.provenance | rules.record()
    for name, array in expected.trie.arrays().items():
        assert made[name].dtype == array.dtype
        assert made[name].tobytes() == array.tobytes(), name


def check_same_arpa(
    folder: Path, files: LevelFiles, vocabulary: Vocabulary, made: Any, expected: Any, room: int
) -> None:
    """The ARPA file over files within ``room`` bytes is that of the model in memory."""
    pruned = bool(expected.config["prune"]) and files.order > 1
    parts = parts_within(files, room)
    write_tables(
        folder / "found.arpa", table_sizes(files, pruned=pruned),
        lambda length: part_tables(
            files, length, parts, made["unigrams"], pruned=pruned, books=made.get("log_prob_book")
        ),
        vocabulary, expected.config["text"],
    )  # fmt: skip
    write_arpa(expected, folder / "expected.arpa")
    assert (folder / "found.arpa").read_bytes() == (folder / "expected.arpa").read_bytes()


# A room of 100 bytes makes a part of each word.
@pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")
@pytest.mark.parametrize("smoothing", SMOOTHING_NAMES)
@pytest.mark.parametrize(("order", "room"), [(2, 100), (3, 5000), (5, 100), (7, 20_000)])
def test_each_smoothing_at_each_order(
    tmp_path: Path, order: int, smoothing: str, room: int
) -> None:
    prune = [(), (0, 0, 1), (0, 1)][(order + len(smoothing)) % 3][:order]
    settings = {"order": order, "smoothing": smoothing, "prune": prune}
    check_same_bytes(tmp_path, settings, some_texts(order), room)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")
@pytest.mark.parametrize("smoothing", SMOOTHING_NAMES)
@pytest.mark.parametrize("order", range(1, 8))
@pytest.mark.parametrize("room", [100, 5000, 10**8])
def test_all_of_them(tmp_path: Path, order: int, smoothing: str, room: int) -> None:
    for number, prune in enumerate([(), (0, 0, 1), (0, 1), (0, 1, 3)]):
        settings = {"order": order, "smoothing": smoothing, "prune": prune[:order]}
        for quantized in (False, True):
            texts = some_texts(order + number)
            check_same_bytes(tmp_path, settings, texts, room, quantized=quantized)


@pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")
@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_quantized_models(tmp_path: Path, order: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (quantization, books):
        monkeypatch.setattr(module, "SAMPLE", 100)  # contexts are left out of the sample
    monkeypatch.setattr(books, "PIECE", 50)
    smoothing = SMOOTHING_NAMES[order % len(SMOOTHING_NAMES)]
    for number, prune in enumerate([(), (0, 0, 1)]):
        settings = {"order": order, "smoothing": smoothing, "prune": prune[:order]}
        texts = some_texts(order, 50 + 200 * number)
        check_same_bytes(tmp_path, settings, texts, [3000, 100_000][number], quantized=True)


@pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")
@pytest.mark.parametrize(
    "settings",
    [
        {"smoothing": "katz", "closed": True},
        {"smoothing": "additive", "closed": True, "delta": 0.1},
        {"smoothing": "witten-bell", "vocabulary_pad": 1000},
        {"smoothing": "katz", "vocabulary_pad": 1000, "prune": (0, 2)},
        {"smoothing": "modified-kneser-ney", "interpolate_unigrams": False},
        {"smoothing": "stupid-backoff", "backoff": 0.3, "prune": (0, 0, 2)},
    ],
)
def test_other_settings(tmp_path: Path, settings: dict[str, Any]) -> None:
    check_same_bytes(tmp_path, {"order": 4, **settings}, some_texts(3), 100)


@pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")
@pytest.mark.parametrize("order", [1, 2, 3, 6])
def test_marks_inside_sentences_and_words_outside_the_vocabulary(
    tmp_path: Path, order: int
) -> None:
    rng = np.random.default_rng(order)
    names = ["<s>", "</s>", "<unk>", *WORDS[:9]]
    texts = [" ".join(rng.choice(names, rng.integers(0, 9))) for _ in range(120)]
    for smoothing in ("modified-kneser-ney", "katz"):
        settings = {"order": order, "smoothing": smoothing}
        options = TextOptions(specials="keep")
        words = [f"w{number}" for number in range(20, -1, -3)]
        for room in (100, 10**6):
            check_same_bytes(tmp_path, settings, texts, room, options=options, words=words)


def text_of_one_word(lines: int, names: list[str]) -> list[str]:
    """A text in which the first name makes up 90 %."""
    rng = np.random.default_rng(lines)
    shares = [0.9, *np.full(len(names) - 1, 0.1 / (len(names) - 1))]
    return [" ".join(rng.choice(names, rng.integers(0, 30), p=shares)) for _ in range(lines)]


@pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")
@pytest.mark.parametrize(("order", "least"), [(1, 1), (2, 60), (3, 250), (5, 1500)])
def test_a_word_with_more_windows_than_have_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: int, least: int
) -> None:
    monkeypatch.setattr(estimator, "LEAST_WINDOWS", least)
    texts = text_of_one_word(250, WORDS)
    for smoothing in ("modified-kneser-ney", "katz"):
        check_same_bytes(tmp_path, {"order": order, "smoothing": smoothing}, texts, 100)
    marked = text_of_one_word(200, ["<s>", "</s>", *WORDS[:9]])
    options = TextOptions(specials="keep")
    check_same_bytes(tmp_path, {"order": order}, marked, 100, options=options)


def test_two_words_with_more_windows_than_have_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimator, "LEAST_WINDOWS", 50)
    corpus = read_corpus(texts=text_of_one_word(250, WORDS))
    with WorkFolder(tmp_path, {}) as work:
        clock = Clock(lambda stage: None, work, 0, 4)
        with pytest.raises(SettingError, match="more than 50 different n-grams begin with 'a a'"):
            count_levels(
                [corpus.ids].__iter__, corpus.word_counts, 4, folder=work, room=100, threads=2,
                clock=clock, named={3: "a"}.__getitem__,
            )  # fmt: skip


@pytest.mark.parametrize("texts", [["a"], [""], ["a b c d e f g"], ["", "", "b"]])
@pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")
def test_tiny_texts(tmp_path: Path, texts: list[str]) -> None:
    for smoothing in SMOOTHING_NAMES:
        check_same_bytes(tmp_path, {"order": 4, "smoothing": smoothing}, texts, 100)
