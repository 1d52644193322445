"""Settings on the command line: options, ``--set``, ``--config``, the listing, all help pages."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

import unrolled
from small_nets import write_text
from tagging.small_taggers import sentences
from unrolled.cli.app import parser
from unrolled.cli.settings import MODELS, settings_of_model
from unrolled.tagging.data.columns import write_columns
from unrolled.tagging.model import Tagger

Run = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).parents[2]
NET = ("--hidden", 8, "--epochs", 1, "--batch", 4, "--set", "classes=3", "--set", "bptt=6")


def _commands(command: Any, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield names, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, (*names, name))


COMMANDS = dict(_commands(typer.main.get_command(parser())))
OPTIONS = {
    name
    for command in COMMANDS.values()
    for parameter in command.params
    for name in (*parameter.opts, *parameter.secondary_opts)
    if name.startswith("--")
} | {"--help"}
# Options of other programs that our texts name.
OTHERS = {
    "--arpa", "--discount_fallback", "--dist", "--isymbols", "--limit_vocab_file", "--model",
    "--model_args", "--no-deps", "--nproc-per-node", "--osymbols", "--prune", "--ptb", "--retry",
    "--retry-connrefused", "--retry-delay", "--skip_symbols", "--tasks", "--text", "--upgrade",
    "--vocab_pad",
}  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
def test_train_shows_few_options_and_reaches_all_settings(run: Run, model: str) -> None:
    code, out, _ = run("train", model, "--help")
    assert code == 0
    shown = re.findall(r"^  (?:-\w, )?(--[\w-]+)", out, re.MULTILINE)
    assert 10 < len(shown) <= (23 if model == "ngram" else 15)  # memory, files, Spark
    code, out, _ = run("settings", model)
    listed = re.findall(r"^  (\w+) = ", out, re.MULTILINE)
    assert listed == list(settings_of_model(model))
    of_settings = {name.removeprefix("--").replace("-", "_") for name in shown} & set(listed)
    assert len(of_settings) >= 6


@pytest.mark.parametrize("columns", [80, 120])
def test_help_pages_are_complete(run: Run, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for names, command in COMMANDS.items():
        code, out, _ = run(*names, "--help")
        assert code == 0
        assert max(map(len, out.splitlines())) <= columns
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert all(re.search(rf"{re.escape(name)}\b", out) for name in parameter.opts), (
                    names
                )
                words = " ".join((parameter.help or "").split())
                assert words.replace(" ", "") in re.sub(r"\s", "", out), (names, parameter.name)
    assert "fewer times become <unk>." in " ".join(run("train", "ngram", "--help")[1].split())


def test_no_option_is_named_that_does_not_exist() -> None:
    sources = [*ROOT.glob("src/unrolled/**/*.py"), *ROOT.glob("docs/*.md"), ROOT / "README.md"]
    option_like = r"(?<!var\()(?<![\w<-])--[a-z][\w-]*"
    named = {
        (option, path.name)
        for path in sources
        for option in re.findall(option_like, path.read_text(encoding="utf-8"))
    }
    assert {option for option, _ in named} & OPTIONS
    assert {pair for pair in named if pair[0] not in OPTIONS | OTHERS} == set()


def test_the_table_in_the_docs_is_up_to_date(run: Run) -> None:
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    hint = "make it again: unrolled settings --format markdown > docs/settings.md"
    assert run("settings", "--format", "markdown")[1] == text, hint


def test_the_listing_has_a_form_for_programs(run: Run) -> None:
    code, out, _ = run("settings", "ngram", "--format", "json")
    assert code == 0
    first = json.loads(out)["ngram"][0]
    assert (first["name"], first["default"], first["allowed"]) == ("order", 5, "1 to 100")
    for words in (("speech",), ("net", "--format", "xml")):
        code, _, err = run("settings", *words)
        assert code == 2
        assert "allowed are" in err


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("texts")
    return write_text(folder, 100), write_text(folder, 30, "valid.txt", seed=2)


def test_a_net_is_trained_again_from_its_file(
    run: Run, texts: tuple[str, str], tmp_path: Path
) -> None:
    train, valid = texts
    first, again = tmp_path / "first.safetensors", tmp_path / "again.safetensors"
    code, _, err = run(
        "train", "net", train, "--valid", valid, "-o", first, *NET, "--cell", "gru", "--set",
        "min_count=2", "--set", "seed=7", "--dropout", "0.1 0 0.2",
    )  # fmt: skip
    assert code == 0, err
    code, out, _ = run("info", first, "--config")
    assert code == 0
    assert f"# unrolled train net {train} --valid {valid} -o MODEL --config FILE" in out
    file = tmp_path / "net.toml"
    file.write_text(out)
    code, _, err = run("train", "net", train, "--valid", valid, "-o", again, "--config", file)
    assert code == 0, err
    one, other = unrolled.load(first), unrolled.load(again)
    assert one.config == other.config
    for name, parameter in one.net.state_dict().items():
        assert np.array_equal(parameter, other.net.state_dict()[name]), name
    assert run("info", again, "--config")[1].splitlines()[2:] == out.splitlines()[2:]


def test_a_tagger_is_trained_again_from_its_file(run: Run, tmp_path: Path) -> None:
    data = tmp_path / "data.txt"
    write_columns(sentences(20), data)
    first, again = tmp_path / "first.safetensors", tmp_path / "again.safetensors"
    code, _, err = run(
        "train", "tagger", data, "-o", first, "--hidden", 6, "--epochs", 1, "--set",
        "label_weights=O=0.5", "--set", "output_layer=softmax", "--set", "columns=0 1",
        "--set", "word_column=0",
    )  # fmt: skip
    assert code == 0, err
    file = tmp_path / "tagger.toml"
    file.write_text(run("info", first, "--config")[1])
    assert 'label_weights = {"O" = 0.5}' in file.read_text()
    code, _, err = run("train", "tagger", data, "-o", again, "--config", file)
    assert code == 0, err
    given = sentences(10, seed=4)
    assert Tagger.load(first).tag(given) == Tagger.load(again).tag(given)


def test_an_ngram_model_is_trained_again_from_its_file(
    run: Run, texts: tuple[str, str], tmp_path: Path
) -> None:
    words = tmp_path / "words.txt"
    words.write_text("the\ncat\nran\n")
    first, again = tmp_path / "first.safetensors", tmp_path / "again.safetensors"
    code, _, err = run(
        "train", "ngram", texts[0], texts[1], "-o", first, "--order", 3, "--set", "weights=1 2",
        "--quantize", 8, "--vocabulary", words, "--smoothing", "witten-bell", "--lower",
    )  # fmt: skip
    assert code == 0, err
    file = tmp_path / "ngram.toml"
    file.write_text(run("info", first, "--config")[1])
    code, _, err = run("train", "ngram", *texts, "-o", again, "--config", file)
    assert code == 0, err
    one, other = unrolled.load(first), unrolled.load(again)
    assert one.trie.quantized
    assert one.config == other.config
    for name, array in one.trie.arrays().items():
        assert np.array_equal(array, other.trie.arrays()[name]), name


def test_options_take_precedence_over_the_file(
    run: Run, texts: tuple[str, str], tmp_path: Path
) -> None:
    file, model = tmp_path / "c.toml", tmp_path / "m.safetensors"
    file.write_text('order = 4\nsmoothing = "witten-bell"\ndelta = 2\n')
    given = ("train", "ngram", texts[0], "-o", model, "--config", file)
    assert run(*given, "--order", 2, "--set", "smoothing=additive")[0] == 0
    config = unrolled.load(model).config
    assert (config["order"], config["smoothing"], config["delta"]) == (2, "additive", 2.0)


REFUSED = [
    (("--set", "ordr=3"), "", "unrolled: --set: there is no setting 'ordr'. Did you mean order."),
    (("--set", "order"), "", "unrolled: --set is 'order', and must be NAME=VALUE"),
    (("--set", "order=x"), "", "--set order is 'x', allowed are whole numbers, 1 to 100"),
    (("--set", "order=0"), "", "unrolled: --set order is 0, allowed are 1 to 100"),
    (("--order", "0"), "", "unrolled: --order is 0, allowed are 1 to 100"),
    (("--order", "3", "--set", "order=3"), "", "order is given twice. Choose one value."),
    (("--discount-fallback", "1"), "", "there is no option --discount-fallback. It is a setting: "
     "--set discount_fallback=VALUE."),
    (("--orders", "1"), "", "there is no option --orders. Did you mean --order."),
    (("--bogus",), "", "there is no option --bogus. See `unrolled train ngram --help`."),
    (("--threads", "many"), "", "--threads is 'many', allowed are whole numbers, 1 and more"),
    (("--order",), "", "unrolled: Option '--order' requires an argument"),
    ((), "ordr = 3", "c.toml: there is no setting 'ordr'. Did you mean order."),
    ((), "order = 0", "c.toml: order is 0, allowed are 1 to 100"),
    ((), 'order = "3"', "c.toml: order is '3', allowed are whole numbers, 1 to 100"),
    ((), "order = ", "c.toml: it is not TOML: Invalid value (at end of document)"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "lines", "message"), REFUSED)
def test_what_is_refused_is_one_line(
    run: Run,
    texts: tuple[str, str],
    tmp_path: Path,
    words: tuple[str, ...],
    lines: str,
    message: str,
) -> None:
    (tmp_path / "c.toml").write_text(lines)
    config = ("--config", tmp_path / "c.toml") if lines else ()
    code, out, err = run("train", "ngram", texts[0], "-o", tmp_path / "m", *words, *config)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not (tmp_path / "m").exists()


def test_files_that_cannot_be_read_are_named(
    run: Run, texts: tuple[str, str], tmp_path: Path
) -> None:
    missing, latin = tmp_path / "no.toml", tmp_path / "latin.toml"
    latin.write_bytes(b"smoothing = '\xe9'")
    for file, reason in ((missing, "No such file or directory"), (latin, "it is not UTF-8")):
        code, _, err = run("train", "ngram", texts[0], "-o", tmp_path / "m", "--config", file)
        assert (code, err) == (2, f"unrolled: {file}: cannot be read: {reason}\n")


def test_names_of_former_options_are_explained(run: Run, texts: tuple[str, str]) -> None:
    code, _, err = run("train", "net", texts[0], "-o", "m", "--set", "direct=5")
    assert code == 2
    assert "there is no setting 'direct'. Did you mean maxent_size." in err


def test_models_without_settings_say_so(run: Run, tmp_path: Path) -> None:
    model = tmp_path / "m.arpa"
    model.write_text("\\data\\\nngram 1=2\n\n\\1-grams:\n-1\t<unk>\n-1\t</s>\n\n\\end\\\n")
    code, _, err = run("info", model, "--config")
    assert code == 2
    assert "m.arpa: the file does not hold the settings of a training run" in err


def test_a_file_from_others_adds_no_line_to_the_settings(run: Run, tmp_path: Path) -> None:
    model = unrolled.train_ngram(texts=["a b"], order=1, smoothing="additive", delta=1.0)
    model.provenance |= {
        "settings": {"order": 1, "delta = 9\nclosed": True},
        "run": {"texts": ["a\nclosed = true", 5], "valid": 3, "threads": "2\nclosed = true"},
        "edits": ["a\nb"],
    }
    model.save(tmp_path / "m.safetensors")
    code, out, _ = run("info", tmp_path / "m.safetensors", "--config")
    assert code == 0
    assert [line for line in out.splitlines() if not line.startswith("# ")] == ["order = 1"]


def test_quiet_prints_no_progress(
    run: Run, texts: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unrolled.cli.progress.QUIET_SECONDS", 0)
    given = ("train", "ngram", texts[0], "-o", tmp_path / "m.safetensors", "--order", 1,
             "--smoothing", "additive", "--set", "delta=1")  # fmt: skip
    assert "reading text" in run(*given)[2]
    assert run("-q", *given)[2] == ""
    assert "reading text" in run(*given)[2]


@pytest.mark.parametrize(
    ("words", "place", "found"),
    [("unrolled tr", 1, "train"), ("unrolled train net --cell g", 4, "gru"),
     ("unrolled train ngram --sm", 3, "--smoothing")],
)  # fmt: skip
def test_shells_complete(words: str, place: int, found: str) -> None:
    shell = {"_UNROLLED_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(place)}
    done = subprocess.run(
        [Path(sys.executable).with_name("unrolled")], capture_output=True, text=True, check=False,
        env={"PYTHONPATH": str(ROOT / "src"), **shell},
    )  # fmt: skip
    assert found in done.stdout.split(), done.stderr


WITHOUT_TORCH = (
    "import sys; sys.modules['torch'] = None; from unrolled.cli import main; "
    "sys.argv = ['unrolled', *sys.argv[1:]]; "
)
NAMES_THE_EXTRA = "torch is not installed. Run: pip install 'unrolled[neural]'\n"


def _call_without_torch(*words: str, program: str = "main()") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH + program, *words],
        capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip


def test_without_torch_all_commands_are_there() -> None:
    assert "train" in _call_without_torch("--help").stdout
    assert "--order" in _call_without_torch("train", "ngram", "--help").stdout
    done = _call_without_torch("settings")
    assert (done.returncode, done.stdout[:20]) == (0, "unrolled train ngram")
    assert done.stderr.count(NAMES_THE_EXTRA) == 2


@pytest.mark.parametrize(
    "words",
    ["train net t.txt -o m --hidden 3", "train net --help", "train tagger -h", "train net",
     "settings tagger", "tag m.safetensors t.txt",
     "experiment temporal-order --size smoke -o out"],
)  # fmt: skip
def test_without_torch_commands_name_the_extra(words: str) -> None:
    done = _call_without_torch(*words.split())
    assert (done.returncode, done.stderr) == (2, "unrolled: " + NAMES_THE_EXTRA)


def test_without_torch_the_tagger_names_the_extra() -> None:
    done = _call_without_torch(program="import unrolled; unrolled.Tagger")
    assert done.stderr.endswith("MissingExtraError: " + NAMES_THE_EXTRA)


def test_without_torch_the_demo_leaves_out_its_tagger() -> None:
    done = _call_without_torch(
        "demo",
        program="import unrolled.cli.compare as commands, unrolled.text.demo_text as text; "
        "commands._compare = lambda *given, **more: print('a table'); "
        "text.demo_text = lambda folder: ('train', 'valid', 'test'); main()",
    )
    assert (done.returncode, done.stdout) == (0, "a table\n")
    assert done.stderr == "note: the tagger is left out: " + NAMES_THE_EXTRA
