"""What the experiments on taggers share: their data, their runs, and where these compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from unrolled.comparison.provenance import file_facts
from unrolled.errors import SettingError
from unrolled.experiments.parallel_runs import run_in_parallel
from unrolled.experiments.setup import Setup
from unrolled.runtime.threads import usable_cores

if TYPE_CHECKING:
    from unrolled.tagging.data.folds import Split
    from unrolled.tagging.mixture import TaggerMixture
    from unrolled.tagging.neural_tagger import NeuralTagger
    from unrolled.tagging.scoring.overlap import OverlapScores

_MOST_ON_A_GPU = 16  # runs at a time; each takes some hundred megabytes for itself
_VECTOR_FILES = ("*.txt", "*.txt.gz", "*.vec", "*.vec.gz", "*.bin", "*.bin.gz")
OPINIONS = ("dse", "ese")  # kinds of opinion expressions in MPQA


@dataclass(frozen=True)
class TaggerRun:
    """One tagger to train and test, or a mixture of several.

    Attributes:
        name: of the row or data set. settings: as `train_tagger` takes them. fold: of the data.
        sentences: of each part that are used at most; None: all. output: file of the tagger.
        folder: of the data. device: ``cpu`` or ``cuda``.
        learns_dev: the tuning part is learned from too, and the last epoch is the result.
        nets: how many `train_mixture` mixes, of this seed and of those after it.
    """

    name: str
    settings: dict[str, Any]
    fold: int = 0
    sentences: int | None = None
    output: str = ""
    folder: str = ""
    device: str = "cpu"
    learns_dev: bool = False
    nets: int = 1

    def train(self, split: Split) -> NeuralTagger:
        """A tagger of the training part, its epoch chosen by the tuning part; or of both parts."""
        from unrolled.tagging.training import train_tagger

        train, valid = (
            (split.train + split.dev, None) if self.learns_dev else (split.train, split.dev)
        )
        return train_tagger(train, valid=valid, threads=1, device=self.device, **self.settings)

    def train_mixture(self, split: Split) -> TaggerMixture:
        """Taggers as `train` makes them, each from a seed of its own, as one."""
        from unrolled.tagging.mixture import TaggerMixture

        first = self.settings.get("seed", 1)
        seeds = range(first, first + self.nets)
        runs = [replace(self, settings={**self.settings, "seed": seed}) for seed in seeds]
        return TaggerMixture([run.train(split) for run in runs])


class TaggerExperiment:
    """The data of an experiment on taggers, and how its runs are made.

    Args:
        with_vectors: it reads word vectors, see `vectors_file`.

    Raises:
        SettingError: word vectors are missing, or the device is.
    """

    def __init__(self, setup: Setup, *, with_vectors: bool = True) -> None:
        assert setup.data is not None  # an experiment with `DATA` has a folder
        self.setup, self.folder = setup, setup.data
        self.workers, self.device = how_to_run(setup.size, setup.jobs, setup.device)
        self.vectors = vectors_file(self.folder) if with_vectors else ""

    def run(
        self,
        train_and_test: Callable[[TaggerRun], Any],
        runs: Sequence[TaggerRun],
        describe: Callable[[TaggerRun, Any], str],
    ) -> list[Any]:
        """The results of runs, finished ones from earlier; each new one is described in a line."""
        runs = [self._placed(run) for run in runs]
        report = self.setup.report
        return run_in_parallel(
            train_and_test, runs, workers=self.workers,
            done=lambda run, result: report(describe(run, result)),
            finished=self.setup.finished_runs(filter(None, [str(self.folder), self.vectors])),
            report=report,
        )  # fmt: skip

    def _placed(self, run: TaggerRun) -> TaggerRun:
        """The run where it computes, from the seed that it has with this setup."""
        settings = run.settings
        if self.setup.seed:
            settings = {**settings, "seed": settings.get("seed", 1) + self.setup.seed}
        return replace(run, settings=settings, folder=str(self.folder), device=self.device)

    def facts(self) -> dict[str, Any]:
        """Where the runs computed and which word vectors they read, for the results."""
        vectors = {"vectors": file_facts(self.vectors)} if self.vectors else {}
        return {**vectors, "device": self.device, "jobs": self.workers}


def vectors_file(data: Path) -> str:
    """The one file of a folder 'vectors' in a data folder or beside it.

    Raises:
        SettingError: there is none, or several.
    """
    found: list[Path] = []
    for folder in (data / "vectors", data.parent / "vectors"):
        found = found or [path for kind in _VECTOR_FILES for path in sorted(folder.glob(kind))]
    if len(found) != 1:
        raise SettingError(
            f"{len(found)} files of word vectors are in a folder 'vectors' in it or beside it, and "
            "one must be",
            where=str(data),
            hint="Put one of word2vec or GloVe there, such as glove.6B.100d.txt",
        )
    return str(found[0])


def how_to_run(size: str, jobs: int | None, device: str) -> tuple[int, str]:
    """How many runs are made at a time, and on which device: ``cpu`` or ``cuda``.

    By default as many as there are cores, on a GPU at most 16, and one of the smallest size.

    Raises:
        SettingError: the device is unknown or not there.
    """
    from unrolled.training.devices import device_of

    kind = device_of(device).type
    most = usable_cores() if kind == "cpu" else min(usable_cores(), _MOST_ON_A_GPU)
    return jobs or (1 if size == "smoke" else most), kind


def percent(scores: OverlapScores) -> dict[str, float]:
    """Proportional and binary F1 in percent."""
    return {"proportional": 100 * scores.proportional_f1, "binary": 100 * scores.binary_f1}


def in_words(scores: dict[str, float]) -> str:
    """Scores by name, for a line of progress."""
    return ", ".join(f"{name} {value:.2f}" for name, value in scores.items())


def means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each column."""
    return {name: fmean(row[name] for row in rows) for name in rows[0]}


def means_by_name(
    runs: Sequence[TaggerRun], rows: Sequence[dict[str, float]]
) -> dict[str, dict[str, float]]:
    """The mean, over the runs of each name, of each column."""
    by_name: dict[str, list[dict[str, float]]] = {}
    for run, row in zip(runs, rows, strict=True):
        by_name.setdefault(run.name, []).append(row)
    return {name: means(own) for name, own in by_name.items()}
