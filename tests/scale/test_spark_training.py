"""The model of a cluster has the bytes of the model from memory."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

import unrolled
from unrolled.errors import SettingError, TextError, UnrolledError
from unrolled.ngram.estimation.config import SMOOTHING_NAMES
from unrolled.scale import spark_text
from unrolled.scale.spark_text import pieces_of, read_pieces
from unrolled.text.sources import raw_blocks

pytestmark = [
    # pyspark warns of pandas 3, which is not used here.
    pytest.mark.filterwarnings("ignore:PySpark does not yet:FutureWarning"),
    pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning"),
]

WORDS = [f"w{number}" for number in range(30)]
SHARES = 1 / np.arange(1, 31)


def texts(lines: int, seed: int = 1) -> list[str]:
    rng = np.random.default_rng(seed)
    shares = SHARES / SHARES.sum()
    return [" ".join(rng.choice(WORDS, rng.integers(0, 12), p=shares)) for _ in range(lines)]


def assert_same(model: Any, expected: Any) -> None:
    arrays = expected.arrays()
    assert list(model.arrays()) == list(arrays)
    for name, array in arrays.items():
        other = model.arrays()[name]
        assert other.dtype == array.dtype, name
        assert other.tobytes() == array.tobytes(), name
    for name in ("discounts", "deltas"):
        assert model.provenance.get(name) == expected.provenance.get(name)
    assert model.config == {**model.config, **expected.config, "prune": model.config["prune"]} | {
        "discount_fallback": model.config["discount_fallback"]
    }


def trained(spark: Any, lines: list[str], partitions: int, path: Path, **settings: Any) -> Any:
    frame = spark.createDataFrame([(line,) for line in lines], "line string").coalesce(partitions)
    return unrolled.spark.train_ngram(frame, path, column="line", partitions=partitions, **settings)


def test_a_dataframe_of_two_partitions(spark: Any, tmp_path: Path) -> None:
    lines = [*texts(200), "ünï cöde", "a <unk> b"]
    settings: dict[str, Any] = {"order": 4, "prune": [0, 0, 1], "min_count": 2}
    model = trained(spark, lines, 2, tmp_path / "m.safetensors", **settings)
    assert_same(model, unrolled.train_ngram(texts=lines, **settings))
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def test_katz_in_five_partitions_and_shards(spark: Any, tmp_path: Path) -> None:
    lines = texts(200, 5)
    model = trained(spark, lines, 5, tmp_path / "m", order=4, smoothing="katz", shards=True)
    assert_same(model, unrolled.train_ngram(texts=lines, order=4, smoothing="katz"))
    assert (tmp_path / "m" / "shards.json").exists()


def test_a_quantized_model(spark: Any, tmp_path: Path) -> None:
    lines = texts(200, 7)
    settings: dict[str, Any] = {"order": 4, "smoothing": "witten-bell", "prune": [0, 0, 1]}
    model = trained(spark, lines, 3, tmp_path / "m", quantize=8, **settings)
    assert_same(model, unrolled.quantize(unrolled.train_ngram(texts=lines, **settings)))


def test_files_with_weights(spark: Any, tmp_path: Path) -> None:
    paths = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for number, path in enumerate(paths):
        path.write_text("\n".join(texts(60, number)), encoding="utf-8")
    settings: dict[str, Any] = {"order": 3, "weights": [2, 1], "words": WORDS[:20]}
    settings["smoothing"] = "additive"
    model = unrolled.spark.train_ngram_files(spark, paths, tmp_path / "m.safetensors", **settings)
    assert_same(model, unrolled.train_ngram(paths, **settings))


def test_urls_of_text_jsonl_and_parquet(spark: Any, tmp_path: Path) -> None:
    paths = [tmp_path / "a.txt", tmp_path / "b.jsonl.gz", tmp_path / "c.parquet"]
    paths[0].write_bytes(b"one\r\ntwo na\xefve\n\nthree\n")
    with gzip.open(paths[1], "wt") as file:
        file.writelines(json.dumps({"a": f"one\n{line}"}) + "\n" for line in texts(9))
    pyarrow.parquet.write_table(pyarrow.table({"a": texts(9, 2), "b": range(9)}), paths[2])
    options = unrolled.TextOptions(field="a", invalid="replace")
    settings: dict[str, Any] = {"order": 2, "smoothing": "witten-bell", "weights": [1, 2, 1]}
    model = unrolled.spark.train_ngram_files(
        spark, [path.as_uri() for path in paths], tmp_path / "m", options=options, partitions=2,
        **settings,
    )  # fmt: skip
    assert_same(model, unrolled.train_ngram(paths, options=options, **settings))
    with pytest.raises(UnrolledError, match="nowhere"):
        unrolled.spark.train_ngram_files(spark, "file:///nowhere/x.txt", tmp_path / "m", order=2)


def test_errors_of_the_cluster_are_sentences(spark: Any, tmp_path: Path) -> None:
    path, target = tmp_path / "latin.txt", tmp_path / "m.safetensors"
    path.write_bytes(b"fine\nna\xefve\n")
    with pytest.raises(UnrolledError, match=r"latin\.txt:2: byte 0xef at offset 7 is not UTF-8"):
        unrolled.spark.train_ngram_files(spark, path, target)
    with pytest.raises(TextError, match="the text is empty"):
        unrolled.spark.train_ngram(spark.createDataFrame([], "x string"), target, column="x")
    with pytest.raises(SettingError, match="has no column 'y' of text"):
        unrolled.spark.train_ngram(spark.createDataFrame([], "x string"), target, column="y")
    with pytest.raises(TextError, match="standard input cannot be read by a cluster"):
        unrolled.spark.train_ngram_files(spark, "-", target)
    assert [path.name for path in tmp_path.iterdir()] == ["latin.txt"]


def kill_an_executor(spark: Any) -> None:
    """Kill one of the processes that compute for this session."""
    application = spark.sparkContext.applicationId.encode()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if b"--executor-id" in words and application in words:
                os.kill(int(path.parent.name), signal.SIGKILL)
                return
    raise AssertionError("the cluster has no executor")


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_an_executor_is_killed(spark: Any, tmp_path: Path) -> None:
    lines, killed = texts(100, 3), []

    def report(stage: str) -> None:
        if "order 2" in stage:  # what it counted is lost
            kill_an_executor(spark)
            killed.append(stage)

    model = trained(spark, lines, 2, tmp_path / "m.safetensors", order=3, report=report)
    assert killed
    assert_same(model, unrolled.train_ngram(texts=lines, order=3))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
@pytest.mark.parametrize("phase", ["words", "n-grams", "order 2", "order 3", "order 4", "writing"])
def test_an_executor_is_killed_in_each_phase(spark: Any, tmp_path: Path, phase: str) -> None:
    lines, killed = texts(100, 3), []

    def report(stage: str) -> None:
        if phase in stage and not killed:
            kill_an_executor(spark)
            killed.append(stage)

    model = trained(spark, lines, 3, tmp_path / "m.safetensors", order=4, report=report)
    assert killed
    assert_same(model, unrolled.train_ngram(texts=lines, order=4))


@pytest.mark.slow
@pytest.mark.parametrize("partitions", [2, 5])
@pytest.mark.parametrize("order", range(1, 8))
@pytest.mark.parametrize("smoothing", SMOOTHING_NAMES)
def test_every_smoothing_and_order(
    spark: Any, tmp_path: Path, smoothing: str, order: int, partitions: int
) -> None:
    lines, prune = texts(150, order), [[], [0, 0, 1][:order], [0, 1][:order]][order % 3]
    settings: dict[str, Any] = {"order": order, "smoothing": smoothing, "prune": prune}
    expected = unrolled.train_ngram(texts=lines, **settings)
    model = trained(spark, lines, partitions, tmp_path / "m.safetensors", **settings)
    assert_same(model, expected)
    if partitions == 2 and order % 3 == 1:
        model = trained(spark, lines, partitions, tmp_path / "q", quantize=8, **settings)
        assert_same(model, unrolled.quantize(expected))


@pytest.mark.parametrize("size", [1, 7, 40, 10_000])
def test_pieces_of_a_file_are_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\n\ntwo three four five six\n\n\nseven\nlast")
    monkeypatch.setattr(spark_text, "PIECE_BYTES", size)
    pieces = pieces_of(path, None)
    blocks = list(read_pieces(pieces))
    assert b"".join(block.data for block in blocks) == path.read_bytes()
    whole = next(iter(raw_blocks(path)))
    places = [block.place(line) for block in blocks for line in range(block.data.count(b"\n"))]
    assert places == [whole.place(line) for line in range(6)]
