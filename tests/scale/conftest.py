"""One cluster of two worker processes for all tests of Spark."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def _spark_home(folder: Path) -> Path:
    """The installed Spark by links: the workers of ``local-cluster`` write into its folder."""
    specification = importlib.util.find_spec("pyspark")
    assert specification is not None and specification.origin is not None
    for entry in Path(specification.origin).parent.iterdir():
        if entry.name != "work":
            (folder / entry.name).symlink_to(entry)
    return folder


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A session on a real cluster; skipped where it cannot run."""
    pytest.importorskip("pyspark", reason="pyspark is not installed: pip install unrolled[spark]")
    if shutil.which("java") is None:
        pytest.skip("there is no Java: the tests of Spark need a JRE of version 17 or later")
    from unrolled.scale.spark_session import spark_session

    source = Path(__file__).parents[2] / "src"
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(source), os.environ.get("PYTHONPATH", "")])
    )
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["SPARK_HOME"] = str(_spark_home(tmp_path_factory.mktemp("home")))
    events = tmp_path_factory.mktemp("events")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        with spark_session(
            "local-cluster[2,1,1024]",
            spark_executor_memory="1g",
            spark_sql_shuffle_partitions="4",
            spark_eventLog_enabled="true",
            spark_eventLog_dir=f"file://{events}",
            spark_local_dir=str(tmp_path_factory.mktemp("spark")),
        ) as session:
            yield session
