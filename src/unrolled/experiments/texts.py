"""The texts that language models are compared on: a folder of the user's, or the demo text."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from unrolled.errors import SettingError

PARTS = ("train", "valid", "test")
_SMOKE_LINES = 2000


@dataclass(frozen=True)
class Texts:
    """Files to train, validate and test on."""

    train: str
    valid: str
    test: str


def texts_for(data: Path | None, size: str, folder: Path) -> Texts:
    """The texts of an experiment; for size ``smoke`` their first lines, for a run of seconds.

    Args:
        data: a folder as `texts_in` wants it, or None for the demo text.
        folder: where to write what has to be written.

    Raises:
        SettingError: the folder does not hold one file of each kind.
    """
    texts = _demo_texts(folder / "text") if data is None else texts_in(data)
    return _shortened(texts, folder / "smoke") if size == "smoke" else texts


def texts_in(folder: Path) -> Texts:
    """The files of a folder whose names hold train, valid and test, one of each.

    Raises:
        SettingError: none or several of a kind.
    """
    found = []
    for part in PARTS:
        files = sorted(str(file) for file in folder.glob(f"*{part}*") if file.is_file())
        if len(files) != 1:
            raise SettingError(
                f"{len(files)} files have '{part}' in their names, and one must",
                where=str(folder),
            )
        found += files
    return Texts(*found)


def _demo_texts(folder: Path) -> Texts:
    from unrolled.text.demo_text import demo_text

    return Texts(*(str(path) for path in demo_text(folder)))


def _shortened(texts: Texts, folder: Path) -> Texts:
    from unrolled.text.corpus import iter_sentences

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for part, path in asdict(texts).items():
        target = folder / f"{part}.txt"
        lines = islice(iter_sentences(path), _SMOKE_LINES)
        target.write_text("\n".join(lines) + "\n", encoding="utf-8")
        paths.append(str(target))
    return Texts(*paths)
