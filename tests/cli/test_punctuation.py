"""`--task punctuation`, from plain text to restored text, on the command line."""

from __future__ import annotations

import json

TEXT = "So it is. Is it so? Ann said, no.\n\n" * 60
SMALL = ["--hidden", 16, "--set", "embedding=16", "--set", "characters=none",
         "--set", "batch=8", "--set", "output_layer=softmax", "--epochs", 40,
         "--rate", 0.02, "--dropout", "0 0 0"]  # fmt: skip


def test_bare_text_gets_its_punctuation_back(run, tmp_path):
    text, model, typed = (tmp_path / name for name in ("text.txt", "m.safetensors", "typed.txt"))
    text.write_text(TEXT)
    code, _, error = run("train", "tagger", "--task", "punctuation", text, "-o", model, *SMALL)
    assert code == 0, error
    typed.write_text("so it is is it so ann said no\nANN SAID (no)\n")
    assert run("tag", model, typed)[1] == "So it is. Is it so? Ann said, no.\nAnn said, (no).\n"
    typed.write_text("so it is! is it so ann said -- $no", encoding="utf-8")
    assert run("tag", model, typed)[1] == "So it is! Is it so? Ann said, -- $no.\n"
    renewed = run("tag", model, typed, "--marks", "renew")[1]
    assert renewed == "So it is. Is it so? Ann said, -- $no.\n"
    typed.write_text("ann said no")
    columns = run("tag", model, typed, "--format", "columns")[1]
    assert columns == "ann\tCapital\nsaid\tlower,\nno\tlower.\n\n"
    assert "marks F1 100.00; capitals F1 100.00" in run("evaluate", model, text)[1]
    assert json.loads(run("evaluate", model, text, "--json")[1])["mark_f1"] == 1


def test_other_tasks_and_formats_are_refused(run, tmp_path):
    data, model = tmp_path / "names.txt", tmp_path / "m.safetensors"
    data.write_text("Ann B-PER\nran O\n\n" * 4)
    code, _, error = run("train", "tagger", "--task", "x", data, "-o", model)
    assert (code, "--task is 'x', allowed are tags, punctuation" in error) == (2, True)
    assert run("train", "tagger", data, "-o", model, *SMALL, "--epochs", 1)[0] == 0
    code, _, error = run("tag", model, data, "--marks", "drop")
    assert (code, "--marks is 'drop'" in error) == (2, True)
    code, _, error = run("tag", model, data, "--format", "text")
    assert (code, "--format text is for taggers that restore punctuation" in error) == (2, True)
