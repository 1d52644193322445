"""Training of taggers: settings, data, vectors, seeds, and what goes wrong."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tagging.small_taggers import SMALL, sentences, small_tagger
from unrolled.errors import FormatError, SettingError, TextError, UnrolledError, UnrolledWarning
from unrolled.storage.model_file import read_model, write_model
from unrolled.tagging.config import split_settings
from unrolled.tagging.data.columns import ColumnFormat, TaggedSentence, write_columns
from unrolled.tagging.data.features import Columns, Forms, Lexicon, shape_of
from unrolled.tagging.data.tags import TagSet
from unrolled.tagging.model import Tagger
from unrolled.tagging.task import TaggerTask
from unrolled.tagging.training import train_tagger
from unrolled.training.loop import TrainingLoop


def test_the_same_seed_gives_the_same_tagger_and_another_another() -> None:
    settings = {"epochs": 2, "dropout_input": 0.3}
    one, same, other = (small_tagger(seed=seed, **settings) for seed in (3, 3, 4))
    words = [sentence.words for sentence in sentences(5, seed=2)]
    scores = [tagger.tag(words) for tagger in (one, same, other)]
    assert scores[0] == scores[1]
    assert scores[0] != scores[2]


def test_the_best_epoch_is_kept_and_patience_ends_training() -> None:
    lines: list[str] = []
    valid = sentences(20, seed=7)
    tagger = train_tagger(
        sentences(40), valid=valid, report=lines.append, **{**SMALL, "epochs": 30, "patience": 2}
    )
    scores = [record["score"] for record in tagger.settings["curve"]]
    assert len(scores) < 30
    assert tagger.evaluate(valid).f1 == pytest.approx(max(scores))
    assert "no better score for 2 epochs: stopping" in lines
    assert any(line.startswith("epoch   1  loss") and "valid f1" in line for line in lines)


class _Recording(TrainingLoop):
    """Records the weights before the first step and after each one."""

    def run(self, **options: Any) -> None:
        self.path = [self._weights_now()]
        super().run(**options)

    def update(self) -> None:
        super().update()
        self.path.append(self._weights_now())

    def _weights_now(self) -> dict[str, np.ndarray]:
        return _weights(self.task.tagger)  # type: ignore[attr-defined]


def _weights(tagger: Tagger) -> dict[str, np.ndarray]:
    weights = {name: p.detach().numpy().copy() for name, p in tagger.net.named_parameters()}
    return {**weights, "words": tagger.vectors.trained.copy()}


def _recorded(valid: list[TaggedSentence], **settings: Any) -> tuple[_Recording, Tagger]:
    settings = {**SMALL, "epochs": 2, "rate": 0.01, "dropout_input": 0.2, **settings}
    del settings["threads"]
    task = TaggerTask(sentences(40), valid, *split_settings(settings), threads=1)
    loop = _Recording(task)
    loop.run()
    return loop, task.finished(loop.curve)


@pytest.mark.parametrize(
    ("settings", "rate", "filters"),
    [
        ({}, 0.005, 100),
        ({"vectors": "v.txt"}, 0.002, 30),
        ({"vectors": "v.txt", "rate": 0.01, "character_units": 8}, 0.01, 8),
    ],
)
def test_defaults_differ_with_a_file_of_vectors(
    settings: dict[str, Any], rate: float, filters: int
) -> None:
    config, training = split_settings(settings)
    assert (training.rate, config.character_units) == (rate, filters)


@pytest.mark.parametrize("epochs", [10, 0.6])
def test_averages_are_those_of_the_weights_after_each_step(epochs: float) -> None:
    loop, tagger = _recorded([], averaging=epochs)
    steps = len(loop.path)
    assert steps == 11  # five batches an epoch, and the beginning
    # No span is over yet: step n counts as n (n + 1) (n + 2) (n + 3).
    shares = np.array([float(np.prod(np.arange(n, n + 4))) for n in range(1, steps + 1)])
    shares /= shares.sum()
    for name, found in _weights(tagger).items():
        wanted = sum(share * one[name] for share, one in zip(shares, loop.path, strict=True))
        np.testing.assert_allclose(found, wanted, atol=1e-6)
        assert np.abs(found - loop.path[-1][name]).max() > 1e-4 or name.startswith("crf")


def test_averaging_changes_no_step_and_is_what_the_best_epoch_is_chosen_by() -> None:
    valid = sentences(20, seed=7)
    plain, last = _recorded([])
    averaged, best = _recorded(valid, averaging=1, epochs=2)
    for one, other in zip(plain.path, averaged.path, strict=True):
        for name in one:
            assert np.array_equal(one[name], other[name])
    assert np.array_equal(_weights(last)["words"], plain.path[-1]["words"])
    assert best.evaluate(valid).f1 == max(record.score for record in averaged.curve)  # type: ignore[type-var]
    assert not np.array_equal(_weights(best)["words"], averaged.path[-1]["words"])


@pytest.mark.parametrize("settings", [
    {"optimiser": "sgd", "rate": 0.1, "momentum": 0.9},
    {"schedule": "decay", "optimiser": "sgd", "rate": 0.3},
    {"schedule": "constant", "weight_decay": 0.01},
    {"metric": "proportional", "output_layer": "softmax", "label_weights": {"O": 0.6}},
    {"scheme": "IO"},
])  # fmt: skip
def test_ways_to_train(settings: dict[str, object]) -> None:
    tagger = train_tagger(sentences(60), valid=sentences(10, seed=2), **{**SMALL, **settings})
    assert tagger.evaluate(sentences(20, seed=5)).f1 > 0.8


def test_tags_that_are_no_spans() -> None:
    data = [
        TaggedSentence(s.words, tuple("NN" if w[0].isupper() else "XX" for w in s.words))
        for s in sentences(40)
    ]
    tagger = train_tagger(data, valid=data[:5], **SMALL)
    assert tagger.settings["curve"][-1]["metric"] == "accuracy"
    (result,) = tagger.tag([["Ann", "met", "Dan"]])
    assert result.tags == ("NN", "XX", "NN")
    assert result.spans == ()


def test_one_sentence_and_empty_ones_are_enough() -> None:
    data = [TaggedSentence((), ()), *sentences(1), TaggedSentence((), ())]
    tagger = train_tagger(data, valid=data, **{**SMALL, "epochs": 3})
    assert len(tagger.predict([data[1].words])[0]) == len(data[1].words)


def test_tags_that_only_the_validation_data_have_count_as_missed() -> None:
    valid = [TaggedSentence(("Ann", "x"), ("B-PER", "B-NEW"))]
    tagger = train_tagger(sentences(40), valid=valid, **SMALL)
    scores = tagger.evaluate(valid)
    assert scores.recall <= 0.5
    assert "NEW" in scores.labels


def test_files_are_read(tmp_path: Path) -> None:
    write_columns(sentences(30), tmp_path / "train.txt")
    tagger = train_tagger(tmp_path / "train.txt", **SMALL)
    assert tagger.predict([["Ann", "met", "Bob", "in", "Rome", "."]]) == [
        ["B-PER", "O", "B-PER", "O", "B-LOC", "O"]
    ]


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    random = np.random.default_rng(1)
    words = ["ann", "bob", "rome", "paris", "met", "in", "zoe", "ulm", "."]
    lines = [f"{word} " + " ".join(f"{x:.3f}" for x in random.normal(0, 1, 8)) for word in words]
    path = tmp_path / "vectors.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _row(tagger: object, word: str) -> np.ndarray:
    return tagger.vectors.take(tagger.lexicon.ids([word]))[0]  # type: ignore[attr-defined]


def _of_file(path: Path, word: str) -> np.ndarray:
    for line in path.read_text(encoding="utf-8").splitlines():
        name, *numbers = line.split()
        if name == word:
            return np.array(numbers, np.float32)
    raise KeyError(word)


def test_words_outside_the_training_data_keep_the_vectors_of_the_file(vectors: Path) -> None:
    tagger = small_tagger(vectors=str(vectors), epochs=2)
    assert tagger.config.embedding == 8
    assert np.allclose(_row(tagger, "Zoe"), _of_file(vectors, "zoe"), atol=1e-3)
    assert not np.allclose(_row(tagger, "ann"), _of_file(vectors, "ann"), atol=1e-3)
    few = small_tagger(vectors=str(vectors), epochs=1, vector_words=0)
    assert len(few.vectors.given) == 0
    assert few.lexicon.ids(["zoe", "Ann"]).tolist()[0] == 0


def test_frozen_vectors_stay_and_words_without_one_are_unknown(vectors: Path) -> None:
    tagger = small_tagger(vectors=str(vectors), freeze_vectors=True, epochs=2)
    for word in ("ann", "zoe"):
        assert np.allclose(_row(tagger, word), _of_file(vectors, word), atol=1e-3)
    assert tagger.lexicon.ids(["Smith", "Ann"]).tolist() == [0, tagger.lexicon.ids(["ann"])[0]]


def test_a_file_saved_and_loaded_has_the_same_vectors(vectors: Path, tmp_path: Path) -> None:
    from unrolled.tagging.model import Tagger

    tagger = small_tagger(vectors=str(vectors), epochs=2)
    tagger.save(tmp_path / "t.safetensors")
    loaded = Tagger.load(tmp_path / "t.safetensors")
    given = [["Zoe", "met", "Ann", "in", "Ulm"]]
    assert loaded.tag(given) == tagger.tag(given)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hiden": 3}, "there is no setting 'hiden'. Did you mean hidden"),
        ({"cell": "tube"}, "cell is 'tube', allowed are elman, irnn, lstm, gru"),
        ({"hidden": 0}, "hidden is 0, allowed are 1 and more"),
        ({"character_window": 2}, "character_window is 2, allowed are 1, 3, 5"),
        ({"dropout_input": 1.0}, "dropout_input is 1.0, allowed are 0 to below 1"),
        ({"columns": (-1,)}, r"columns is \(-1,\), allowed are whole numbers, 0"),
        ({"columns": (4,)}, "columns has 4, and the data have 2"),
        ({"rate": 0}, "rate is 0"),
        ({"momentum": -1}, "momentum is -1"),
        (
            {"label_weights": {"O": -1}, "output_layer": "softmax"},
            "label_weights is .*-1.*, allowed are pairs",
        ),
        ({"label_weights": {"X": 1}, "output_layer": "softmax"}, "weight for the tag 'X'"),
        ({"label_weights": {"O": 1}}, "no meaning under a CRF"),
        ({"freeze_vectors": True}, "no vectors to freeze"),
        ({"epochs": 0}, "epochs is 0"),
        ({"averaging": -1}, "averaging is -1, allowed are 0 and more"),
        ({"seed": -1}, "seed is -1, allowed are 0 to 2"),
        ({"pooling": "mean"}, "pooling is 'mean', allowed are none, max"),
    ],
)
def test_settings_that_are_not_allowed(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        train_tagger(sentences(5), **{**SMALL, **settings})


def test_data_that_cannot_be_learned_from(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="no sentences to train on"):
        train_tagger([], **SMALL)
    with pytest.raises(TextError, match="x:3: the sentence has no tags"):
        train_tagger([TaggedSentence(("a",), (), place="x:3")], **SMALL)
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(TextError, match="no sentence was found"):
        train_tagger(tmp_path / "empty.txt", **SMALL)
    (tmp_path / "notes.txt").write_text("%% note\n")
    with pytest.raises(TextError, match="no sentence was found"):
        train_tagger(tmp_path / "notes.txt", layout=ColumnFormat(comment="%%"), **SMALL)
    plain = [TaggedSentence(("a",), ("X",))]
    with pytest.raises(SettingError, match="the tags are no spans"):
        train_tagger(plain, **{**SMALL, "metric": "f1"})


def test_data_that_teach_nothing_are_warned_of(tmp_path: Path) -> None:
    plain = [TaggedSentence(("a", "b"), ("O", "O"))]
    with pytest.warns(UnrolledWarning, match="all tags are O, so that the tagger will find nothi"):
        tagger = train_tagger(plain, **{**SMALL, "epochs": 1})
    assert tagger.predict([["a"]]) == [["O"]]
    (tmp_path / "v.txt").write_text("zzz 0.5 1\nyyy 1 2\n")
    with pytest.warns(UnrolledWarning, match="v.txt: no word of the training data has a vector in"):
        train_tagger(sentences(5), vectors=str(tmp_path / "v.txt"), **{**SMALL, "epochs": 1})


def test_a_loss_that_is_no_number_stops_with_a_sentence() -> None:
    settings = {**SMALL, "optimiser": "sgd", "rate": 1e30, "clip_norm": 0, "epochs": 5}
    with pytest.raises(UnrolledError, match=r"the loss is .* at step \d+ of epoch \d.*lower rate"):
        train_tagger(sentences(30), **settings)


def test_letters_of_words_lie_between_borders() -> None:
    forms = Forms(["ab", "", "caa"], Lexicon([], trained=3), {"a": 2, "b": 3})
    letters = forms.letters(np.array([2, 0]), 2)
    assert letters.flat.tolist() == [0, 0, 1, 2, 2, 0, 0, 2, 3, 0, 0]
    places = zip(letters.starts, letters.ends, strict=True)
    assert [letters.flat[begin:end].tolist() for begin, end in places] == [[1, 2, 2], [2, 3]]
    assert forms.letters(np.array([1]), 1).flat.tolist() == [0, 1, 0]


def test_shapes_and_columns() -> None:
    assert [shape_of(word) for word in ("A", "", "é", "É", "x1", "+", "'S", "McX")] == [
        2, 0, 1, 2, 6, 0, 2, 4,
    ]  # fmt: skip
    columns = Columns([["x", "y"]])
    assert columns.ids(0, ["y", "z", "x"]).tolist() == [2, 0, 1]


def test_case_policies() -> None:
    words = ["bank", "Bank", "0000"]
    for case, wanted in (
        ("exact-then-lower", [4, 3, 3, 5]), ("exact", [4, 3, 0, 5]), ("lower", [3, 3, 3, 5])
    ):  # fmt: skip
        lexicon = Lexicon(words, trained=6, case=case)
        assert lexicon.ids(["Bank", "bank", "BANK", "1999"]).tolist() == wanted
    assert Lexicon(words, trained=6, digits=False).ids(["1999"]).tolist() == [0]


def test_allowed_transitions_are_those_that_convert_gives() -> None:
    """Every sequence that the CRF allows is its own spans' tags, and no other is."""
    import itertools

    from unrolled.tagging.data.schemes import tags_of

    for scheme in ("IO", "IOB1", "BIO", "IOE1", "IOE2", "IOBES"):
        tags = TagSet.of([["B-X", "B-Y"]], scheme, output_scheme="BIO")
        allowed, size = tags.allowed(), len(tags)
        for ids in itertools.product(range(size), repeat=3):
            names = [tags.names[number] for number in ids]
            path = [size, *ids, size + 1]
            passes = all(allowed[one, other] for one, other in itertools.pairwise(path))
            from unrolled.tagging.data.schemes import spans as read

            whole = tags_of(read(names), 3, scheme) == names
            assert passes == whole, (scheme, names)


