"""What a result depends on: commit, versions and machine, without a path or a host name."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent


def describe() -> dict[str, Any]:
    """Commit, versions and machine for a results file."""
    return {"commit": _commit(), "versions": _versions(), "machine": _machine()}


def use_cores(count: int) -> None:
    """Keep this process and all that it starts to ``count`` cores: lmplz has no thread option."""
    if hasattr(os, "sched_setaffinity"):  # Linux
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def _commit() -> str:
    commit = _git("rev-parse", "--short=12", "HEAD")
    changed = _git("status", "--porcelain", "--", "src", "benchmarks")
    return f"{commit}+changes" if changed else commit


def _git(*words: str) -> str:
    command = ["git", "-C", str(_ROOT), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("unrolled", "numpy", "numba", "llvmlite", "kenlm"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _machine() -> dict[str, Any]:
    return {
        "processor": _field(Path("/proc/cpuinfo"), "model name"),
        "cores_used": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "memory": _field(Path("/proc/meminfo"), "MemTotal"),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _field(path: Path, name: str) -> str:
    if path.exists():
        for line in path.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    return "unknown"
