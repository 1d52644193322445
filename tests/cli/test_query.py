"""What `evaluate`, `score`, `rank` and `predict` print, and how they read their input."""

from __future__ import annotations

import gzip
import io
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

import unrolled

Run = Callable[..., tuple[int, str, str]]
TEXTS = ["the cat sat on the mat", "the dog sat on the log", "a cat and a dog met"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("query")
    unrolled.train_ngram(texts=TEXTS, order=3, smoothing="witten-bell").save(folder / "model")
    closed = unrolled.train_ngram(texts=TEXTS, order=2, smoothing="witten-bell", closed=True)
    closed.save(folder / "closed")
    (folder / "text.txt").write_text("the cat sat\na zebra ran\n")
    return folder


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Set standard input."""

    def set_input(text: str) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    return set_input


def refuse_constants(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def test_infinities_are_null_in_json(run: Run, folder: Path) -> None:
    code, out, _ = run("evaluate", folder / "closed", folder / "text.txt", "--json")
    facts = json.loads(out, parse_constant=refuse_constants)
    assert (code, facts["perplexity"], facts["ppl1"], facts["oov_log_prob"]) == (0, *[None] * 3)
    assert facts["infinite"] is True
    assert facts["known_log_prob"] < 0
    _, out, _ = run("evaluate", folder / "model", folder / "text.txt", "--json")
    facts = json.loads(out, parse_constant=refuse_constants)
    assert facts["infinite"] is False
    assert facts["perplexity"] == pytest.approx(math.exp(-facts["log_prob"] / 8))
    assert facts["ppl1"] == pytest.approx(math.exp(-facts["log_prob"] / 6))
    for by in ("sentence", "word"):
        _, out, _ = run(
            "score", folder / "closed", folder / "text.txt", "--by", by, "--format", "jsonl"
        )
        rows = [json.loads(line, parse_constant=refuse_constants) for line in out.splitlines()]
        impossible = [row for row in rows if row["log10"] is None]
        assert impossible == [row for row in rows if row.get("infinite")]
        assert len(impossible) == (1 if by == "sentence" else 2)


def test_an_empty_text_is_one_sentence(run: Run, folder: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    code, out, err = run("evaluate", folder / "model", empty)
    assert (code, out, err) == (2, "", "unrolled: the text is empty: it has no perplexity\n")


def test_words_have_the_order_used_and_totals(run: Run, folder: Path) -> None:
    code, out, _ = run("score", folder / "model", folder / "text.txt", "--by", "word", "--totals")
    header, *rows = [line.split("\t") for line in out.splitlines()]
    assert (code, header) == (0, ["sentence", "word", "log10", "oov", "order"])
    assert [row[1] for row in rows] == [
        *["the", "cat", "sat", "</s>", "[sentence]"],
        *["a", "zebra", "ran", "</s>", "[sentence]", "[total]"],
    ]
    model = unrolled.load(folder / "model")
    lengths = model.token_scores(["the cat sat"]).lengths
    assert [row[4] for row in rows[:4]] == [str(length) for length in lengths[1:]]
    assert rows[4][3:] == ["0"]
    assert rows[9][:2] + rows[9][3:] == ["2", "[sentence]", "2"]
    assert float(rows[4][2]) == pytest.approx(model.score("the cat sat") / math.log(10), abs=1e-5)
    assert float(rows[10][2]) == pytest.approx(float(rows[4][2]) + float(rows[9][2]), abs=1e-5)
    assert rows[10][0] == ""
    _, out, _ = run("score", folder / "model", folder / "text.txt", "--by", "word")
    assert "[" not in out
    _, out, _ = run(
        "score", folder / "model", folder / "text.txt", "--by", "word", "--format", "jsonl"
    )
    assert json.loads(out.splitlines()[0])["order"] == lengths[1]


def test_input_is_read_as_told(run: Run, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "text.jsonl").write_text('{"verse": "The CAT sat", "text": "zzz"}\n')
    plain = run("evaluate", folder / "model", tmp_path / "text.jsonl")[1]
    assert "| 2 tokens |" in plain
    shouted = run("evaluate", folder / "model", tmp_path / "text.jsonl", "--field", "verse")[1]
    assert "| oov 2 as <unk> |" in shouted
    lowered = run(
        "evaluate", folder / "model", tmp_path / "text.jsonl", "--field", "verse", "--lower"
    )[1]
    assert "| 4 tokens | vocab 12 | oov 0 |" in lowered
    scored = run("score", folder / "model", tmp_path / "text.jsonl", "--field", "verse", "--lower")
    value, text = scored[1].splitlines()[1].split("\t")
    expected = unrolled.load(folder / "model").score("the cat sat") / math.log(10)
    assert (float(value), text) == (pytest.approx(expected, abs=1e-5), "The CAT sat")
    ranked = run("rank", folder / "model", "THE CAT", "--lower")[1]
    assert ranked.splitlines()[1] == run("rank", folder / "model", "the cat")[1].splitlines()[
        1
    ].replace("the cat", "THE CAT")
    letters = run("evaluate", folder / "model", folder / "text.txt", "--tokens", "char")[1]
    assert "| 24 tokens |" in letters


def test_rank_reads_a_field_of_rows(run: Run, folder: Path, type_in: Callable[[str], None]) -> None:
    type_in('{"a": "cat the"}\n{"a": "the cat"}\n')
    code, _, error = run("rank", folder / "model", "the cat", "--field", "a")
    assert code == 2 and "--field goes with the lines of standard input" in error
    _, out, _ = run("rank", folder / "model", "--field", "a")
    assert [line.split("\t")[1] for line in out.splitlines()[1:]] == ["the cat", "cat the"]


def test_predict_reads_contexts_from_standard_input(
    run: Run, folder: Path, type_in: Callable[[str], None]
) -> None:
    type_in("the\nthe cat\n")
    code, out, _ = run("predict", folder / "model", "-", "-n", 2)
    lines = out.splitlines()
    assert (code, lines[0]) == (0, "line\tprobability\tword")
    for number, context in ((1, "the"), (2, "the cat")):
        alone = run("predict", folder / "model", context, "-n", 2)[1].splitlines()[1:]
        assert lines[2 * number - 1 : 2 * number + 1] == [f"{number}\t{line}" for line in alone]


@pytest.mark.parametrize(
    ("trained", "options", "tokens", "reason"),
    [
        ("the cat sat on the mat", {}, "THE CAT SAT ON THE MAT", "may need --lower"),
        (
            "the cat sat",
            {"tokens": "char"},
            "the cat sat on a mat",
            "with --tokens char, and",
        ),
        ("t h e ▁ c a t", {}, "the cat sat on a mat", "may need --tokens char"),
        ("▁the ▁c at ▁s at", {}, "the cat sat on a mat", "name their model with --tokens"),
        ("The cat Sat", {}, "der Hund und die Katze", "of another language or subject"),
    ],
)
def test_many_unknown_words_have_a_likely_reason(
    run: Run, tmp_path: Path, trained: str, options: dict[str, str], tokens: str, reason: str
) -> None:
    text_options = unrolled.TextOptions(**options)
    model = unrolled.train_ngram(
        texts=[trained], order=2, smoothing="witten-bell", options=text_options
    )
    model.save(tmp_path / "model")
    (tmp_path / "text.txt").write_text(f"{tokens}\n" * 20)
    code, _, err = run("evaluate", tmp_path / "model", tmp_path / "text.txt", "--tokens", "word")
    assert code == 0
    assert "% of the words are unknown to witten-bell-2: " in err
    assert reason in err


def test_few_unknown_words_need_no_reason(run: Run, folder: Path) -> None:
    assert run("evaluate", folder / "model", folder / "text.txt")[2] == ""


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("-", "a model is written to a file, not to standard output. Name a file that ends in"),
        ("m.BIN", "m.BIN: models are not written as .BIN"),
    ],
)
def test_models_are_written_in_two_formats(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    target: str, message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    code, out, err = run("convert", folder / "model", target)
    assert (code, out) == (2, "")
    assert message in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("score model text.txt --totals", "--totals goes with --by word"),
        ("score model text.txt --format srilm --unit bits", "--unit goes with --format tsv and"),
        ("evaluate model text.txt --dynamic-rate 0.1", "--dynamic-rate goes with --dynamic"),
        (
            "evaluate model text.txt --cache-weight 0.2 --cache-theta 1",
            "--cache-weight, --cache-theta go with --cache",
        ),
    ],
)
def test_options_that_would_do_nothing(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, words: str, problem: str
) -> None:
    monkeypatch.chdir(folder)
    code, out, err = run(*words.split())
    assert (code, out) == (2, "")
    assert err.startswith(f"unrolled: {problem}")


def test_what_is_not_utf8_is_replaced_where_a_user_wants_it(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "latin.txt"
    text.write_bytes("the café sat\n".encode("latin-1"))
    for how, code in (("error", 2), ("replace", 0)):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.read_bytes())))
        assert run("rank", folder / "model", "--invalid", how)[0] == code
    for words in (["evaluate"], ["score"], ["score", "--by", "word"]):
        code, out, err = run(words[0], folder / "model", text, *words[1:])
        assert (code, out.count("\n")) == (2, int(words[0] == "score"))  # the header
        assert "--invalid replace" in err
        assert run(words[0], folder / "model", text, *words[1:], "--invalid", "replace")[0] == 0


def test_a_file_that_is_no_text_is_named(run: Run, folder: Path, tmp_path: Path) -> None:
    packed = tmp_path / "text"
    packed.write_bytes(gzip.compress(b"the cat\n"))
    code, _, err = run("evaluate", folder / "model", packed)
    problem = "this is gzip-compressed data. Unpack it first with gunzip.\n"
    assert (code, err) == (2, f"unrolled: {packed}: {problem}")


def test_rank_reads_standard_input_where_it_is_named(
    run: Run, folder: Path, type_in: Callable[[str], None]
) -> None:
    lines = "the cat sat\nsat cat the\n"
    type_in(lines)
    printed = run("rank", folder / "model")
    type_in(lines)
    assert run("rank", folder / "model", "-") == printed
    assert printed[1].count("\n") == 3


def test_the_vocabulary_as_json(run: Run, folder: Path) -> None:
    _, out, _ = run("info", folder / "model", "--words", "--json")
    assert json.loads(out) == list(unrolled.load(folder / "model").vocabulary)
