"""Opening model files of any kind, and the base class of all models that are stored in files.

Each kind of model names its reader as text in one table, so that opening an n-gram model loads
neither torch nor the code of nets, and nothing here imports a floor above.
"""

from __future__ import annotations

import importlib
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from unrolled.errors import FormatError, SettingError
from unrolled.storage.file_kinds import COMPRESSED, HEAD_BYTES, TEXT, is_arpa, recognise
from unrolled.storage.model_file import ModelFile, opened_file, read_model, write_model
from unrolled.storage.shards import is_sharded, read_shards
from unrolled.version import __version__

Model = TypeVar("Model", bound="StoredModel")

# Kind in the header -> "module:function" that makes a model of the opened file.
_READERS = {
    "ngram": "unrolled.ngram.model:NgramModel.from_file",
    "class-ngram": "unrolled.ngram.class_model:ClassNgramModel.from_file",
    "mixture": "unrolled.language_models.mixture:Mixture.from_file",
    "cache": "unrolled.language_models.cache:CacheModel.from_file",
    "net": "unrolled.neural.model:NeuralModel.from_file",
    "tagger": "unrolled.tagging.reading:read_tagger",
    "tagger-mixture": "unrolled.tagging.mixture:TaggerMixture.from_file",
}
_ARPA_READER = "unrolled.ngram.arpa.files:read_arpa"


class StoredModel(ABC):
    """A language model or a tagger.

    Attributes:
        kind: in the header of its file, a key of `load`'s table.
        kind_name: the kind in messages, such as "an n-gram model".
        is_tagger: whether it gives tags, and not probabilities of words.
        vocabulary: its words, in the order of their ids.
        provenance: where it comes from: versions, data, training.
        path: its file; None if it was never stored.
    """

    kind: ClassVar[str]
    kind_name: ClassVar[str]
    is_tagger: ClassVar[bool] = False
    vocabulary: Collection[str]
    provenance: dict[str, Any]
    path: str | None

    def __init__(
        self, provenance: Mapping[str, Any] | None = None, path: str | None = None
    ) -> None:
        self.provenance = dict(provenance or {})
        self.path = path

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name for tables, such as ``modified-kneser-ney-5``."""

    @property
    def parameters(self) -> int:
        """Numbers that were trained or estimated."""
        return 0

    @abstractmethod
    def info(self) -> dict[str, Any]:
        """What ``unrolled info`` prints."""

    def file_info(self) -> dict[str, Any]:
        """The facts that all kinds of models have: name, parameters, bytes of the file."""
        size = Path(self.path).stat().st_size if self.path else None
        return {"name": self.name, "parameters": self.parameters, "bytes": size}

    @abstractmethod
    def contents(self) -> dict[str, Any]:
        """The arguments of `write_model` that store it; arrays are not copied."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one ``.safetensors`` file; nothing is left behind when that fails."""
        write_model(path, **self.contents())
        self.path = os.fspath(path)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by path: the receiver opens the same file."""
        if self.path is None:
            raise SettingError("a model is pickled by its path", hint="Save it to a file first")
        return load, (str(Path(self.path).absolute()),)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name}, path={self.path!r})"


def load(path: str | os.PathLike[str], *, verify: bool = False) -> StoredModel:
    """Open a model of any kind: a ``.safetensors`` file of unrolled or an ARPA file.

    ARPA files may be compressed; by anything but gzip only if they are named so (``.arpa.xz``).

    Args:
        path: the file, or a folder of shards (``--shards``).
        verify: also read all of a ``.safetensors`` file and compare its checksums.

    Returns:
        A language model, such as an `unrolled.ngram.model.NgramModel`, or a tagger.

    Raises:
        FormatError: the file cannot be read, is no model, or is damaged.
    """
    where = os.fspath(path)
    if is_sharded(where):
        return model_of(read_shards(where, verify=verify))
    with opened_file(where) as file:
        head = file.read(HEAD_BYTES)
    if _is_arpa(where, head):
        return _read_by(_ARPA_READER, path)
    return model_of(read_model(path, verify=verify))


def load_as(
    path: str | os.PathLike[str], kind: type[Model], purpose: str, *, verify: bool = False
) -> Model:
    """Open a model that must be of one class.

    Args:
        path: the file, as of `load`.
        kind: the class, such as `NgramModel`; `LanguageModel` for any language model.
        purpose: what needs it, for the message, such as "prune".

    Raises:
        FormatError: as of `load`. SettingError: the model is of another class.
    """
    return require_kind(load(path, verify=verify), kind, purpose, where=os.fspath(path))


def require_kind(
    model: StoredModel, kind: type[Model], purpose: str, *, where: str | None = None
) -> Model:
    """The same model, if it is of that class.

    Raises:
        SettingError: it is of another class.
    """
    if not isinstance(model, kind):
        raise SettingError(
            f"{purpose} needs {kind.kind_name}, and {model.name} is {model.kind_name}", where=where
        )
    return model


def model_of(file: ModelFile) -> StoredModel:
    """The model of an opened file, or of a component of a mixture in one.

    Raises:
        FormatError: a kind that this version does not know, or contents that make no sense.
    """
    reader = _READERS.get(file.kind)
    if reader is None:
        raise FormatError(
            f"holds a model of the kind {file.kind!r}, and this unrolled {__version__} knows "
            f"{', '.join(_READERS)}",
            where=str(file.path),
            hint="Upgrade: pip install --upgrade unrolled",
        )
    return _read_by(reader, file)


def _is_arpa(where: str, head: bytes) -> bool:
    """Whether to read the file as ARPA: it is, or it is text named so (its reader says why not)."""
    if is_arpa(head):
        return True
    kind = recognise(head)
    named = re.search(r"\.arpa(\.gz|\.bz2|\.xz|\.zst)?$", where, re.IGNORECASE) is not None
    return named and kind is not None and kind.what in (TEXT, *COMPRESSED)


def _read_by(reader: str, source: Any) -> StoredModel:
    """Call the reader at ``module:name.name``."""
    module, _, names = reader.partition(":")
    value: Any = importlib.import_module(module)
    for name in names.split("."):
        value = getattr(value, name)
    model: StoredModel = value(source)
    return model
