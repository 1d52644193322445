"""The command line: what each command prints, and that bad input is one line and leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import unrolled

TRAIN = "the cat sat on the mat\nthe dog sat on the log\na cat and a dog met\nthe cat ran\n" * 5
TEST = "the cat sat on the log\na dog ran\nthe zebra sat\n"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    (folder / "train.txt").write_text(TRAIN)
    (folder / "test.txt").write_text(TEST)
    model = unrolled.train_ngram(folder / "train.txt", order=3, smoothing="witten-bell")
    model.save(folder / "model.safetensors")
    other = unrolled.train_ngram(texts=["the log sat", "a zebra sat on the dog"], order=2,
                                 smoothing="witten-bell")  # fmt: skip
    other.save(folder / "other.safetensors")
    return folder


def test_train_and_evaluate(run: Run, folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "m.safetensors"
    code, out, _ = run(
        "train", "ngram", folder / "train.txt", "-o", target, "--order", 3,
        "--smoothing", "witten-bell",
    )  # fmt: skip
    assert (code, out) == (0, "")
    code, out, _ = run("evaluate", target, folder / "test.txt")
    assert code == 0
    assert out.startswith("ppl ")
    assert "| 15 tokens | vocab 13 | oov 1 as <unk> | eos counted | witten-bell-3 |" in out
    code, out, _ = run("evaluate", target, folder / "test.txt", "--unknown", "skip", "--json")
    facts = json.loads(out)
    assert facts["tokens"] == 15
    assert facts["oov"] == 1
    assert facts["unknown"] == "skip"


def test_fallback_discounts_are_said_and_strict_refuses(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "m.safetensors"
    code, _, err = run("train", "ngram", folder / "train.txt", "-o", target)
    assert code == 0
    assert "note: order" in err
    assert "using discounts (0.5, 1.0, 1.5)" in err
    target.unlink()
    code, _, err = run("train", "ngram", folder / "train.txt", "-o", target, "--set", "strict=true")
    assert code == 2
    assert "has no closed form" in err
    assert not target.exists()


def test_score_by_sentence_and_word(run: Run, folder: Path) -> None:
    model = unrolled.load(folder / "model.safetensors")
    code, out, _ = run("score", folder / "model.safetensors", folder / "test.txt", "--unit", "nats")
    lines = out.splitlines()
    assert code == 0
    assert lines[0] == "nats\tsentence"
    value, text = lines[1].split("\t")
    assert text == "the cat sat on the log"
    assert float(value) == pytest.approx(model.score(text), abs=1e-5)
    _, out, _ = run(
        "score", folder / "model.safetensors", folder / "test.txt", "--by", "word",
        "--unit", "bits", "--format", "jsonl",
    )  # fmt: skip
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["word"] for row in rows[:3]] == ["the", "cat", "sat"]
    assert [row["word"] for row in rows if row["oov"]] == ["zebra"]
    total = sum(row["bits"] for row in rows if row["sentence"] == 1)
    assert total == pytest.approx(-model.score(text) / 0.6931471805599453, abs=1e-4)


def test_rank_predict_generate(run: Run, folder: Path) -> None:
    model = folder / "model.safetensors"
    _, out, _ = run("rank", model, "sat cat the", "the cat sat")
    assert [line.split("\t")[1] for line in out.splitlines()[1:]] == ["the cat sat", "sat cat the"]
    _, out, _ = run("predict", model, "the cat", "-n", 2)
    assert [line.split("\t")[1] for line in out.splitlines()[1:]] == ["sat", "ran"]
    _, out, _ = run("predict", model, "the cat", "-n", 2, "--format", "jsonl")
    assert [json.loads(line)["word"] for line in out.splitlines()] == ["sat", "ran"]
    _, out, _ = run("rank", model, "sat cat the", "the cat sat", "--format", "jsonl")
    assert [json.loads(line)["sentence"] for line in out.splitlines()] == [
        "the cat sat", "sat cat the"
    ]  # fmt: skip
    _, first, _ = run("generate", model, "-n", 3, "--seed", 4)
    _, again, _ = run("generate", model, "-n", 3, "--seed", 4)
    assert first == again
    assert len(first.splitlines()) == 3


def test_a_plan_and_a_folder_of_shards(run: Run, folder: Path, tmp_path: Path) -> None:
    text, target = folder / "train.txt", tmp_path / "shards"
    code, out, _ = run("train", "ngram", text, "-o", target, "--order", 2, "--dry-run")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == [
        "text", "n-grams", "memory", "disk", "time",
    ]  # fmt: skip
    assert not target.exists()
    counts = tmp_path / "counts.gz"
    assert run("count", text, "-o", counts, "--order", 2)[0] == 0
    words = ("train", "ngram", counts, "--from-counts", "-o", tmp_path / "m.arpa.gz", "--dry-run")
    code, out, err = run(*words)
    assert code == 0, err
    assert [line.split()[0] for line in out.splitlines()] == [
        "counts", "n-grams", "memory", "disk", "time",
    ]  # fmt: skip
    assert run("train", "ngram", text, "-o", target, "--order", 2, "--shards")[0] == 0
    assert sorted(path.name for path in target.iterdir()) == [
        "shard-00000.safetensors", "shards.json",
    ]  # fmt: skip
    assert run("evaluate", target, text)[1].startswith("ppl ")


def test_generate_a_text_into_a_file(run: Run, folder: Path, tmp_path: Path) -> None:
    model, path = folder / "model.safetensors", tmp_path / "random.txt"
    assert run("generate", model, "--tokens", "2k", "--seed", 4, "-o", path) == (0, "", "")
    drawn = path.read_text(encoding="utf-8").splitlines()
    assert 2000 <= sum(len(line.split()) + 1 for line in drawn) < 2000 + 10_000
    _, same, _ = run("generate", model, "--sentences", 5, "--seed", 4, "--threads", 1)
    assert same.splitlines() == drawn[:5]


def test_convert_there_and_back(run: Run, folder: Path, tmp_path: Path) -> None:
    arpa, back = tmp_path / "m.arpa.gz", tmp_path / "back.safetensors"
    assert run("convert", folder / "model.safetensors", arpa)[0] == 0
    assert run("convert", arpa, back)[0] == 0
    ours = unrolled.load(folder / "model.safetensors")
    theirs = unrolled.load(back)
    for line in TEST.splitlines():
        assert theirs.score(line) == pytest.approx(ours.score(line), abs=1e-5)
    small = tmp_path / "small.safetensors"
    assert run("convert", folder / "model.safetensors", small, "--quantize", 8)[0] == 0
    assert unrolled.load(small).trie.quantized


def test_prune_takes_frequencies_of_contexts_from_another_model(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    model, other = folder / "model.safetensors", tmp_path / "other.safetensors"
    unrolled.train_ngram(folder / "test.txt", order=2, smoothing="witten-bell").save(other)
    kept = {}
    for history in ("stationary", "chain", other):
        target = tmp_path / "pruned.safetensors"
        code = run("prune", model, target, "--threshold", 3e-2, "--history", history)[0]
        kept[history] = unrolled.load(target)
        assert code == 0
        if history != other:
            assert str(history) in json.dumps(kept[history].provenance)
    assert len({tuple(pruned.trie.levels) for pruned in kept.values()}) > 1
    wrong = run("prune", model, tmp_path / "x.safetensors", "--threshold", 1, "--history", "chains")
    assert (
        wrong[0] == 2
        and "chains', allowed are stationary" in wrong[2]
        and not (tmp_path / "x.safetensors").exists()
    )


def test_prune_filter_mix(run: Run, folder: Path, tmp_path: Path) -> None:
    model, target = folder / "model.safetensors", tmp_path / "t.safetensors"
    assert run("prune", model, target, "--threshold", 1e-2)[0] == 0
    assert unrolled.load(target).parameters < unrolled.load(model).parameters
    (tmp_path / "words.txt").write_text("the\ncat\nsat\n")
    assert run("filter", model, target, "--words", tmp_path / "words.txt")[0] == 0
    assert set(unrolled.load(target).vocabulary) == {"<unk>", "<s>", "</s>", "the", "cat", "sat"}
    code, out, _ = run(
        "mix", model, folder / "other.safetensors", "-o", target, "--tune", folder / "test.txt"
    )
    weights = [float(line.split("\t")[0]) for line in out.splitlines()[1:]]
    assert code == 0
    assert sum(weights) == pytest.approx(1, abs=1e-3)
    assert "zebra" in unrolled.load(target).vocabulary


@pytest.mark.parametrize("how", ["--dynamic", "--log-linear"])
def test_every_command_takes_a_mixture(run: Run, folder: Path, tmp_path: Path, how: str) -> None:
    model, target = folder / "model.safetensors", tmp_path / "mix.safetensors"
    smaller = tmp_path / "bigram.safetensors"
    unrolled.train_ngram(folder / "train.txt", order=2, smoothing="witten-bell").save(smaller)
    code, out, err = run("mix", model, smaller, "-o", target, how, "--tune", folder / "test.txt")
    assert code == 0, err
    assert [line.split("\t")[1] for line in out.splitlines()] == [
        "model", str(model), str(smaller),
    ]  # fmt: skip
    code, out, err = run("evaluate", target, folder / "test.txt")
    assert code == 0, err
    sign = " + " if how == "--dynamic" else " * "
    assert sign in out.split(" | ")[5]
    for words in (
        ("score", target, folder / "test.txt", "--by", "word"),
        ("rank", target, "the cat", "cat the"),
        ("predict", target, "the"),
        ("generate", target, "--seed", 1),
        ("info", target, "--verify"),
        ("info", target, "--words"),
        ("convert", target, tmp_path / "copy.safetensors"),
    ):
        code, out, err = run(*words)
        assert (code, err) == (0, ""), err
        assert out or words[0] == "convert"
    facts = json.loads(run("info", target, "--json")[1])
    assert [part["name"] for part in facts["models"]] == ["witten-bell-3", "witten-bell-2"]
    assert facts["settings"]["weights"] == [part["weight"] for part in facts["models"]]
    (tmp_path / "words").write_text("the\n")
    for words, message in (
        (
            ("prune", target, tmp_path / "x.safetensors", "--threshold", 1),
            "prune needs an n-gram model",
        ),
        (
            ("filter", target, tmp_path / "x", "--words", tmp_path / "words"),
            "filter needs",
        ),
        (("convert", target, tmp_path / "x", "--quantize", 8), "--quantize needs an n-gram model"),
        (("convert", target, tmp_path / "x.arpa"), "an ARPA file needs an n-gram model"),
    ):
        code, out, err = run(*words)
        assert (code, out) == (2, "")
        assert message in err


def test_a_cache_is_mixed_in(run: Run, folder: Path, tmp_path: Path) -> None:
    model, target = folder / "model.safetensors", tmp_path / "cache.safetensors"
    code, out, err = run("mix", model, "--cache", 20, "-o", target, "--tune", folder / "test.txt")
    assert code == 0, err
    assert [line.split("\t")[1] for line in out.splitlines()[1:]] == [str(model), "cache-20"]
    assert " cache-20 |" in run("evaluate", target, folder / "test.txt")[1]
    code, _, err = run("mix", model, "--cache", 0, "-o", tmp_path / "x.safetensors")
    assert code == 2
    assert "half_life 0.0 must be above 0" in err


@pytest.mark.parametrize("counts", [False, True])
def test_models_trained_on_one_list_of_words_mix_dynamically(
    run: Run, folder: Path, tmp_path: Path, counts: bool
) -> None:
    words = tmp_path / "words.txt"
    words.write_text("cat\nnowhere\nthe\n")
    models = []
    for name in ("train", "test"):
        text = folder / f"{name}.txt"
        if counts:
            assert run("count", text, "-o", tmp_path / name, "--order", 2)[0] == 0
            text = tmp_path / name
        models.append(tmp_path / f"{name}.safetensors")
        code, _, err = run(
            "train", "ngram", text, "-o", models[-1], "--vocabulary", words, "--order", 2,
            "--smoothing", "witten-bell", *(["--from-counts"] if counts else []),
        )  # fmt: skip
        assert code == 0, err
        lines = run("info", models[-1], "--words")[1].splitlines()
        assert [line.split("\t")[1] for line in lines[3:]] == ["cat", "nowhere", "the"]
    code, _, err = run("mix", *models, "--dynamic", "-o", tmp_path / "both.safetensors")
    assert code == 0, err


@pytest.mark.parametrize("limit", [("--min-count", 2), ("--vocabulary-size", 3)])
def test_limits_that_count_files_cannot_have_are_refused(
    run: Run, folder: Path, tmp_path: Path, limit: tuple[str, int]
) -> None:
    counts = tmp_path / "counts"
    assert run("count", folder / "train.txt", "-o", counts, "--order", 2)[0] == 0
    code, _, err = run("train", "ngram", counts, "--from-counts", "-o", tmp_path / "m", *limit)
    assert code == 2
    assert err.startswith(f"unrolled: {limit[0]} does not go with --from-counts")


def test_a_note_where_it_is_unknown_how_text_was_cut(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    arpa = tmp_path / "m.arpa"
    assert run("convert", folder / "model.safetensors", arpa)[0] == 0
    note = "note: it is unknown how the text of the model was split into tokens"
    assert note not in run("evaluate", arpa, folder / "test.txt")[2]
    arpa.write_text(arpa.read_text().split("\n", 1)[1])
    for command in (("evaluate", arpa), ("score", arpa)):
        _, _, err = run(*command, folder / "test.txt")
        assert note in err
        assert note not in run(*command, folder / "test.txt", "--tokens", "word")[2]


def test_unicode_forms_are_reported_and_normalised(run: Run, tmp_path: Path) -> None:
    text, target = tmp_path / "t.txt", tmp_path / "m.safetensors"
    text.write_text("na\u00efve nai\u0308ve\u00a0x nai\u0308ve\n" * 3)
    train = ("train", "ngram", text, "-o", target, "--smoothing", "witten-bell")
    code, _, err = run(*train)
    assert code == 0
    assert "note: 1 word (3 times) hold no-break spaces" in err
    assert "(NFC, 3 times) and not (3 times)" in err
    code, _, err = run(*train, "--normalise", "nfkc")
    assert (code, "--normalise" in err) == (0, False)
    words = run("info", target, "--words")[1].splitlines()[3:]
    assert words == ["3\tna\u00efve", "4\tx"]


def test_count_files_are_merged(run: Run, folder: Path, tmp_path: Path) -> None:
    for name in ("train", "test"):
        code, _, err = run("count", folder / f"{name}.txt", "-o", tmp_path / name, "--order", 2)
        assert code == 0, err
    merge = ("count", tmp_path / "train", tmp_path / "test", "--from-counts")
    code, _, err = run(*merge, "-o", tmp_path / "both")
    assert code == 0, err
    texts = (folder / "train.txt", folder / "test.txt")
    assert run("count", *texts, "-o", tmp_path / "text", "--order", 2)[0] == 0
    merged = sorted((tmp_path / "both").read_text().splitlines())
    assert merged == sorted((tmp_path / "text").read_text().splitlines())
    assert run(*merge, "-o", tmp_path / "twice", "--weights", "1 2", "--order", 1)[0] == 0
    lines = dict(line.split("\t") for line in (tmp_path / "twice").read_text().splitlines())
    assert lines["zebra"] == "2" and "the cat" not in lines
    code, _, err = run("count", *texts, "-o", tmp_path / "x", "--weights", "1 2")
    assert (code, err) == (2, "unrolled: --weights goes with --from-counts\n")


def test_count_files_train_the_same_model(run: Run, folder: Path, tmp_path: Path) -> None:
    counts, target = tmp_path / "counts.gz", tmp_path / "m.safetensors"
    assert run("count", folder / "train.txt", "-o", counts, "--order", 3)[0] == 0
    code, _, err = run(
        "train", "ngram", counts, "--from-counts", "-o", target, "--order", 3,
        "--smoothing", "witten-bell",
    )  # fmt: skip
    assert code == 0, err
    ours = unrolled.load(folder / "model.safetensors")
    assert unrolled.load(target).score("the cat sat") == ours.score("the cat sat")


def test_info(run: Run, folder: Path) -> None:
    code, out, _ = run("info", folder / "model.safetensors", "--json", "--verify")
    facts = json.loads(out)
    assert code == 0
    assert facts["name"] == "witten-bell-3"
    assert facts["verified"] is True
    assert facts["n-grams"][0] == facts["vocabulary"]
    _, out, _ = run("info", folder / "model.safetensors", "--words")
    assert out.splitlines()[:4] == ["0\t<unk>", "1\t<s>", "2\t</s>", "3\tthe"]


def test_stupid_backoff_scores_but_has_no_perplexity(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "s.safetensors"
    run("train", "ngram", folder / "train.txt", "-o", target, "--smoothing", "stupid-backoff")
    assert run("rank", target, "the cat", "cat the")[0] == 0
    code, _, err = run("evaluate", target, folder / "test.txt")
    assert code == 2
    assert "do not sum to one" in err


def test_compare_prints_a_table_and_keeps_its_results(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "comparison"
    code, out, err = run(
        "compare", folder / "train.txt", folder / "test.txt", folder / "test.txt",
        "-o", output, "--only", "unigram, bigram", "--min-count", 1,
    )  # fmt: skip
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].split()[0] == "model"
    assert [line.split()[0] for line in lines[2:4]] == ["unigram", "bigram"]
    results = json.loads((output / "results.json").read_text())
    row = results["rows"][1]
    model = unrolled.load(output / "bigram.safetensors")
    measured = unrolled.evaluate(model, str(folder / "test.txt")).perplexity
    assert row["test_perplexity"] == pytest.approx(measured)
    assert row["peak_bytes"] > 10**7
    assert results["texts"]["train"]["bytes"] == len(TRAIN)
    pytest.importorskip("jinja2")
    assert "unigram" in (output / "report.html").read_text()
    assert "results.json and report.html are in" in err


def test_compare_without_the_report_extra_keeps_the_rest(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    text = folder / "train.txt"
    code, out, err = run("compare", text, text, text, "-o", tmp_path / "l", "--only", "unigram")
    assert code == 0
    assert "unigram" in out
    assert "note: no report.html is written: jinja2 is not installed. Run: pip install" in err
    assert sorted(path.name for path in (tmp_path / "l").iterdir()) == [
        "results.json", "unigram.safetensors",
    ]  # fmt: skip


BAD = [
    (("evaluate", "no.safetensors", "{test}"), "no.safetensors"),
    (("evaluate", "{train}", "{test}"), "train.txt"),
    (("evaluate", "{model}", "no.txt"), "no.txt: there is no such file or folder"),
    (("train", "ngram", "{train}", "-o", "no/folder/m.safetensors"), "does not exist"),
    (("train", "ngram", "{train}", "-o", "{out}", "--smoothing", "bogus"), "smoothing is 'bogus'"),
    (
        ("train", "ngram", "{train}", "-o", "{out}", "--prune", "0 x"),
        "--prune is '0 x', allowed are",
    ),
    (
        ("train", "ngram", "{train}", "-o", "{out}", "--prune", "0 2 1"),
        "prune is [0, 2, 1]",
    ),
    (("train", "ngram", "{train}", "-o", "{out}", "--order", "101"), "order is 101"),
    (("train", "ngram", "{train}", "-o", "{out}", "--tokens", "syllable"), "syllable"),
    (
        ("train", "ngram", "{train}", "-o", "{out}", "--quantize", "4"),
        "is 4, allowed are 8",
    ),
    (("train", "ngram", "{train}", "-o", "{out}", "--set", "weights=2 2"), "one for each"),
    (("train", "ngram", "{marks}", "-o", "{out}"), "marks.txt:2"),
    (("train", "ngram", "{latin}", "-o", "{out}"), "latin.txt:1"),
    (("train", "ngram", "{empty}", "-o", "{out}"), "empty"),
    (("score", "{model}", "{test}", "--unit", "furlongs"), "--unit is 'furlongs'"),
    (("prune", "{model}", "{out}"), "one of --threshold"),
    (("prune", "{model}", "{out}", "--threshold", "inf"), "is inf, allowed are 0 and more"),
    (
        ("train", "ngram", "{train}", "-o", "{out}", "--vocabulary", "{train}"),
        "train.txt:1: the line has 6 words",
    ),
    (
        ("train", "ngram", "{train}", "-o", "{out}", "--vocabulary", "{empty}"),
        "empty.txt: the list has no words",
    ),
    (("gradients", "--cell", "lstm", "-o", "-"), "pictures are written to a folder"),
    (("mix", "{model}", "-o", "{out}"), "model"),
    (("mix", "{model}", "{model}", "-o", "{out}", "--weights", "0.9 0.3"), "weights"),
    (("mix", "{model}", "{model}", "-o", "{out}", "--log-linear", "--weights", "1"), "1 weights"),
    (("generate", "{model}", "--temperature", "0"), "temperature"),
    (
        ("train", "ngram", "{train}", "-o", "{out}", "--spark", "local[2]", "--memory", "1G"),
        "--spark writes a .safetensors file from text, and does not go with",
    ),
    (
        ("train", "ngram", "{train}", "-o", "{train}", "--shards"),
        "is there already, and not an empty folder",
    ),
    (("train", "ngram", "-", "-o", "{out}", "--dry-run"), "standard input can be read only once"),
    (("generate", "{model}", "--tokens", "many"), "--tokens is 'many' and must be a number such"),
    (("generate", "{model}", "--tokens", "0.1"), "--tokens is '0.1' and must be a number such"),
    (("generate", "{model}", "--tokens", "9", "-n", "2"), "either sentences or tokens"),
    (("compare", "{train}", "{test}", "{test}", "--only", "9-gram"), "no model '9-gram'"),
    (("compare", "no.txt", "{test}", "{test}"), "no.txt"),
]


@pytest.mark.parametrize(("words", "message"), BAD)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    run: Run, folder: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    (tmp_path / "marks.txt").write_text("a b\na </s> b\n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 au lait\n")
    (tmp_path / "empty.txt").write_text("")
    places = {
        "train": folder / "train.txt",
        "test": folder / "test.txt",
        "model": folder / "model.safetensors",
        "other": folder / "other.safetensors",
        "marks": tmp_path / "marks.txt",
        "latin": tmp_path / "latin.txt",
        "empty": tmp_path / "empty.txt",
        "out": tmp_path / "out.safetensors",
    }
    code, out, err = run(*(word.format(**places) for word in words))
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert err.strip().count("\n") == 0
    assert out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "empty.txt", "latin.txt", "marks.txt",
    ]  # fmt: skip


def _process(*words: object, **settings: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from unrolled.cli import main; main()", *map(str, words)]
    environment = dict(os.environ)
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env=environment, **settings,
    )  # fmt: skip


def test_standard_input_and_a_reader_that_leaves(folder: Path) -> None:
    process = _process("score", folder / "model.safetensors")
    out, err = process.communicate("the cat sat\n")
    assert process.returncode == 0, err
    assert out.splitlines()[1].endswith("\tthe cat sat")


def test_interrupt_stops_soon_and_leaves_nothing(tmp_path: Path) -> None:
    words = np.random.default_rng(1).integers(0, 50_000, (400_000, 15))
    (tmp_path / "big.txt").write_text("\n".join(" ".join(map(str, row)) for row in words.tolist()))
    target = tmp_path / "m.safetensors"
    process = _process("train", "ngram", tmp_path / "big.txt", "-o", target)
    assert process.stderr is not None
    first = process.stderr.readline()  # the work is under way, for more than two seconds
    assert process.poll() is None, f"the training was too quick to be interrupted: {first}"
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, err = process.communicate(timeout=30)
    assert time.monotonic() - began < 5  # a second on a machine that does nothing else
    assert process.returncode == 130
    assert err.splitlines()[-1] == "unrolled: stopped; nothing half-written is left"
    assert [path.name for path in tmp_path.iterdir()] == ["big.txt"]


@pytest.mark.parametrize(
    "code",
    [
        "import unrolled",
        "import unrolled.cli; sys.argv = ['unrolled', '--help']; unrolled.cli.main()",
    ],
)
def test_start_up_loads_no_more_than_it_needs(code: str) -> None:
    loaded = "print({'torch', 'numba', 'numpy'} & set(sys.modules), file=sys.stderr)"
    whole = f"import atexit, sys; atexit.register(lambda: {loaded}); {code}"
    done = subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "set()\n")


def test_prune_to_an_order(run: Run, folder: Path, tmp_path: Path) -> None:
    model, target = folder / "model.safetensors", tmp_path / "bigramodel.safetensors"
    code, _, err = run("prune", model, target, "--order", 2)
    assert code == 0
    assert "continuation" not in err  # only Kneser-Ney's are
    assert unrolled.load(target).order == 2
    code, _, err = run("prune", model, target, "--order", 9)
    assert code == 2
    assert "the order is 9, and must be 1 to" in err


def test_mix_takes_models_of_different_words(run: Run, folder: Path, tmp_path: Path) -> None:
    other = folder / "other.safetensors"
    words = set(unrolled.load(other).vocabulary) | set(
        unrolled.load(folder / "model.safetensors").vocabulary
    )
    for options in ([], ["--dynamic"], ["--log-linear"], ["--cache", 50]):
        target = tmp_path / "mixed.safetensors"
        code, _, err = run("mix", folder / "model.safetensors", other, "-o", target, *options)
        assert code == 0, err
        assert set(unrolled.load(target).vocabulary) == words
