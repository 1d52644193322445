"""What each extra is for, tried once: `python smoke.py EXTRA` in a fresh environment.

It runs in a temporary folder, imports nothing of the repository, and fails where anything does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

SENTENCES = ["the cat sat on the mat", "the dog sat on the cat", "a cat saw the dog"] * 40
NAMES = "Ann B-PER\nsaw O\nRome B-LOC\n\nwe O\nsaw O\nAnn B-PER\n\n" * 20


def run(command: str) -> str:
    """What a command of the shell prints."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        command,
        shell=True,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    if result.returncode != 0:
        raise SystemExit(f"{command}: exit code {result.returncode}\n{result.stderr}")
    return result.stdout


def base() -> None:
    """N-gram models, and a sentence where something needs an extra."""
    assert run("unrolled --version").startswith("unrolled ")
    run("unrolled train ngram text.txt -o m.safetensors --order 3")
    assert "ppl" in run("unrolled evaluate m.safetensors text.txt")
    run("unrolled convert m.safetensors m.arpa")
    run("unrolled compile")
    missing = subprocess.run(
        [sys.executable, "-m", "unrolled", "train", "net", "text.txt", "-o", "n.safetensors"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert missing.returncode == 2, missing.stderr
    assert "unrolled[neural]" in missing.stderr, missing.stderr
    assert "Traceback" not in missing.stderr, missing.stderr


def text() -> None:
    """Compressed text, Parquet, and SentencePiece."""
    import pyarrow
    import pyarrow.parquet
    import sentencepiece
    import zstandard

    Path("text.zst").write_bytes(zstandard.compress(Path("text.txt").read_bytes()))
    pyarrow.parquet.write_table(pyarrow.table({"text": SENTENCES}), "text.parquet")
    sentencepiece.SentencePieceTrainer.train(
        input="text.txt", model_prefix="pieces", vocab_size=20, minloglevel=2
    )
    for arguments in ("text.zst", "text.parquet", "text.txt --tokens pieces.model"):
        run(f"unrolled train ngram {arguments} -o m.safetensors --order 2")


def demo() -> None:
    """The demo; without torch it leaves the nets and the tagger out, and says so."""
    assert "5-gram" in run("unrolled demo")


def neural() -> None:
    """A net, its gradients, and a tagger."""
    run("unrolled train net text.txt -o net.safetensors --hidden 8 --epochs 1")
    run("unrolled evaluate net.safetensors text.txt")
    run("unrolled gradients net.safetensors text.txt --steps 5")
    _train_names()
    assert "PER" in run("echo Ann saw Rome | unrolled tag names.safetensors --format inline")


def report() -> None:
    """The page of `unrolled compare`."""
    run("unrolled compare text.txt text.txt text.txt --only bigram,trigram -o out")
    assert "<svg" in Path("out/report.html").read_text(encoding="utf-8")


def onnx() -> None:
    """A net as ONNX."""
    import onnxruntime

    run("unrolled train net text.txt -o net.safetensors --hidden 8 --epochs 1")
    run("unrolled export net.safetensors net.onnx")
    onnxruntime.InferenceSession("net.onnx")


def sklearn() -> None:
    """The estimator, in a function of scikit-learn."""
    from sklearn.model_selection import cross_val_score

    import unrolled

    words, tags = [["Ann", "ran"], ["we", "ran"]] * 10, [["B-PER", "O"], ["O", "O"]] * 10
    estimator = unrolled.TaggerEstimator(hidden=8, embedding=8, epochs=2, threads=1)
    assert len(cross_val_score(estimator, words, tags, cv=2)) == 2


def spacy() -> None:
    """A tagger in a pipeline, which spaCy finds by itself."""
    import spacy as library

    _train_names()
    pipeline = library.blank("en")
    pipeline.add_pipe("unrolled", config={"model": "names.safetensors"})
    pipeline("Ann saw Rome")


def server() -> None:
    """A server that answers, and ends when it is stopped."""
    import json
    import urllib.request

    run("unrolled train ngram text.txt -o m.safetensors --order 2")
    process = subprocess.Popen(
        [sys.executable, "-m", "unrolled", "serve", "m.safetensors", "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        address = next(
            word.rstrip(",/.")
            for line in process.stderr
            for word in line.split()
            if word.startswith("http://127.0.0.1:")
        )
        with urllib.request.urlopen(f"{address}/models", timeout=30) as answer:
            assert json.load(answer)
    finally:
        process.terminate()
        process.wait(60)


def spark() -> None:
    """Spark and Parquet are there."""
    import pyarrow
    import pyspark

    assert pyspark.__version__
    assert pyarrow.__version__


def tables() -> None:
    """A table of surprisals as a DataFrame."""
    import unrolled

    run("unrolled train ngram text.txt -o m.safetensors --order 2")
    table = unrolled.surprisal_table(unrolled.load("m.safetensors"), SENTENCES[:2])
    assert len(table.to_pandas()) == 12


def _train_names() -> None:
    Path("names.txt").write_text(NAMES, encoding="utf-8")
    run("unrolled train tagger names.txt -o names.safetensors --hidden 8 --epochs 3 --rate 0.02")


def all_extras() -> None:
    """The whole demo: nets, the tagger, and the page."""
    printed = run("unrolled demo --output demo")
    assert "LSTM" in printed, printed
    assert "punctuation" in printed, printed
    assert Path("demo/report.html").is_file()


SMOKE: dict[str, Callable[[], None]] = {
    "": base,
    "text": text,
    "demo": demo,
    "neural": neural,
    "report": report,
    "onnx": onnx,
    "sklearn": sklearn,
    "spacy": spacy,
    "server": server,
    "spark": spark,
    "tables": tables,
    "all": all_extras,
}

if __name__ == "__main__":
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.chdir(folder)
        Path("text.txt").write_text("\n".join(SENTENCES) + "\n", encoding="utf-8")
        SMOKE[sys.argv[1] if len(sys.argv) > 1 else ""]()
