"""`unrolled experiment --check`: what it prints, its exit code, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.conftest import Run
from unrolled.errors import FormatError, SettingError
from unrolled.experiments import check_experiment, run_experiment, vanishing_gradient


def test_an_experiment_that_broke_is_found(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("experiment", "vanishing-gradient", "--size", "smoke", "-o", tmp_path)
    assert run(*given, "--seeds", 3)[0] == 0
    path = tmp_path / "vanishing-gradient-smoke.json"
    before = path.read_bytes()
    code, out, _ = run(*given, "--check")
    assert (code, out) == (0, f"{path}: 12 of 12 numbers are within their spread.\n")
    monkeypatch.setattr(vanishing_gradient, "RATE", 0.0)
    code, out, _ = run(*given, "--check")
    *sentences, last = out.splitlines()
    assert code == 1
    assert all(line.startswith(f"{path}: 2 layers") or "3 layers" in line for line in sentences)
    assert any("right at the end, % is" in line and line.endswith(".") for line in sentences)
    assert last == f"{path}: {12 - len(sentences)} of 12 numbers are within their spread."
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir() if "parts" in file.name] == []


def test_what_cannot_be_compared(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "error-surface-smoke.json"
    with pytest.raises(SettingError, match=r"surface-smoke\.json: there are no results to compare"):
        check_experiment("error-surface", size="smoke", output=tmp_path)
    with pytest.raises(SettingError, match="seeds is 0, allowed are 1 and more"):
        run_experiment("error-surface", size="smoke", output=tmp_path, seeds=0)
    run_experiment("error-surface", size="smoke", output=tmp_path)
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "data": [{"name": "x.txt", "crc32": "0"}]}))
    with pytest.raises(SettingError, match=r"the results are of other data: x\.txt differs or is"):
        check_experiment("error-surface", size="smoke", output=tmp_path)
    path.write_text(json.dumps({**record, "results": {}}))
    with pytest.raises(FormatError, match=r"surface-smoke\.json: the results are damaged"):
        check_experiment("error-surface", size="smoke", output=tmp_path)
    path.write_text("{")
    code, _, err = run(
        "experiment", "error-surface", "--size", "smoke", "--check", "-o", tmp_path
    )  # fmt: skip
    assert code == 2
    assert "the results are damaged" in err
    code, _, err = run(
        "experiment", "error-surface", "--size", "smoke", "--rows", "LSTM", "-o", tmp_path
    )  # fmt: skip
    assert code == 2
    assert "rows of error-surface cannot be run alone" in err
    for wrong, message in (
        (("--draw",), "--draw runs nothing, so it takes no --check"),
        (("--rows", "LSTM"), "--check runs all rows that there are, so it takes no --rows"),
        (("--seeds", 3), "--check runs it once, so it takes no --seeds"),
    ):
        code, _, err = run("experiment", "error-surface", "--check", *wrong, "-o", tmp_path)
        assert code == 2
        assert message in err
