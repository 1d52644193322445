"""A text that has been read, in a work folder: its ids in a file, its words and their counts."""

from __future__ import annotations

import numpy as np

from unrolled.storage.columns import Column
from unrolled.storage.work_folder import WorkFolder
from unrolled.text.corpus import Corpus
from unrolled.text.id_store import IdStore
from unrolled.text.vocabulary import Vocabulary


def store_text(folder: WorkFolder, corpus: Corpus, text: IdStore) -> None:
    """Record a text as read."""
    vocabulary = corpus.vocabulary.arrays()
    values = {
        "sentences": corpus.sentences, "tokens": corpus.tokens, "oov": corpus.oov,
        "crc32": text.crc32,
    }  # fmt: skip
    folder.finish("text", values, {**vocabulary, "word_counts": corpus.word_counts})


def stored_text(folder: WorkFolder) -> tuple[Corpus, IdStore]:
    """The text that a folder has; the ids of the corpus are in the store."""
    values, arrays = folder.values("text"), folder.arrays("text")
    vocabulary = Vocabulary(arrays["text"], arrays["offsets"], arrays["slots"])
    corpus = Corpus(
        np.empty(0, np.int32), vocabulary, values["sentences"], values["tokens"], values["oov"],
        arrays["word_counts"],
    )  # fmt: skip
    return corpus, IdStore.of_column(Column(folder.path / "ids", np.int32), values["crc32"])
