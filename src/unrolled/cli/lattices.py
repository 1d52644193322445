"""The part of ``unrolled rescore`` that rescores lattices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unrolled.cli.outputs import check_output
from unrolled.errors import SettingError

if TYPE_CHECKING:
    from unrolled.language_models.protocol import LanguageModel
    from unrolled.rescoring.lattices import Lattice
    from unrolled.rescoring.rescore import RescoringWeights

LISTED = 100  # best paths for tuning and word errors


@dataclass
class LatticeJob:
    """What the command line asks for; see the options of ``unrolled rescore``."""

    source: str
    format: str
    symbols: str | None
    old_model: LanguageModel | None
    output: Path | None
    weights: RescoringWeights
    acoustic_scale: float
    states: int | None
    count: int | None
    best: bool
    references: str | None
    tune: bool
    scores: Path | None

    def run(self, model: LanguageModel) -> None:
        """Rescore, and write what is wanted."""

        folder = Path(self.source).is_dir()
        lists = self.best or self.count is not None
        if folder and not lists and self.output is None:
            raise SettingError(
                "the lattices of a folder are written into a folder",
                where=self.source,
                hint="Name it with -o, or write best paths with --best or --nbest N",
            )
        if folder and not lists and self.output is not None:
            if self.output.exists() and not self.output.is_dir():
                hint = "The lattices of a folder are written into a folder"
                raise SettingError("this is a file", where=str(self.output), hint=hint)
        elif self.output is not None:
            check_output(self.output)
        if self.scores is not None:
            check_output(self.scores)
        if self.tune or self.references is not None or self.scores is not None:
            self._measure(model)
        if lists:
            self._write_lists(model)
        elif folder:
            self._write_folder(model)
        elif not (self.tune or self.references or self.scores) or self.output is not None:
            from unrolled.cli.streams import write_lines
            from unrolled.rescoring.lattice_files import write_all

            lattices = (lattice for _, lattice in self._rescored(model))
            write_lines(self.output, write_all(lattices, self.weights))

    def _rescored(self, model: LanguageModel) -> Iterator[tuple[str, Lattice]]:
        from unrolled.rescoring.lattice_files import read_lattices
        from unrolled.rescoring.lattice_rescoring import rescore_lattice

        for name, lattice in read_lattices(self.source, self.format, symbols=self.symbols):
            yield (
                name,
                rescore_lattice(
                    lattice,
                    model,
                    self.weights,
                    acoustic_scale=self.acoustic_scale,
                    states=self.states,
                    old_model=self.old_model,
                ),
            )

    def _write_folder(self, model: LanguageModel) -> None:
        from unrolled.cli.streams import write_lines
        from unrolled.rescoring.lattice_files import lattice_lines

        assert self.output is not None
        self.output.mkdir(parents=True, exist_ok=True)
        for name, lattice in self._rescored(model):
            write_lines(self.output / name, lattice_lines(lattice, self.weights))

    def _write_lists(self, model: LanguageModel) -> None:
        """``utt the words`` or ``utt-1 the words``, an utterance as soon as it is rescored."""
        from unrolled.cli.streams import write_lines

        write_lines(self.output, self._list_lines(model))

    def _list_lines(self, model: LanguageModel) -> Iterator[str]:
        from unrolled.rescoring.lattices import best_paths

        count = 1 if self.best else self.count or 1
        for _, lattice in self._rescored(model):
            paths = best_paths(
                lattice, self.weights, count=count, acoustic_scale=self.acoustic_scale
            )
            for rank, path in enumerate(paths, 1):
                name = lattice.utterance if self.best else f"{lattice.utterance}-{rank}"
                yield " ".join([name, *path.words])

    def _measure(self, model: LanguageModel) -> None:
        """Word errors and weights, from lists of the best paths."""
        from unrolled.cli.nbest_lists import tune_and_measure
        from unrolled.cli.streams import write_lines
        from unrolled.rescoring import rescore as rescoring
        from unrolled.rescoring.lattices import as_nbest, best_paths
        from unrolled.rescoring.nbest import score_lines

        settings = {"acoustic_scale": self.acoustic_scale}
        pairs = (
            (lattice, best_paths(lattice, self.weights, count=self.count or LISTED, **settings))
            for _, lattice in self._rescored(model)
        )
        lists, new = as_nbest(pairs, self.acoustic_scale)

        def old_totals(weights: RescoringWeights) -> Any:
            return rescoring.totals(lists, new, rescoring.RescoringWeights(weights.lm_scale, 0, 0))

        self.weights, totals = tune_and_measure(
            lists, new, self.weights, self.references, tune=self.tune, first=old_totals
        )
        if self.scores is not None:
            order = rescoring.ranked(lists, totals)
            write_lines(self.scores, score_lines(lists, order, totals, new))
