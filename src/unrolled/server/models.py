"""The models that are served, by name; a file that is replaced is loaded while the old one serves.

A model is replaced by renaming a new file to its path, as all commands of unrolled write files. A
request that has begun keeps the model that it began with; the old file's memory is given back when
the last of these is answered. A new file that is broken is reported, and the old model stays.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unrolled.errors import SettingError, UnrolledError
from unrolled.language_models.protocol import LanguageModel
from unrolled.server.answers import RefusedError
from unrolled.storage.loading import StoredModel, load, require_kind

if TYPE_CHECKING:
    from unrolled.tagging.model import Tagger

log = logging.getLogger("unrolled.server")

_SUFFIXES = re.compile(r"(\.safetensors|\.arpa|\.gz|\.bz2|\.xz|\.zst)+$", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:+-]*")
_WARM_UP = "a b"  # loads the kernels that requests will need
# Models that several threads may use at a time; nets change torch's global state while they run.
_SHARED = ("ngram",)

Stamp = tuple[int, int, int]


@dataclass
class ServedModel:
    """A model under its name; never changed, but replaced by another one.

    Attributes:
        name: of requests. path: its file. model: what was loaded.
        stamp: of the file when it was loaded. loaded: when, in seconds since 1970.
    """

    name: str
    path: str
    model: StoredModel
    stamp: Stamp
    loaded: float = field(default_factory=time.time)

    @property
    def shared(self) -> bool:
        """Whether several threads may use it at the same time."""
        return self.model.kind in _SHARED

    @property
    def is_tagger(self) -> bool:
        """Whether it gives tags, and not probabilities."""
        return self.model.is_tagger

    def language_model(self, purpose: str) -> LanguageModel:
        """The model, if it is a language model.

        Raises:
            SettingError: it is a tagger.
        """
        return require_kind(self.model, LanguageModel, purpose, where=self.name)

    def tagger(self, purpose: str) -> Tagger:
        """The model, if it is a tagger.

        Raises:
            SettingError: it is a language model.
        """
        from unrolled.tagging.model import Tagger

        return require_kind(self.model, Tagger, purpose, where=self.name)


class ServedModels:
    """All models of a server.

    Args:
        models: files, each ``PATH`` or ``NAME=PATH``; without a name it is the file's, without its
            suffix.

    Raises:
        SettingError: no model, a name that is not allowed, or one that comes twice.
        FormatError: a file that cannot be read.
    """

    def __init__(self, models: Sequence[str]) -> None:
        if not models:
            raise SettingError("no model is named", hint="Name one or more model files")
        self._paths = named_paths(models)
        self.errors: dict[str, str] = {}
        self.failed_reloads = 0
        self._refused: dict[str, Stamp] = {}  # new files that could not be loaded
        self._served = {name: _load(name, path) for name, path in self._paths.items()}
        self._lock = threading.Lock()

    def __iter__(self) -> Any:
        return iter(list(self._served.values()))

    def __len__(self) -> int:
        return len(self._served)

    def get(self, name: str, *, tagger: bool = False) -> ServedModel:
        """The model of that name; of an empty name the first one that can do the work.

        Raises:
            RefusedError: there is none (404).
        """
        if name:
            found = self._served.get(name)
            if found is None:
                raise RefusedError(
                    404, f"there is no model {name[:100]!r}, known are {', '.join(self._served)}"
                )
            return found
        for served in self._served.values():
            if served.is_tagger == tagger:
                return served
        kind = "tagger" if tagger else "language model"
        raise RefusedError(404, f"no {kind} is served, only {', '.join(self._served)}")

    def reload_replaced(self) -> list[str]:
        """Load files that were replaced since they were loaded; the names of those models."""
        changed = []
        with self._lock:
            for name, served in list(self._served.items()):
                stamp = _stamp(served.path)
                if stamp is None or stamp in (served.stamp, self._refused.get(name)):
                    continue
                try:
                    self._served[name] = _load(name, served.path)
                except Exception as error:
                    self._refused[name] = stamp
                    self.errors[name] = _sentence(error)
                    self.failed_reloads += 1
                    log.error("%s: the new file is not used: %s", name, self.errors[name])
                    continue
                self.errors.pop(name, None)
                self._refused.pop(name, None)
                changed.append(name)
                log.info("%s: loaded again from %s", name, served.path)
        return changed


def named_paths(models: Sequence[str]) -> dict[str, str]:
    """The path of each model by its name.

    >>> named_paths(["models/news.safetensors", "small=models/news-2.arpa.gz"])
    {'news': 'models/news.safetensors', 'small': 'models/news-2.arpa.gz'}
    """
    found: dict[str, str] = {}
    for given in models:
        name, equals, path = os.fspath(given).partition("=")
        if not equals or Path(given).exists():
            name, path = _SUFFIXES.sub("", Path(given).name), os.fspath(given)
        if not _NAME.fullmatch(name):
            raise SettingError(
                f"the model's name is {name!r}, allowed are letters, digits and _ . : + -",
                hint="Give it another one: NAME=PATH",
            )
        if name in found:
            raise SettingError(
                f"two models have the name {name!r}: {found[name]} and {path}",
                hint="Give one another name: NAME=PATH",
            )
        found[name] = path
    return found


def _load(name: str, path: str) -> ServedModel:
    stamp = _stamp(path)
    model = load(path)
    served = ServedModel(name, path, model, stamp or (0, 0, 0))
    if served.is_tagger:
        served.tagger("serving").tag([_WARM_UP])
        return served
    language = served.language_model("serving")
    language.scores([_WARM_UP, ""], threads=1)
    if language.normalised:
        language.next_log_probs(language.start())
    return served


def _stamp(path: str) -> Stamp | None:
    """What tells a file from the one that replaces it; None while there is none."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _sentence(error: Exception) -> str:
    if isinstance(error, UnrolledError):
        return str(error)
    return " ".join(f"{type(error).__name__}: {error}".split())
