"""``unrolled annotate`` as it is typed."""

from __future__ import annotations

import json

import pytest

import unrolled


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("annotate")
    texts = ["the cat sat", "the dog sat"]
    for order in (1, 2):
        model = unrolled.train_ngram(texts=texts, order=order, smoothing="witten-bell")
        model.save(folder / f"order-{order}.safetensors")
    rows = [{"body": "the cat sat"}, {"body": "a zebra"}, {"body": "the dog"}]
    (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "{oops\n")
    return folder


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_documents_are_annotated_filtered_and_sorted(run, folder):
    model, output = folder / "order-2.safetensors", folder / "out.jsonl"
    words = ["annotate", model, folder / "in.jsonl", "-o", output, "--field", "body"]
    code, out, err = run(*words, "--buckets", "good, bad", "--save-cutoffs", folder / "cuts")
    assert (code, out) == (0, "")
    assert "note: good, bad are cut off at perplexities" in err
    assert f"note: {folder}/in.jsonl:4: the line is not JSON" in err
    assert (folder / "out.jsonl.rejected.tsv").read_text().endswith("\t{oops\n")
    assert [row["bucket"] for row in read(output)] == ["good", "bad", "good"]
    code, *_ = run(*words, "--buckets", "good,bad", "--cutoffs", folder / "cuts")
    assert [row["bucket"] for row in read(output)] == ["good", "bad", "good"]
    code, *_ = run(*words, "--keep", "oov == 0 and perplexity < 1e3")
    assert code == 0 and [row["body"] for row in read(output)] == ["the cat sat", "the dog"]


def test_several_models_to_standard_output(run, folder):
    models = [folder / "order-1.safetensors", folder / "order-2.safetensors"]
    code, out, err = run("annotate", *models, folder / "in.jsonl", "--field", "body")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and len(rows) == 3 and "in.jsonl:4: the line is not JSON" in err
    assert "{oops" in err  # the row itself: there is no file for it
    assert rows[0]["perplexity_order_1"] > rows[0]["perplexity_order_2"]
    code, out, _ = run(
        "annotate", *models, folder / "in.jsonl", "--field", "body", "--names", "uni,bi"
    )
    assert json.loads(out.splitlines()[0])["oov_uni"] == 0


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--keep", "import os"], "the condition 'import os' is wrong: it cannot be read"),
        (["--by", "line"], "by is 'line', allowed are document, paragraph, worst"),
        (["--shares", "x", "--buckets", "a,b"], "--shares is 'x' and must be float numbers"),
        (["--names", "a,b"], "there are 2 names for 1 models"),
        (["-o", "nowhere/out"], "does not exist"),
        (["--unknown", "?"], "unknown is '?', allowed are class"),
    ],
)
def test_what_is_refused(run, folder, words, problem):
    code, _, err = run("annotate", folder / "order-2.safetensors", folder / "in.jsonl", *words)
    assert code == 2 and problem in err and err.count("\n") == 1


def test_a_field_that_no_row_has_leaves_what_was_there(run, folder):
    model, output = folder / "order-2.safetensors", folder / "none.jsonl"
    output.write_text("before")
    code, _, err = run("annotate", model, folder / "in.jsonl", "-o", output, "--field", "txt")
    assert code == 2
    assert "all rows are broken: nothing is written. Is 'txt' the field" in err
    assert output.read_text() == "before"
    assert [path.name for path in folder.glob("none*")] == ["none.jsonl"]
