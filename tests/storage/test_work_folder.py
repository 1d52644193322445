"""Work folders: locked while they are used, removed or taken over when they are not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from unrolled.errors import SettingError
from unrolled.storage.atomic import atomic_write, remove_unfinished
from unrolled.storage.work_folder import WorkFolder

KILLED = """
import os, sys, numpy as np
from unrolled.storage.work_folder import WorkFolder
folder = WorkFolder(sys.argv[1], {"text": 1})
folder.finish("reading", {"tokens": 3}, {"ids": np.arange(3)})
os.kill(os.getpid(), 9)
"""


def kill_one(parent: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(parent)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(parent.iterdir())) == 1


def test_a_killed_process_leaves_what_the_next_resumes(tmp_path: Path) -> None:
    kill_one(tmp_path)
    with WorkFolder(tmp_path, {"text": 1}, resume=True) as folder:
        assert folder.phases == ["reading"]
        assert folder.values("reading") == {"tokens": 3}
        assert folder.arrays("reading")["ids"].tolist() == [0, 1, 2]
        with WorkFolder(tmp_path, {"text": 1}, resume=True) as other:  # the first is in use
            assert other.phases == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("phases", [[], ["reading"]])
def test_a_process_that_ends_at_once_leaves_only_what_can_be_resumed(
    tmp_path: Path, phases: list[str]
) -> None:
    with WorkFolder(tmp_path, {"text": 1}) as folder:
        for phase in phases:
            folder.finish(phase)
        remove_unfinished()  # as the handler of a signal does, before the process ends
        assert folder.path.exists() == bool(phases)


def test_other_work_and_other_files_remove_it(tmp_path: Path) -> None:
    kill_one(tmp_path)
    with WorkFolder(tmp_path, {"text": 2}, resume=True) as folder:
        assert not folder.has("reading")
    assert list(tmp_path.iterdir()) == []
    kill_one(tmp_path)
    with atomic_write(tmp_path / "file") as file:
        file.write(b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_damaged_record_is_not_resumed(tmp_path: Path) -> None:
    kill_one(tmp_path)
    (left,) = tmp_path.iterdir()
    (left / "phases.json").write_text("{")
    with WorkFolder(tmp_path, {"text": 1}, resume=True) as folder:
        assert folder.phases == []
        assert not left.exists()


def test_it_stays_after_an_error_only_with_finished_phases(tmp_path: Path) -> None:
    with pytest.raises(KeyError), WorkFolder(tmp_path, {}):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyError), WorkFolder(tmp_path, {}) as folder:
        folder.finish("reading", arrays={"ids": np.arange(3)})
        assert folder.size() > 0
        raise KeyError
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(os.name == "nt", reason="names of Linux")
def test_a_folder_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no temporary folder can be made there: no such file"):
        WorkFolder(tmp_path / "none", {})
