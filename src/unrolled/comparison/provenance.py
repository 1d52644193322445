"""The provenance of a result: the files it came from, the machine, and the memory it took."""

from __future__ import annotations

import platform
import sys
import zlib
from pathlib import Path
from typing import Any

from unrolled.errors import SettingError


def peak_memory() -> int:
    """Most memory that this process has held so far, in bytes; 0 where the system cannot tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def file_facts(path: str) -> dict[str, Any]:
    """Name, bytes and checksum of a file.

    Raises:
        SettingError: it cannot be read.
    """
    checksum, size = 0, 0
    try:
        with Path(path).open("rb") as file:
            while block := file.read(1 << 20):
                checksum, size = zlib.crc32(block, checksum), size + len(block)
    except OSError as error:
        raise SettingError(f"cannot be read: {error.strerror}", where=path) from None
    return {"name": Path(path).name, "bytes": size, "crc32": f"{checksum:08x}"}


def machine() -> dict[str, Any]:
    """What results were measured on."""
    import os
    from importlib.metadata import version

    import numpy

    from unrolled.version import __version__

    return {
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "numba": version("numba"),
        "unrolled": __version__,
        **_gpu(),
    }


def _gpu() -> dict[str, str]:
    """The GPU's name, if this process has loaded torch, and torch sees one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return {}
    return {"gpu": torch.cuda.get_device_name()}
