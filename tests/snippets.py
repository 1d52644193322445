"""The commands and snippets of a Markdown page, to run as its reader would, in order.

A page holds:

- ``console`` blocks: lines that begin with ``$`` are commands, the lines below each are its output;
- ``python`` blocks, which share their names; a ``text`` block right below one is what it prints;
- blocks with a title, such as ```` ```text title="names.txt" ````: a file, written under that name;
- ``sh`` blocks: commands that change the machine, such as ``pip install``, or need published data,
  as experiments do; they are not run.

In an output ``...`` stands for anything, in a line of its own for any number of lines. Below a
comment ``<!-- within 5 % -->`` numbers may differ by so much: nets differ a little from processor
to processor. Of rows of the table that `unrolled compare` prints, speeds and memory are not
compared.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r'^( *)```([\w.+-]*)(?: title="([^"]+)")?[^\n]*\n(.*?)^\1```$', re.M | re.S)
_WITHIN = re.compile(r"<!-- within (\d+) % -->\s*\Z")
_NUMBER = re.compile(r"(?<![\w.])-?\d+\.\d+(?![\w.])")
_TABLE_ROW = re.compile(r"^(.*?\S)((?: {2,}\S+){7})$")
_MACHINE = re.compile(r"^(pip|pipx|podman|docker|make|git|torchrun|unrolled experiment)\b")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its title or "", its text, and where it begins and ends.

    ``tolerance`` is how far numbers of its output may be off, as a share.
    """

    kind: str
    title: str
    text: str
    start: int
    end: int
    tolerance: float = 0.0


def blocks_of(page: str) -> Iterator[Block]:
    """The fenced blocks of a page.

    >>> [block.kind for block in blocks_of("```python\\n1\\n```\\n\\n```sh\\n2\\n```\\n")]
    ['python', 'sh']
    """
    for match in _FENCE.finditer(page):
        indent, kind, title, text = match.groups()
        lines = [line.removeprefix(indent) for line in text.splitlines(keepends=True)]
        within = _WITHIN.search(page, 0, match.start())
        tolerance = int(within[1]) / 100 if within else 0.0
        yield Block(kind, title or "", "".join(lines), match.start(), match.end(), tolerance)


def commands_of(block: str) -> list[tuple[str, list[str]]]:
    """The commands of a console block, each with the lines of its output.

    >>> commands_of("$ echo a\\na\\n$ true\\n")
    [('echo a', ['a']), ('true', [])]
    """
    commands: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            commands.append((line[2:], []))
        else:
            commands[-1][1].append(line)
    return commands


def same_output(printed: list[str], promised: list[str], tolerance: float = 0.0) -> bool:
    """Whether a command printed what the page promises.

    >>> same_output(["ppl 65.42"], ["ppl 65.1"], 0.05)
    True
    >>> same_output(["ppl 72.1"], ["ppl 65.1"], 0.05)
    False

    >>> same_output(["ppl 41.52 | 3 s", "a", "b"], ["ppl 41.52 | ... s", "..."])
    True
    >>> same_output(["41.53"], ["41.52"]), same_output(["a", "b"], ["a"])
    (False, False)
    """
    pattern = "".join(_pattern(_comparable(line), tolerance > 0) for line in promised)
    found = re.fullmatch(pattern, "".join(_comparable(line) + "\n" for line in printed))
    if found is None or tolerance == 0:
        return found is not None
    wanted = [float(number) for line in promised for number in _NUMBER.findall(_comparable(line))]
    return all(
        abs(float(number) - value) <= tolerance * abs(value)
        for number, value in zip(found.groups(), wanted, strict=True)
    )


def _pattern(line: str, any_numbers: bool) -> str:
    """What a line of output must match; with any_numbers a group for each number in it."""
    if line == "...":
        return r"(?:[^\n]*\n)*"
    numbers = _NUMBER.split(line) if any_numbers else [line]
    texts = [re.escape(text).replace(r"\.\.\.", ".*") for text in numbers]
    return r"(-?\d+\.\d+)".join(texts) + r"\n"


def _comparable(line: str) -> str:
    row = _TABLE_ROW.match(line)
    if row is None:
        return line.rstrip()
    cells = row[2].split()
    return f"{row[1]} {cells[0]} {cells[1]} {cells[4]}"


def environment() -> dict[str, str]:
    """The shell of a reader who has installed the package: ``unrolled`` is on the PATH."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "COLUMNS": "80"}


def run_command(command: str, folder: Path) -> str:
    """What a command of the shell prints; a failure is an AssertionError with its message."""
    result = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert result.returncode == 0, f"{command}: {result.stderr}"
    return result.stdout


def run_page(page: str, folder: Path) -> int:
    """Run a page in a folder, compare what is printed, and return how many snippets ran."""
    names: dict[str, object] = {"__name__": "__main__"}
    blocks = list(blocks_of(page))
    ran = 0
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        if block.title:
            (folder / block.title).write_text(block.text, encoding="utf-8")
        elif block.kind == "console":
            for command, promised in commands_of(block.text):
                _compare(command, run_command(command, folder), promised, block.tolerance)
                ran += 1
        elif block.kind == "python":
            printed = run_python(block.text, names, folder)
            if following is not None and is_output(page, block, following):
                promised = following.text.splitlines()
                _compare(block.text, printed, promised, block.tolerance)
            ran += 1
        elif block.kind == "sh":
            for line in block.text.splitlines():
                assert _MACHINE.match(line), f"{line}: write it in a console block, so that it runs"
    return ran


def is_output(page: str, block: Block, following: Block) -> bool:
    """Whether a block is what the Python block above it prints: nothing stands between them."""
    between = page[block.end : following.start]
    return following.kind == "text" and not following.title and not between.strip()


def run_python(code: str, names: dict[str, object], folder: Path) -> str:
    """Run Python in a folder, and return what it prints."""
    out = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out):
        exec(compile(code, "snippet", "exec"), names)
    return out.getvalue()


def _compare(what: str, printed: str, promised: list[str], tolerance: float) -> None:
    shown = printed.splitlines()
    if promised and not same_output(shown, promised, tolerance):
        assert shown == promised, what
        raise AssertionError(what)
