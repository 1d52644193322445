"""The texts and models that the benchmarks share, each made once, in a folder of their own."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import shutil
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import commands, kenlm_programs
from benchmarks.measure import BenchmarkError

# lmplz refuses these in text, so they are replaced for both sides.
_SPECIALS = {b"<s>": b"BOS_", b"</s>": b"EOS_", b"<unk>": b"UNK_"}
_COMPRESSED: dict[str, Any] = {".gz": gzip, ".bz2": bz2, ".xz": lzma}


@dataclass(frozen=True)
class Settings:
    """What a user chooses; goes into every results file, paths by their last part only."""

    text: Path | None
    ptb: Path | None
    tokens: tuple[int, ...]
    model_tokens: int
    heldout_tokens: int
    repeats: int
    threads: int
    order: int
    lmplz_memory: str
    conll2003: Path | None = None

    def record(self) -> dict[str, object]:
        """Plain values for a results file."""
        return {
            **vars(self),
            "text": self.text.name if self.text else "demo text",
            "ptb": self.ptb is not None,
            "conll2003": self.conll2003 is not None,
        }


class Text:
    """A text as one token sequence a line, cut by tokens; ``</s>`` counts as a token.

    Words are what ASCII white space separates, joined again by one blank; empty lines go, invalid
    UTF-8 is replaced: after this KenLM and Unrolled cannot differ in how they read the text.
    """

    def __init__(self, sources: Sequence[Path], target: Path) -> None:
        self.path = target
        self._tokens = array("q", [0])  # tokens before each line, and at the end
        self._bytes = array("q", [0])
        with target.open("wb") as out:
            for line in clean_lines(sources):
                out.write(line)
                self._tokens.append(self._tokens[-1] + line.count(b" ") + 2)
                self._bytes.append(self._bytes[-1] + len(line))

    @property
    def tokens(self) -> int:
        """Tokens of the whole text."""
        return self._tokens[-1]

    def cut(self, target: Path, start: int, stop: int) -> int:
        """Write the whole lines between two token positions; the tokens written."""
        first, last = bisect_left(self._tokens, start), bisect_left(self._tokens, stop)
        last = min(last, len(self._tokens) - 1)
        with self.path.open("rb") as source, target.open("wb") as out:
            source.seek(self._bytes[first])
            left = self._bytes[last] - self._bytes[first]
            while left > 0:
                block = source.read(min(left, 1 << 24))
                out.write(block)
                left -= len(block)
        return self._tokens[last] - self._tokens[first]


class Workspace:
    """Texts and models by what they are; each is made once."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder = folder
        self.settings = settings
        self._text: Text | None = None
        self._counts: dict[Path, int] = {}

    def training(self, tokens: int) -> tuple[Path, int]:
        """The first lines of the text with about that many tokens, and how many they are."""
        text = self._whole()
        return self._cut(f"train-{tokens}.txt", 0, min(tokens, text.tokens - self._heldout()))

    def heldout(self) -> tuple[Path, int]:
        """The last lines of the text, which no training text holds, and their tokens."""
        text = self._whole()
        return self._cut("heldout.txt", text.tokens - self._heldout(), text.tokens)

    def after(self, tokens: int) -> Path:
        """The lines of the text that come after so many tokens."""
        return self._cut(f"after-{tokens}.txt", tokens, self._whole().tokens)[0]

    def ptb(self, part: str) -> Path:
        """The Penn Treebank's train, valid or test part, its ``<unk>`` written as a word."""
        source = self.settings.ptb
        if source is None:
            raise BenchmarkError("no Penn Treebank: name its folder with --ptb")
        path = self.folder / f"ptb.{part}.txt"
        if not path.exists():
            Text([source / f"ptb.{part}.txt"], path)
        return path

    def model(self, text: Path, prune: Sequence[int] = ()) -> Path:
        """Our model of a text."""
        path = self.folder / f"{_name(text, prune)}.safetensors"
        if not path.exists():
            settings = self.settings
            commands.train(text, path, order=settings.order, threads=settings.threads, prune=prune)
        return path

    def quantized(self, text: Path, prune: Sequence[int] = ()) -> Path:
        """Our model of a text with 8 bits a value."""
        path = self.folder / f"{_name(text, prune)}.8bit.safetensors"
        if not path.exists():
            commands.convert(self.model(text, prune), path, bits=8)
        return path

    def arpa(self, text: Path, prune: Sequence[int] = ()) -> Path:
        """Our model of a text as ARPA: what KenLM's binary forms are built from."""
        path = self.folder / f"{_name(text, prune)}.arpa"
        if not path.exists():
            commands.convert(self.model(text, prune), path)
        return path

    def kenlm(
        self, text: Path, kind: str, options: Sequence[str] = (), prune: Sequence[int] = ()
    ) -> Path:
        """KenLM's binary form with the very n-grams and values of our model."""
        path = self.folder / f"{_name(text, prune)}.{kind}{''.join(options)}.kenlm"
        if not path.exists():
            kenlm_programs.build_binary(self.arpa(text, prune), path, kind, options)
        return path

    def _whole(self) -> Text:
        if self._text is None:
            sources = text_files(self.settings.text, self.folder / "demo")
            self._text = Text(sources, self.folder / "whole.txt")
        return self._text

    def _heldout(self) -> int:
        return min(self.settings.heldout_tokens, self._whole().tokens // 2)

    def _cut(self, name: str, start: int, stop: int) -> tuple[Path, int]:
        path = self.folder / name
        if path not in self._counts:
            self._counts[path] = self._whole().cut(path, start, stop)
        return path, self._counts[path]


def _name(text: Path, prune: Sequence[int]) -> str:
    return text.stem + "".join(f"-{threshold}" for threshold in prune)


def text_files(text: Path | None, folder: Path) -> list[Path]:
    """The files of a text; by default the demo text, written to a folder."""
    if text is not None:
        return [text]
    from unrolled.text.demo_text import demo_text

    folder.mkdir(exist_ok=True)
    return [Path(part) for part in demo_text(folder)]


def clean_lines(sources: Sequence[Path]) -> Iterator[bytes]:
    """Lines with words, separated by single blanks and without reserved tokens."""
    special = re.compile(rb"(?<!\S)(?:<s>|</s>|<unk>)(?!\S)")
    for path in sources:
        with _COMPRESSED.get(path.suffix, io).open(path, "rb") as lines:
            for line in lines:
                words = line.replace(b"\0", b" ").split()
                if words:
                    joined = special.sub(lambda found: _SPECIALS[found[0]], b" ".join(words))
                    yield joined.decode("utf-8", "replace").encode() + b"\n"


def ngrams_of(arpa: Path) -> int:
    """The n-grams of all orders that the head of an ARPA file declares."""
    total = 0
    with arpa.open("rb") as lines:
        for line in lines:
            if line.startswith(b"ngram "):
                total += int(line.split(b"=")[1])
            elif total and not line.strip():
                break
    return total


def remove(*paths: Path) -> None:
    """Take away what is no longer needed: an ARPA file of 60 M tokens is gigabytes."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
