"""Spark sessions, and models on their executors."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from unrolled.errors import MissingExtraError, SettingError, UnrolledError
from unrolled.storage.loading import StoredModel, load


@contextlib.contextmanager
def spark_session(master: str, **settings: str) -> Iterator[Any]:
    """A Spark session of its own on a master such as ``local[2]``, stopped at the end.

    The Python of the executors is this one unless PYSPARK_PYTHON names another. A driver on this
    machine alone talks to 127.0.0.1 only.

    Args:
        settings: configuration of Spark, dots as underscores: ``spark_executor_memory="4g"``.

    Raises:
        MissingExtraError: pyspark is not installed. SettingError: there is no Java, or a wrong
            master. UnrolledError: Spark does not start.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise MissingExtraError("spark", "pyspark") from None
    if not _java():
        raise SettingError("Spark needs Java 17 or later, and there is none", hint="Install a JRE")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.master(master).appName("unrolled")
    given = {
        "spark_ui_enabled": "false", "spark_ui_showConsoleProgress": "false",
        "spark_log_level": "ERROR",
    }  # fmt: skip
    if master.startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        given |= {"spark_driver_host": "127.0.0.1", "spark_driver_bindAddress": "127.0.0.1"}
    for name, value in (given | settings).items():
        builder = builder.config(name.replace("_", "."), value)
    try:
        spark = builder.getOrCreate()
    except Exception as error:
        raise UnrolledError(f"Spark does not start on {master}: {first_line(error)}") from error
    try:
        yield spark
    finally:
        spark.stop()


def _java() -> bool:
    home = os.environ.get("JAVA_HOME")
    return bool(home and Path(home, "bin", "java").exists()) or shutil.which("java") is not None


def first_line(error: BaseException) -> str:
    """What an exception of Spark says, without the traces of two languages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    for line in lines:
        if line.startswith("unrolled.errors."):
            return line.partition(": ")[2]
    return lines[0] if lines else type(error).__name__


def ship_model(spark: Any, model: StoredModel) -> str:
    """Send a model's file to every executor, once; the name by which `shipped_model` opens it."""
    if model.path is None:
        path = model_folder() / f"unrolled-{id(model):x}.safetensors"
        model.save(path)
        model.path = None
    else:
        stored = Path(model.path).absolute()
        stat = stored.stat()
        # Spark refuses another file of the same name, such as a model that was trained again.
        path = model_folder() / f"unrolled-{stat.st_ino:x}-{stat.st_mtime_ns:x}-{stored.name}"
        if not path.exists():
            try:
                os.link(stored, path)  # Spark would send a symbolic link under its target's name
            except OSError:
                shutil.copyfile(stored, path)
    spark.sparkContext.addFile(str(path))
    return path.name


@lru_cache(maxsize=2)
def shipped_model(name: str) -> StoredModel:
    """On an executor: the model, mapped; its processes share all but a quantized one's words."""
    from pyspark import SparkFiles

    return load(SparkFiles.get(name))


@lru_cache(maxsize=1)
def model_folder() -> Path:
    folder = tempfile.mkdtemp(prefix="unrolled-spark-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
