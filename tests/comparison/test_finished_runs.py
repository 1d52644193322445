"""An experiment that was ended goes on from the runs that were done, and from no others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from unrolled.comparison.finished_runs import FinishedRuns, parts_folder, remove_parts
from unrolled.errors import UnrolledError
from unrolled.experiments import entity_sentiment, run_experiment
from unrolled.experiments.taggers import TaggerRun


def _job(name: str = "a", **settings: Any) -> TaggerRun:
    return TaggerRun(name, {"hidden": 3, **settings})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.txt").write_text("x\n")
    return tmp_path / "data"


def test_a_result_is_found_where_nothing_that_it_depends_on_has_changed(
    data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "parts"
    result = {"F1": 1 / 3, "rows": (1, 2)}
    kept = FinishedRuns(folder, [data])
    assert kept.find(_job()) is None
    assert kept.save(_job(), result) == kept.find(_job()) == {"F1": 1 / 3, "rows": [1, 2]}
    for job in (_job("b"), _job(hidden=4), _job(seed=1)):
        assert kept.find(job) is None
    assert FinishedRuns(folder, [data]).find(_job()) is not None
    (data / "train.txt").write_text("y\n")
    assert FinishedRuns(folder, [data]).find(_job()) is None


def test_a_result_counts_for_nothing_without_its_model_or_when_it_is_broken(
    data: Path, tmp_path: Path
) -> None:
    kept = FinishedRuns(tmp_path / "parts", [data])
    model = tmp_path / "m.safetensors"
    job = TaggerRun("a", {}, output=str(model))
    kept.save(job, 1)
    assert kept.find(job) is None
    model.touch()
    assert kept.find(job) == 1
    (path,) = (tmp_path / "parts").iterdir()
    for broken in ('{"result": ', "[]", "{}"):
        path.write_text(broken)
        assert kept.find(job) is None


def test_results_in_the_data_folder_are_no_data(data: Path) -> None:
    FinishedRuns(data / "parts", [data]).save(_job(), 1)
    assert FinishedRuns(data / "parts", [data]).find(_job()) == 1


def test_only_results_are_removed(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    remove_parts(folder)  # there are none
    FinishedRuns(folder, [data]).save(_job(), 1)
    (folder / "notes.json").touch()
    remove_parts(folder)
    assert [path.name for path in folder.iterdir()] == ["notes.json"]
    (folder / "notes.json").unlink()
    remove_parts(folder)
    assert not folder.exists()


def test_only_the_results_of_its_own_jobs_are_removed(data: Path, tmp_path: Path) -> None:
    one, other = (FinishedRuns(tmp_path / "parts", [data]) for _ in range(2))
    one.save(_job(fold=1), 1)
    other.save(_job(fold=2), 2)
    other.checkpoint(_job(fold=3)).touch()
    one.checkpoint(_job(fold=4)).touch()
    one.remove()
    assert (one.find(_job(fold=1)), other.find(_job(fold=2))) == (None, 2)
    assert other.checkpoint(_job(fold=3)).exists()
    assert not one.checkpoint(_job(fold=4)).exists()
    other.remove()
    assert not (tmp_path / "parts").exists()


def test_an_experiment_goes_on_where_it_was_ended(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "laptop14_train.txt").write_text("x O\n")
    (data / "vectors").mkdir()
    (data / "vectors" / "v.txt").write_text("x 1\n")
    ran: list[str] = []
    resumed: list[bool] = []
    fail = True

    def train_and_test(run: TaggerRun) -> dict[str, dict[str, float]]:
        if fail and run.name != "laptop14":
            raise UnrolledError("ended")
        ran.append(run.name)
        name = f"{run.name}, {run.nets} nets"
        return {name: {"F1": len(ran) / 7, "spans alone": 1.0, "dev F1": 2.0}}

    def start(said: list[str]) -> dict[str, Any]:
        record = run_experiment(
            "entity-sentiment", data, size="smoke", output=tmp_path / "out", report=said.append
        )
        resumed.append(record["resumed"])
        return dict(record["results"]["table"])

    monkeypatch.setattr(entity_sentiment, "train_and_test", train_and_test)
    with pytest.raises(UnrolledError, match="ended"):
        start([])
    parts = parts_folder(tmp_path / "out", "entity-sentiment", "smoke")
    assert len(list(parts.iterdir())) == 1
    fail = False
    said: list[str] = []
    table = start(said)
    assert ran == ["laptop14", "twitter1", "twitter1"]
    assert said[0] == "1 of 3 runs were finished earlier"
    scores = {row: found["F1"] for row, found in table.items()}
    assert scores == {
        "laptop14, 1 nets": 1 / 7, "twitter1, 1 nets": 2 / 7, "twitter1, 2 nets": 3 / 7
    }  # fmt: skip
    assert not parts.exists()
    said.clear()
    start(said)  # all anew: it was done
    assert len(ran) == 6
    assert not any("earlier" in line for line in said)
    assert resumed == [True, False]


SCRIPT = """
import signal, sys, time
from pathlib import Path
from unrolled.comparison.finished_runs import FinishedRuns
from unrolled.experiments.parallel_runs import run_in_parallel

FOLDER = Path(sys.argv[1])

def run(job):
    with (FOLDER / "begun").open("a") as file:
        file.write(f"{job}\\n")
    while job >= 2 and not (FOLDER / "go").exists():
        time.sleep(0.02)
    return {"square": job * job}

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # some shells have it ignored
    kept = FinishedRuns(FOLDER / "parts", [])
    done = lambda job, result: None
    results = run_in_parallel(run, [0, 1, 2, 3], workers=2, done=done, finished=kept, report=print)
    print([result["square"] for result in results])
"""


def _alive(number: int) -> bool:
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="asks Linux for its processes")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_process_that_is_ended_loses_no_finished_run_and_leaves_no_process(
    how: signal.Signals, tmp_path: Path
) -> None:
    script, parts = tmp_path / "script.py", tmp_path / "parts"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(tmp_path)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    begun = tmp_path / "begun"
    _wait(lambda: len(list(parts.glob("[!.]*.json"))) == 2)
    _wait(lambda: sorted(begun.read_text().split()) == ["0", "1", "2", "3"])
    task = Path(f"/proc/{process.pid}/task")
    children = [
        int(child)
        for thread in task.iterdir()
        for child in (thread / "children").read_text().split()
    ]
    assert len(children) >= 2
    process.send_signal(how)
    process.wait()
    _wait(lambda: not any(map(_alive, children)))
    begun.unlink()
    (tmp_path / "go").touch()
    again = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    said = again.stdout.splitlines()
    assert (said[0], said[-1]) == ("2 of 4 runs were finished earlier", "[0, 1, 4, 9]")
    assert sorted(begun.read_text().split()) == ["2", "3"]


def _wait(holds: Any) -> None:
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.02)
