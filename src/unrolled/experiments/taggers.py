"""What experiments on taggers share: where data lie, and how their runs go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unrolled.errors import SettingError
from unrolled.experiments.worker_pool import tell
from unrolled.runtime.threads import usable_cores

if TYPE_CHECKING:
    from unrolled.tagging.data.folds import Split
    from unrolled.tagging.model import Tagger

_MOST_ON_A_GPU = 16  # runs at a time; each takes some hundred megabytes for itself
_VECTOR_FILES = ("*.txt", "*.txt.gz", "*.vec", "*.vec.gz", "*.bin", "*.bin.gz")


@dataclass(frozen=True)
class TaggerRun:
    """One tagger to train and test.

    Attributes:
        folder: of the data. name: of the row or data set. settings: as `train_tagger` takes them.
        sentences: of each part that are used at most; None: all. output: file to keep it in.
        device: ``cpu`` or ``cuda``.
    """

    folder: str
    name: str
    settings: dict[str, Any]
    sentences: int | None = None
    output: str = ""
    device: str = "cpu"


def data_folder(data: Path | None, name: str, file: str) -> Path:
    """The folder that holds a file: the one that the user named, or the one of that name in it.

    Raises:
        SettingError: neither does, or none was named.
    """
    if data is None:
        raise SettingError(
            f"the experiment needs data of its own: a folder with {file}",
            hint="Name it with --data; word vectors are looked for in 'vectors' in it or beside it",
        )
    for folder in (data, data / name):
        if (folder / file).is_file():
            return folder
    raise SettingError(f"there is no {file}, nor a folder '{name}' with it", where=str(data))


def vectors_file(data: Path) -> str:
    """The one file of a folder 'vectors' in a data folder or beside it.

    Raises:
        SettingError: there is none, or several.
    """
    found: list[Path] = []
    for folder in (data / "vectors", data.parent / "vectors"):
        for pattern in _VECTOR_FILES:
            found += sorted(folder.glob(pattern))
        if found:
            break
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


def train(split: Split, device: str, settings: dict[str, Any]) -> Tagger:
    """A tagger of the training part, chosen by the tuning part, on one core or a device."""
    from unrolled.tagging.training import train_tagger

    return train_tagger(
        split.train, valid=split.dev, threads=1, device=device, tick=lambda tick: tell(tick.done),
        **settings,
    )  # fmt: skip


def shortened(split: Split, most: int | None) -> Split:
    """The first sentences of each part."""
    from unrolled.tagging.data.folds import Split

    return Split(split.train[:most], split.dev[:most], split.test[:most])


def mean(values: Iterable[float]) -> float:
    """The mean."""
    given = list(values)
    return sum(given) / len(given)