# -- interruption ----------------------------------------------------------------------------------

INTERRUPTED: dict[str, Any] = {
    **SMALL, "epochs": 6, "dropout_input": 0.3, "word_dropout": 1.0, "batch": 4,
}  # fmt: skip
# Trains as told, and kills itself with SIGKILL in that batch.
PROGRAM = """
import os, signal, sys
from tagging.small_taggers import sentences
from unrolled.tagging import task
from unrolled.tagging.training import train_tagger
settings, kept, batch = eval(sys.argv[1]), sys.argv[2], int(sys.argv[3])
backward = task.TaggerTask.backward
count = 0
def killing(self, given):
    global count
    count += 1
    if count == batch:
        os.kill(os.getpid(), signal.SIGKILL)
    return backward(self, given)
task.TaggerTask.backward = killing
train_tagger(sentences(40), valid=sentences(10, seed=5), checkpoint=kept, checkpoint_minutes=0,
             **settings)
"""


@pytest.mark.parametrize("settings", [
    {}, {"optimiser": "sgd", "rate": 0.2, "momentum": 0.5, "schedule": "decay"},
    {"averaging": 0.5, "cell": "gru", "output_layer": "softmax", "patience": 3},
    {"optimiser": "asgd", "rate": 0.2, "schedule": "halving", "clip_value": 0.1},
])  # fmt: skip
def test_killed_at_a_random_moment_it_resumes_to_the_same_bits(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    given, kept = {**INTERRUPTED, **settings}, tmp_path / "tagger.checkpoint"
    whole = train_tagger(sentences(40), valid=sentences(10, seed=5), **given)
    moment = random.SystemRandom().randint(2, 25)  # of 60 batches, ten an epoch
    tests = Path(__file__).resolve().parents[1]
    paths = os.pathsep.join([str(tests), str(tests.parent / "src")])
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, repr(given), str(kept), str(moment)],
        env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == -signal.SIGKILL, process.stderr
    place = read_model(kept, verify=True).config["place"]
    assert 10 * place["epoch"] + place["position"] == moment - 1
    again = train_tagger(
        sentences(40), valid=sentences(10, seed=5), checkpoint=kept, resume=True, **given
    )
    for name, weights in _weights(whole).items():
        assert np.array_equal(weights, _weights(again)[name]), (name, moment)
    times = {"seconds": 0, "tokens_per_second": 0}
    for one, other in zip(whole.settings["curve"], again.settings["curve"], strict=True):
        assert {**one, **times} == {**other, **times}


def test_checkpoints_of_other_taggers_are_refused(tmp_path: Path) -> None:
    kept = tmp_path / "tagger.checkpoint"
    given = {**INTERRUPTED, "epochs": 1, "columns": (0,)}
    train_tagger(sentences(12), checkpoint=kept, **given)

    def resume(count: int = 12, **settings: Any) -> None:
        train_tagger(sentences(count), checkpoint=kept, resume=True, **{**given, **settings})

    resume()
    with pytest.raises(SettingError, match="written with tagger hidden 12, and now it is 13"):
        resume(hidden=13)
    with pytest.raises(SettingError, match="written with training epochs 1, and now it is 2"):
        resume(epochs=2)
    with pytest.raises(SettingError, match="written with data train"):
        resume(count=13)
    write_model(kept, kind="net-checkpoint", config={}, arrays={})
    with pytest.raises(FormatError, match="holds a net-checkpoint, not a checkpoint of a tagger"):
        resume()
