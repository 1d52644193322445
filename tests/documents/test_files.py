"""Files of documents: every field right, everything else unchanged, killed or not."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import math
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import zstandard

import unrolled
from unrolled import Annotation, SettingError, TextError, annotate_file
from unrolled.documents import jsonl_files
from unrolled.documents.outputs import UnfinishedFile

ROWS = [
    {"id": 1, "text": "the cat sat", "extra": [1.50, {"a": None}]},
    {"id": 2, "text": "The Dog\nsat on the cat\n\nthe mat"},
    {"text": "", "id": 3},
    {"id": 4, "text": "a zebra </s> and <s> é日\t \r the"},
]


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def expected(model, lines):
    """Log-probability, tokens and OOVs of lines, one at a time."""
    scores = [model.token_scores([line]) for line in lines]
    log_prob = sum(float(score.log_probs.sum(dtype=np.float64)) for score in scores)
    tokens = sum(score.ids.size - 1 for score in scores)
    return log_prob, tokens, sum(int(score.oov.sum()) for score in scores)


@pytest.mark.parametrize("name", ["words", "lower", "letters"])
def test_fields_of_documents(models, write_rows, tmp_path, name):
    source, output, model = write_rows(ROWS), tmp_path / "out.jsonl", models[name]
    done = annotate_file([model], source, output)
    assert (done.rows, done.kept, done.rejected) == (4, 4, 0)
    lines = source.read_bytes().splitlines()
    for before, row in zip(ROWS, read(output), strict=True):
        assert list(row)[-4:] == ["perplexity", "log_prob", "tokens", "oov"]
        text = before["text"].replace("<s>", "QZ").replace("</s>", "QZ")  # words it cannot know
        if name == "letters" and text != before["text"]:
            continue
        log_prob, tokens, oov = expected(model, text.split("\n"))
        assert (row["tokens"], row["oov"]) == (tokens, oov)
        assert row["log_prob"] == pytest.approx(log_prob, abs=2e-6)
        assert row["perplexity"] == pytest.approx(math.exp(-log_prob / tokens), abs=1e-6)
    for line, out in zip(lines, output.read_bytes().splitlines(), strict=True):
        assert out.startswith(line[:-1] + b', "perplexity": ')
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


def test_sums_are_those_of_evaluate(models, write_rows, tmp_path):
    source = write_rows(ROWS[:3])
    annotate_file([models["words"]], source, tmp_path / "out.jsonl")
    whole = unrolled.evaluate(models["words"], source)
    rows = read(tmp_path / "out.jsonl")
    assert sum(row["log_prob"] for row in rows) == pytest.approx(whole.log_prob, abs=1e-5)
    assert sum(row["tokens"] for row in rows) == whole.tokens
    assert sum(row["oov"] for row in rows) == whole.oov


def test_paragraphs_and_the_worst(models, write_rows, tmp_path):
    source, model = write_rows(ROWS[:3]), models["words"]
    annotate_file([model], source, tmp_path / "lists", Annotation(by="paragraph"))
    annotate_file([model], source, tmp_path / "worst", Annotation(by="worst"))
    lists, worst = read(tmp_path / "lists"), read(tmp_path / "worst")
    assert [len(row["tokens"]) for row in lists] == [1, 4, 1]
    for row, every, alone in zip(ROWS, lists, worst, strict=False):
        singly = [expected(model, [line]) for line in row["text"].split("\n")]
        assert every["tokens"] == [tokens for _, tokens, _ in singly]
        assert every["oov"] == [oov for *_, oov in singly]
        assert every["log_prob"] == pytest.approx([log_prob for log_prob, *_ in singly], abs=2e-6)
        words = [place for place, line in enumerate(row["text"].split("\n")) if line] or [0]
        place = max(words, key=lambda place: every["perplexity"][place])
        for name in ("perplexity", "log_prob", "tokens", "oov"):
            assert alone[name] == every[name][place]


def test_several_models_have_fields_of_their_names(models, write_rows, tmp_path):
    source = write_rows(ROWS)
    both = [models["words"], models["lower"]]
    annotate_file(both, source, tmp_path / "both")
    annotate_file(both, source, tmp_path / "named", Annotation(names=("a", "b")))
    for number, (name, model) in enumerate(zip(("words", "lower"), both, strict=True)):
        annotate_file([model], source, tmp_path / name)
        for one, two, named in zip(
            *map(read, (tmp_path / name, tmp_path / "both", tmp_path / "named")), strict=True
        ):
            for field in ("perplexity", "log_prob", "tokens", "oov"):
                assert one[field] == two[f"{field}_{name}"] == named[f"{field}_{'ab'[number]}"]
    with pytest.raises(SettingError, match="two models have the name 'words'"):
        annotate_file([models["words"]] * 2, source, tmp_path / "x")
    with pytest.raises(SettingError, match="there are 1 names for 2 models"):
        annotate_file(both, source, tmp_path / "x", Annotation(names=("a",)))
    with pytest.raises(SettingError, match="the name 'a-b' has more than letters"):
        annotate_file([both[0]], source, tmp_path / "x", Annotation(names=("a-b",)))


def unpacked(path):
    openers = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".zst": zstandard.open}
    with openers.get(path.suffix, open)(path, "rb") as file:
        return file.read()


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".bz2", ".xz"])
def test_compressed_files(models, write_rows, tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(jsonl_files, "BATCH_BYTES", 100)
    data = write_rows(ROWS * 20).read_bytes().removesuffix(b"\n")
    packers = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
    packers[".zst"] = zstandard.ZstdCompressor().compress
    source = tmp_path / f"packed.jsonl{suffix}"
    source.write_bytes(packers[suffix](data))
    plain, output = tmp_path / "plain.jsonl", tmp_path / f"out.jsonl{suffix}"
    annotate_file([models["words"]], source, plain)
    if suffix in (".bz2", ".xz"):
        with pytest.raises(SettingError, match=f"files that end in {suffix} are not written"):
            annotate_file([models["words"]], source, output)
        return
    seen = []
    annotate_file([models["words"]], source, output, threads=1, progress=seen.append)
    assert unpacked(output) == plain.read_bytes()
    assert plain.read_bytes().count(b"\n") == 80
    assert sum(seen) == source.stat().st_size


def test_broken_rows_are_set_aside(models, tmp_path):
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    broken = [b'{"text": "half', b"\xff\xfe", b'{"text": 1}', b"[]"]
    good = b'{"text": "the cat"}'
    source.write_bytes(b"\n".join([good, broken[0], b"", good, *broken[1:], good]))
    notes = []
    done = annotate_file([models["words"]], source, output, report=notes.append)
    assert (done.rows, done.kept, done.rejected, done.line) == (3, 3, 4, 8)
    aside = (tmp_path / "out.jsonl.rejected.tsv").read_bytes().splitlines()
    rows = [row.split(b"\t", 2) for row in aside]
    assert [row[2] for row in rows] == broken
    assert [int(row[0]) for row in rows] == [2, 5, 6, 7]
    assert notes[2] == f"{source}:6: the field 'text' is not a string: the row is set aside"
    assert len(read(output)) == 3
    source.write_bytes(good)
    annotate_file([models["words"]], source, output)  # a file of broken rows would be another's
    assert not (tmp_path / "out.jsonl.rejected.tsv").exists()
    source.write_bytes(b"[]\n" * 30 + good)
    notes.clear()
    annotate_file([models["words"]], source, output, rejected=tmp_path / "a", report=notes.append)
    assert len(notes) == 21 and "10 more rows are set aside" in notes[-1]
    assert (tmp_path / "a").read_bytes().count(b"\n") == 30


def test_rows_are_kept_by_a_condition(models, write_rows, tmp_path):
    source, output = write_rows(ROWS), tmp_path / "out.jsonl"
    for text, kept in {
        "oov == 0": [1, 3],
        "oov / tokens > 0.1 and not tokens < 5": [2, 4],
        "tokens > 100": [],
    }.items():
        done = annotate_file([models["words"]], source, output, Annotation(keep=text))
        assert [row["id"] for row in read(output)] == kept and done.kept == len(kept)
    with pytest.raises(SettingError, match="there is no field ppl"):
        annotate_file([models["words"]], source, output, Annotation(keep="ppl < 3"))


def test_infinite_perplexity_is_null_and_no_row_is_kept_for_it(write_rows, tmp_path):
    model = unrolled.train_ngram(texts=["a b"], order=1, smoothing="maximum-likelihood")
    source, output = write_rows([{"text": "a"}, {"text": "c"}]), tmp_path / "out.jsonl"
    annotate_file([model], source, output)
    assert [row["perplexity"] is None for row in read(output)] == [False, True]
    annotate_file([model], source, output, Annotation(keep="perplexity < 1e300"))
    assert [row["text"] for row in read(output)] == ["a"]


def bucketed(tmp_path, models, rows, write_rows, **settings):
    source, output = write_rows(rows), tmp_path / "out.jsonl"
    annotation = Annotation(buckets=("head", "middle", "tail"), **settings)
    annotate_file([models["words"]], source, output, annotation, save_cutoffs=tmp_path / "cuts")
    return [(row["perplexity"], row["bucket"]) for row in read(output)]


def random_rows(count):
    rng = np.random.default_rng(1)
    words = ["the", "cat", "sat", "on", "a", "mat", "dog", "and", "zebra", "yak"]
    for number in range(count):
        text = " ".join(rng.choice(words, rng.integers(1, 12)))
        yield {"id": number, "text": text, "note": "é" * int(rng.integers(9))}


def test_buckets_are_even_and_by_perplexity(models, write_rows, tmp_path, monkeypatch):
    monkeypatch.setattr(jsonl_files, "BATCH_BYTES", 2000)
    found = bucketed(tmp_path, models, random_rows(600), write_rows)
    assert [bucket for _, bucket in sorted(found)] == sorted(bucket for _, bucket in found)
    sizes = [sum(bucket == name for _, bucket in found) for name in ("head", "middle", "tail")]
    assert all(abs(size - 200) <= 5 for size in sizes)
    cuts = json.loads((tmp_path / "cuts").read_text())
    assert list(cuts) == ["head", "middle"]
    again = bucketed(tmp_path, models, random_rows(600), write_rows, cutoffs=str(tmp_path / "cuts"))
    assert again == found
    found = bucketed(tmp_path, models, random_rows(600), write_rows, shares=(0.1, 0.5))
    assert abs(sum(bucket == "head" for _, bucket in found) - 60) <= 5


def test_cutoffs_of_ccnet(models, write_rows, tmp_path):
    table = tmp_path / "cutoff.csv"
    table.write_text("percentile,de,en\n30,1,2\n33,4.5,5\n60,7,8\n66,9.5,10\n")
    found = bucketed(tmp_path, models, ROWS, write_rows, cutoffs=f"{table}:de")
    for perplexity, bucket in found:
        assert bucket == ("head" if perplexity < 4.5 else "middle" if perplexity < 9.5 else "tail")
    with pytest.raises(SettingError, match="no column 'fr'; it has de, en"):
        bucketed(tmp_path, models, ROWS, write_rows, cutoffs=f"{table}:fr")
    with pytest.raises(SettingError, match=r"Name .*cutoff\.csv:en"):
        bucketed(tmp_path, models, ROWS, write_rows, cutoffs=str(table))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"buckets": ("a",)}, "the buckets are 'a'. Give two or more"),
        ({"buckets": ("a", "a")}, "the buckets are 'a,a'"),
        ({"cutoffs": "x"}, "cut-offs are of buckets"),
        ({"buckets": ("a", "b"), "shares": (0.1, 0.2)}, "the shares are 0.1, 0.2, and 2 buckets"),
        ({"buckets": ("a", "b"), "shares": (1.5,)}, "the shares are 1.5"),
        ({"buckets": ("a", "b"), "cutoffs": "nothing"}, "nothing: the file cannot be read"),
        ({"by": "word"}, "by is 'word', allowed are document, paragraph, worst"),
        ({"field": "oov"}, "the new fields are perplexity, .*, and the text is in oov"),
    ],
)
def test_settings_that_are_refused(models, write_rows, tmp_path, settings, problem):
    with pytest.raises(SettingError, match=problem):
        annotate_file([models["words"]], write_rows(ROWS), tmp_path / "x", Annotation(**settings))


def test_stupid_backoff_has_no_perplexity(write_rows, tmp_path):
    model = unrolled.train_ngram(texts=["a b"], order=2, smoothing="stupid-backoff")
    with pytest.raises(unrolled.NotNormalisedError):
        annotate_file([model], write_rows(ROWS), tmp_path / "x")


KILLED = """
import os, signal, sys
from pathlib import Path
import unrolled
from unrolled.documents import jsonl_files, outputs
source, output, model, settings, after = sys.argv[1:]
jsonl_files.BATCH_BYTES, outputs.COMMIT_SECONDS = 1000, 0
left = int(after)
def dies(do):
    def done(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return do(*arguments, **options)
    return done
for name in ("append", "commit", "finish"):
    setattr(outputs.UnfinishedFile, name, dies(getattr(outputs.UnfinishedFile, name)))
annotation = unrolled.Annotation(**eval(settings))
unrolled.annotate_file([unrolled.load(model)], source, output, annotation)
"""
SETTINGS = [
    (".zst", "out.jsonl", {"keep": "tokens > 4"}),
    ("", "out.jsonl.zst", {"buckets": ("head", "tail"), "by": "paragraph"}),
]


@pytest.mark.parametrize(("packed", "name", "settings"), SETTINGS)
def test_killed_and_run_again_it_makes_the_same(
    models, tmp_path, write_rows, packed, name, settings
):
    model = models["words"].path
    data = write_rows(random_rows(150)).read_bytes() + b"broken\n" * 3 + b'{"text": "the last"}'
    source = tmp_path / f"documents.jsonl{packed}"
    source.write_bytes(zstandard.ZstdCompressor().compress(data) if packed else data)
    rng = np.random.default_rng(2)

    def run(output, after):
        words = [source, output, model, repr(settings), str(after)]
        return subprocess.run([sys.executable, "-c", KILLED, *map(str, words)], check=False)

    whole = tmp_path / f"whole-{name}"
    assert run(whole, 10**9).returncode == 0
    output, kills = tmp_path / name, 0
    while run(output, int(rng.integers(1, 22))).returncode == -signal.SIGKILL:
        assert not output.exists() or output.read_bytes() == whole.read_bytes()
        kills += 1
        assert kills < 40
    assert kills >= 2
    assert output.read_bytes() == whole.read_bytes()
    aside = Path(f"{output}.rejected.tsv").read_bytes()
    assert aside == Path(f"{whole}.rejected.tsv").read_bytes() and aside.count(b"\n") == 3
    assert not Path(f"{output}.partial").exists()


def test_an_unfinished_file_is_gone_on_with_by_the_same_run_only(models, write_rows, tmp_path):
    source, output = write_rows(ROWS), tmp_path / "out.jsonl"
    run = UnfinishedFile(output, {"keep": None, "field": "text"})
    with pytest.raises(SettingError, match="another process writes this file"):
        annotate_file([models["words"]], source, output)
    run.append("rows", b"abc")
    run.commit({"line": 7}, now=True)
    run.append("rows", b"lost")
    run.close()
    run = UnfinishedFile(output, {"keep": None, "field": "text"})
    assert run.state == {"line": 7}
    run.append("rows", b"def")
    assert (tmp_path / "out.jsonl.partial" / "rows").read_bytes() == b"abcdef"
    run.close()
    with pytest.raises(SettingError, match="an unfinished run had another version of unrolled"):
        annotate_file([models["words"]], source, output)
    with pytest.raises(SettingError, match="unfinished run had another keep.*remove the folder"):
        UnfinishedFile(output, {"keep": "oov == 0", "field": "text"})
    (tmp_path / "out.jsonl.partial" / "state.json").write_text("{")
    with pytest.raises(SettingError, match="the state of an unfinished run cannot be read"):
        UnfinishedFile(output, {})


def test_outputs_that_cannot_be_written(models, write_rows, tmp_path):
    source = write_rows(ROWS)
    with pytest.raises(SettingError, match="it is read, and would be written over"):
        annotate_file([models["words"]], source, source)
    with pytest.raises(SettingError, match="the folder .*nowhere does not exist"):
        annotate_file([models["words"]], source, tmp_path / "nowhere" / "out")
    with pytest.raises(unrolled.TextError, match="there is no such file"):
        annotate_file([models["words"]], tmp_path / "none", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_pipes(models, write_rows, tmp_path, monkeypatch):
    source, rows = write_rows(ROWS), io.BytesIO()
    annotate_file([models["words"]], source, tmp_path / "out.jsonl")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(source.read_bytes())))
    annotate_file([models["words"]], "-", rows)
    assert rows.getvalue() == (tmp_path / "out.jsonl").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(source.read_bytes())))
    with pytest.raises(SettingError, match="standard input is read once"):
        annotate_file([models["words"]], "-", io.BytesIO(), Annotation(buckets=("a", "b")))


def test_devices_stay_devices(models, write_rows, tmp_path):
    source, output = write_rows(ROWS), tmp_path / "out.jsonl"
    with pytest.raises(SettingError, match="/dev/null: is a device or a pipe"):
        annotate_file([models["words"]], source, "/dev/null")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    annotate_file([models["words"]], source, output, rejected=pipe)
    assert pipe.is_fifo()


def test_broken_rows_go_to_another_disk(models, write_rows, tmp_path):
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other file system")
    source, output = write_rows([*ROWS, {"text": 1}]), tmp_path / "out.jsonl"
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        rejected = Path(folder) / "bad.tsv"
        annotate_file([models["words"]], source, output, rejected=rejected)
        assert rejected.read_text().startswith("5\tthe field 'text' is not a string")
    assert not (tmp_path / "out.jsonl.partial").exists()


def test_a_first_pass_without_documents_leaves_nothing(models, write_rows, tmp_path):
    source, output = write_rows(ROWS), tmp_path / "out.jsonl"
    annotation = Annotation(field="txt", buckets=("a", "b"))
    with pytest.raises(TextError, match="all rows are broken: nothing is written. Is 'txt' the"):
        annotate_file([models["words"]], source, output, annotation)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]
