"""Run the whole suite as a plain user on a read-only installation, and with streams closed.

    python tests/torture/whole_suite.py [--only plain-user closed-7 ...] [-- PYTEST ARGUMENTS]

``plain-user`` needs root, who becomes ``nobody`` without a home; ``closed-0`` to ``closed-7`` close
standard input (1), output (2) and error (4). The tests' processes, not only the commands that they
start, run so. The report of each run is in ``whole-suite/``; the exit code is 1 if any run failed.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).parents[2]
CLOSED = ("<&-", ">&-", "2>&-")
# pytest itself needs somewhere to print; the descriptors 0 to 2 stay closed.
PYTEST = """
import fcntl, os, sys
report = open(sys.argv.pop(1), "w")
report = os.fdopen(fcntl.fcntl(report.fileno(), fcntl.F_DUPFD_CLOEXEC, 10), "w")
sys.stdout, sys.stderr = sys.stdout or report, sys.stderr or report
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""


def command(way: str, report: Path, arguments: list[str]) -> list[str]:
    """What runs the suite in one of the ways."""
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    pytest += [f"--junitxml={report}", *arguments]
    if way == "plain-user":
        return [
            "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--inh-caps=-all",
            *pytest,
        ]  # fmt: skip
    bits = int(way.removeprefix("closed-"))
    own = ["-p", "no:faulthandler", "--capture=sys"]
    pytest = [sys.executable, "-c", PYTEST, f"{report}.log", *pytest[3:], *own]
    closed = " ".join(how for bit, how in enumerate(CLOSED) if bits >> bit & 1)
    return ["bash", "-c", f"exec {shlex.join(pytest)} {closed}"]


def run(way: str, folder: Path, arguments: list[str]) -> str:
    """Run the suite in one of the ways; the numbers of tests by outcome, or what happened."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o1777)  # as /tmp
        report = place / "report.xml"
        variables = {**os.environ, "TMPDIR": name, "PYTHONDONTWRITEBYTECODE": "1"}
        variables["HYPOTHESIS_STORAGE_DIRECTORY"] = str(place / "hypothesis")
        if way == "plain-user":
            variables |= {"HOME": "/nonexistent", "USER": "nobody"}
            variables.pop("XDG_CACHE_HOME", None)
        done = subprocess.run(command(way, report, arguments), cwd=ROOT, env=variables, check=False)
        if not report.exists():
            log = Path(f"{report}.log")
            print(log.read_text() if log.exists() else "")
            return f"FAILED: the exit code is {done.returncode}, and there is no report"
        folder.mkdir(exist_ok=True)
        (folder / f"{way}.xml").write_bytes(report.read_bytes())
    suite = ElementTree.parse(folder / f"{way}.xml").getroot().find("testsuite")
    assert suite is not None
    counts = ", ".join(
        f"{suite.get(key)} {key}" for key in ("tests", "failures", "errors", "skipped")
    )
    return f"{'ok' if done.returncode == 0 else 'FAILED'}: {counts}, {suite.get('time')} s"


def main() -> int:
    """Read the options, run the suite in each way, and print a line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    ways = ["plain-user", *(f"closed-{bits}" for bits in range(8))]
    parser.add_argument("--only", nargs="+", choices=ways, default=ways)
    parser.add_argument("arguments", nargs="*", help="for pytest, after --")
    options = parser.parse_args()
    failed = False
    for way in options.only:
        line = run(way, ROOT / "whole-suite", options.arguments)
        print(f"{way}: {line}", flush=True)
        failed |= line.startswith("FAILED")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
