"""Count files that are made within a budget of memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from unrolled.errors import SettingError, TextError
from unrolled.ngram.counts.count_files import write_counts
from unrolled.ngram.counts.counting import count_ngrams
from unrolled.scale.clock import Clock
from unrolled.scale.counting import count_into_file, write_columns
from unrolled.scale.estimator import count_levels
from unrolled.storage.work_folder import WorkFolder
from unrolled.text.corpus import read_corpus

TEXTS = [" ".join(f"w{number * step % 23}" for step in range(number % 9)) for number in range(300)]


@pytest.mark.parametrize("order", [1, 2, 3, 7])
@pytest.mark.parametrize("room", [100, 10**7])
def test_count_file_from_files_is_that_from_memory(tmp_path: Path, order: int, room: int) -> None:
    corpus = read_corpus(texts=TEXTS)
    counts = count_ngrams(corpus.ids.copy(), order, len(corpus.vocabulary))
    write_counts(counts, corpus.vocabulary, tmp_path / "expected")
    with WorkFolder(tmp_path, {}) as folder:
        files = count_levels(
            np.array_split(corpus.ids, 3).__iter__, corpus.word_counts, order, folder=folder,
            room=room, threads=2, clock=Clock(lambda stage: None, folder, 0, order),
        )  # fmt: skip
        write_columns(files, corpus.word_counts, corpus.vocabulary, room, tmp_path / "found")
    assert (tmp_path / "found").read_bytes() == (tmp_path / "expected").read_bytes()


def test_a_text_that_fits_is_counted_in_memory(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("\n".join(TEXTS))
    corpus = read_corpus(text)
    write_counts(count_ngrams(corpus.ids, 3, len(corpus.vocabulary)), corpus.vocabulary,
                 tmp_path / "expected")  # fmt: skip
    count_into_file(text, tmp_path / "found", order=3, memory="16G")
    assert (tmp_path / "found").read_bytes() == (tmp_path / "expected").read_bytes()
    assert len(list(tmp_path.iterdir())) == 3


def test_wrong_uses_are_errors(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("")
    with pytest.raises(TextError, match="empty"):
        count_into_file(text, tmp_path / "counts")
    for memory, message in [
        ("much", "must be a size"),
        ("10M", "too small: at least"),
        (0, "size"),
    ]:
        with pytest.raises(SettingError, match=message):
            count_into_file(text, tmp_path / "counts", memory=memory)
    with pytest.raises(SettingError, match="temporary folder"):
        count_into_file(text, tmp_path / "counts", temporary=tmp_path / "none")
