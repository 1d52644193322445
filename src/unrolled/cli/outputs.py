"""Where commands write, and what is refused before the work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.storage.file_kinds import is_arpa_name

if TYPE_CHECKING:
    from unrolled.text.sources import Sources

_OTHER_FORMATS = (
    ".bin", ".binary", ".blm", ".ckpt", ".h5", ".klm", ".mmap", ".npz", ".onnx", ".pickle", ".pkl",
    ".pt", ".pth", ".trie", ".zip",
)  # fmt: skip
FST_ENDINGS = (".fst", ".fst.txt")


def check_model_output(path: Path, *read: Sources | None, arpa: bool = False) -> None:
    """Fail before the work: a model is written to a file, as safetensors or, some, as ARPA.

    Args:
        read: the files that it may not replace, see `check_not_read`. arpa: it can be ARPA.

    Raises:
        SettingError: standard output or a pipe, a name that ends as files of another format do, or
            a file that is read.
    """
    from unrolled.errors import SettingError
    from unrolled.storage.atomic import STANDARD_OUTPUT
    from unrolled.storage.model_file import check_model_name

    endings = ".safetensors or .arpa" if arpa else ".safetensors"
    if str(path) in ("-", STANDARD_OUTPUT):
        raise SettingError(
            "a model is written to a file, not to standard output",
            hint=f"Name a file that ends in {endings}",
        )
    if path.name.endswith(FST_ENDINGS):
        raise SettingError(
            "only unrolled convert writes FSTs",
            where=str(path),
            hint="End the name in .safetensors, and convert that file",
        )
    if path.suffix.lower() in _OTHER_FORMATS:
        raise SettingError(
            f"models are not written as {path.suffix}",
            where=str(path),
            hint=f"End the name in {endings}, or let unrolled convert write .fst",
        )
    if not (arpa and is_arpa_name(path)):
        check_model_name(str(path))
        if path.is_fifo():
            raise SettingError("is a pipe, and a model needs a file", where=str(path))
    check_output(path, *read)


def check_output(path: Path, *read: Sources | None) -> None:
    """Fail before the work rather than after it.

    Args:
        read: the files that may not be replaced, see `check_not_read`.

    Raises:
        SettingError: it cannot be written, or is one of them.
    """
    from unrolled.storage.atomic import check_target
    from unrolled.text.sources import check_not_read

    check_target(str(path))
    check_not_read(path, *read)


def named_file(output: Path | None) -> Path | None:
    """The file to write; None for standard output, which is the default there or named ``-``."""
    return None if output is None or str(output) == "-" else output


def checkpoint_path(given: str, output: Path, *read: Sources | None) -> Path:
    """Where training's state is saved: beside the model, unless a file was named.

    Args:
        read: the files that it may not replace, see `check_not_read`.

    Raises:
        SettingError: it cannot be written, is one of them, or is the output.
    """
    from unrolled.errors import SettingError
    from unrolled.storage.atomic import check_different
    from unrolled.storage.model_file import check_model_name

    path = Path(given) if given else output.with_name(output.name + ".checkpoint")
    check_model_name(str(path))
    if path.exists() and not path.is_file():
        raise SettingError("a checkpoint is a file", where=str(path))
    check_output(path, *read)
    check_different(path, output)
    return path
