"""The tagger at the end of the demo: punctuation and capitals, learned from the demo text alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unrolled.tagging.punctuation import (
    bare_words,
    punctuation_data,
    punctuation_sentences,
    restore_text,
)
from unrolled.tagging.scoring.punctuation_scores import PunctuationScores, score_punctuation
from unrolled.text.demo_text import cased_demo_text

if TYPE_CHECKING:
    from unrolled.tagging.model import Tagger
    from unrolled.training.records import Progress

# Small and quick: a minute on two cores. A CRF costs little with 21 tags, and makes a capital
# follow a full stop. Little dropout: one pass over 650 thousand words does not overfit.
SETTINGS: dict[str, Any] = {
    "hidden": 100, "embedding": 64, "characters": "none", "casing_dim": 0, "output_layer": "crf",
    "epochs": 1, "batch": 16, "rate": 0.005, "dropout_input": 0.2, "dropout_output": 0.2,
}  # fmt: skip
SAMPLES = (
    "in the beginning god created the heavens and the earth",
    "who are you lord he said i am jesus whom you persecute",
    "moses said to pharaoh let my people go but he would not",
)


def train_demo_tagger(
    path: str | os.PathLike[str],
    *,
    folder: str | os.PathLike[str] | None = None,
    threads: int = 2,
    report: Callable[[str], None] | None = None,
    progress: Callable[[Progress], None] | None = None,
    **settings: Any,
) -> PunctuationScores:
    """Train on the demo text as it is written, write the tagger, and score it on the test part.

    Args:
        path: where the tagger goes; ``unrolled tag PATH`` then restores what a user types.
        folder: of the text; see `demo.cased_demo_text`.
        threads, report, progress, settings: see `train_tagger`; settings go before SETTINGS.

    Raises:
        MissingExtraError: torch, or the package with the text, is not installed.
    """
    from unrolled.tagging.training import train_tagger

    files = cased_demo_text(folder)
    train, valid = punctuation_data(str(files.train), str(files.valid))
    tagger = train_tagger(
        train,
        valid=valid,
        threads=threads,
        report=report,
        progress=progress,
        **{**SETTINGS, **settings},
    )  # fmt: skip
    tagger.save(Path(path))
    test = list(punctuation_sentences(str(files.test)))
    found = tagger.predict([sentence.words for sentence in test])
    return score_punctuation([sentence.tags for sentence in test], found)


def restored(tagger: Tagger, text: str) -> str:
    """Text with its punctuation and capitals restored by a tagger of punctuation."""
    return restore_text(text, tagger.predict([bare_words(text)[0]])[0])
