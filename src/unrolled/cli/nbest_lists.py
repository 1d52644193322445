"""The part of ``unrolled rescore`` that rescores n-best lists."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unrolled.cli.outputs import check_output
from unrolled.errors import SettingError

if TYPE_CHECKING:
    from unrolled.language_models.protocol import LanguageModel
    from unrolled.rescoring.nbest import NbestLists
    from unrolled.rescoring.rescore import RescoringWeights


@dataclass
class NbestJob:
    """What the command line asks for; see the options of ``unrolled rescore``."""

    source: str
    format: str
    acoustic: str | None
    old_lm: str | None
    lm_label: str
    output: Path | None
    weights: RescoringWeights
    best: bool
    references: str | None
    tune: bool
    scores: Path | None

    def run(self, model: LanguageModel) -> None:
        """Rescore, and write what is wanted."""
        import numpy as np

        from unrolled.cli.streams import write_lines
        from unrolled.rescoring import rescore as rescoring
        from unrolled.rescoring.nbest import nbest_lines, read_nbest, score_lines, srilm_files

        writes_folder = self._writes_folder()
        for target in (None if writes_folder else self.output, self.scores):
            if target is not None:
                check_output(target)
        lists = read_nbest(
            self.source, self.format,
            acoustic=self.acoustic, old_lm=self.old_lm, lm_label=self.lm_label,
        )  # fmt: skip
        new = rescoring.new_scores(lists, model)
        as_listed = np.zeros(new.size)
        _, totals = tune_and_measure(
            lists, new, self.weights, self.references, tune=self.tune, first=lambda _: as_listed
        )
        order = rescoring.ranked(lists, totals)
        if self.output is not None and writes_folder and lists.files is not None:
            self.output.mkdir(parents=True, exist_ok=True)
            for name, lines in srilm_files(lists, order, new):
                write_lines(self.output / name, lines)
        else:
            write_lines(self.output, nbest_lines(lists, order, totals, new, best=self.best))
        if self.scores is not None:
            write_lines(self.scores, score_lines(lists, order, totals, new))

    def _writes_folder(self) -> bool:
        """Whether the lists of a folder become files of another folder."""
        if self.format != "srilm" or self.best or not Path(self.source).is_dir():
            return False
        if self.output is not None and self.output.exists() and not self.output.is_dir():
            hint = "The lists of a folder are written into a folder"
            raise SettingError("this is a file", where=str(self.output), hint=hint)
        return self.output is not None


def tune_and_measure(
    lists: NbestLists, new: Any, weights: RescoringWeights, references: str | None, *, tune: bool,
    first: Callable[[RescoringWeights], Any],
) -> tuple[RescoringWeights, Any]:  # fmt: skip
    """Find weights where that is wanted, and print word errors where there are references.

    Args:
        new: (H,) the model's scores of the hypotheses.
        first: the scores (H,) before rescoring, by the weights that are used.

    Returns:
        The weights, and the total scores (H,) by them.
    """
    from unrolled.rescoring import rescore as rescoring
    from unrolled.rescoring.nbest import read_references

    if references is None:
        return weights, rescoring.totals(lists, new, weights)
    spoken = read_references(references, lists)
    if tune:
        weights = rescoring.tune_rescoring(lists, new, spoken, start=weights)
        print(f"tuned: {weights.line()}", file=sys.stderr)
    totals = rescoring.totals(lists, new, weights)
    for name, found in (
        ("first", rescoring.errors_of_best(lists, first(weights), spoken)),
        ("rescored", rescoring.errors_of_best(lists, totals, spoken)),
        ("oracle", rescoring.oracle_errors(lists, spoken)),
    ):
        print(f"{name + ':':10}{found.line()}", file=sys.stderr)
    return weights, totals
