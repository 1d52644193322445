"""Settings: what every field allows, how values are read, what errors say."""

from __future__ import annotations

import math
import tomllib
from dataclasses import fields
from typing import Any

import pytest

from unrolled.cli.nets import NetRun
from unrolled.cli.taggers import TaggerData
from unrolled.cli.train import NgramRun
from unrolled.errors import FormatError, SettingError
from unrolled.neural.config import NetConfig, TrainingConfig
from unrolled.ngram.estimation.config import NgramConfig
from unrolled.settings import (
    Setting,
    check_names,
    configure,
    divide,
    settings_of,
    stored_config,
    to_toml,
    with_current_names,
)
from unrolled.tagging.config import TaggerConfig, TaggerTraining
from unrolled.text.options import TextOptions, VocabularyLimits

KINDS: tuple[type, ...] = (
    NetConfig, TrainingConfig, TaggerConfig, TaggerTraining, NgramConfig, TextOptions,
    VocabularyLimits, NetRun, TaggerData, NgramRun,
)  # fmt: skip
ALL = [(kind, name) for kind in KINDS for name in settings_of(kind)]


def _values_outside(known: Setting) -> list[Any]:
    """Values just outside the range, of the right type; none where every value is allowed."""
    if known.choices:
        return ["no-such-choice"]
    numbers: list[Any] = []
    if known.minimum is not None:
        numbers.append(known.minimum - 1)
    if known.maximum is not None:
        numbers.append(known.maximum + 1)
    numbers += [edge for edge in (known.above, known.below) if edge is not None]
    if known.type is float:
        numbers += [math.inf, math.nan]
    if known.name in ("prune", "columns", "weights"):
        return [(number,) for number in numbers]
    if known.name == "discount_fallback":
        return [(number, 1, 1) for number in numbers]
    return [{"O": number} for number in numbers] if known.name == "label_weights" else numbers


@pytest.mark.parametrize(
    ("kind", "name"), ALL, ids=[f"{kind.__name__}-{name}" for kind, name in ALL]
)
def test_every_default_is_allowed_and_values_outside_are_refused_by_name(
    kind: type, name: str
) -> None:
    known = settings_of(kind)[name]
    assert known.checked(known.default) == known.default
    assert known.help.endswith(".")
    assert known.group
    for value in [*_values_outside(known), object()]:
        with pytest.raises(SettingError, match=f"^{name} is .*, allowed are .+"):
            kind(**{name: value})


def test_every_field_is_a_setting() -> None:
    for kind in KINDS:
        internal = {"language_model_dim", "sentencepiece"} & {item.name for item in fields(kind)}
        assert {item.name for item in fields(kind)} == {*settings_of(kind), *internal}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("hidden", "12", 12), ("rate", "1e-3", 0.001), ("tied", "no", False),
        ("tied", "TRUE", True), ("cell", "gru", "gru"), ("dropout_input", "0", 0.0),
    ],
)  # fmt: skip
def test_texts_are_read_by_the_type(name: str, text: str, value: object) -> None:
    found = settings_of(NetConfig, TrainingConfig)[name].parsed(text)
    assert (found, type(found)) == (value, type(value))


def test_tuples_pairs_and_nothing_are_read() -> None:
    known = settings_of(NgramConfig, TaggerConfig, TaggerTraining, TextOptions, VocabularyLimits)
    assert known["prune"].parsed("0 0 1") == (0, 0, 1)
    assert known["prune"].parsed("") == ()
    assert known["discount_fallback"].parsed("0.5, 1,1.5") == (0.5, 1.0, 1.5)
    assert known["label_weights"].parsed("O=0.6 B=1") == {"O": 0.6, "B": 1.0}
    assert known["vocabulary_size"].parsed("none") is None
    assert known["field"].parsed("body") == "body"


@pytest.mark.parametrize(
    ("kind", "name", "text", "message"),
    [
        (NetConfig, "hidden", "many", "hidden is 'many', allowed are whole numbers, 1 and more"),
        (NetConfig, "hidden", "1.5", "hidden is '1.5', allowed are whole numbers, 1 and more"),
        (NetConfig, "tied", "perhaps", "tied is 'perhaps', allowed are true and false"),
        (NetConfig, "dropout_words", "1", "dropout_words is 1.0, allowed are 0 to below 1"),
        (NgramConfig, "discount_fallback", "0.5 1 1.5 9",
         "discount_fallback is (0.5, 1.0, 1.5, 9.0), allowed are 3 numbers, 0 and more"),
        (NgramConfig, "backoff", "2", "backoff is 2.0, allowed are numbers above 0, up to 1"),
        (TaggerTraining, "label_weights", "O",
         "label_weights is 'O', allowed are pairs such as 'O=0.6 B=1', 0 and more"),
        (TaggerTraining, "label_weights", "=1",
         "label_weights is '=1', allowed are pairs such as 'O=0.6 B=1', 0 and more"),
        (TextOptions, "tokens", "syllable", "tokens is 'syllable', allowed are word, char, byte, "
         "or the path of a SentencePiece file that ends in .model"),
    ],
)  # fmt: skip
def test_errors_are_one_sentence(kind: type, name: str, text: str, message: str) -> None:
    with pytest.raises(SettingError) as error:
        settings_of(kind)[name].parsed(text)
    assert str(error.value) == message


def test_numbers_of_other_libraries_become_pythons() -> None:
    np = pytest.importorskip("numpy")
    config = NetConfig(hidden=np.int64(8), dropout_input=np.float32(0.5), layers=2)
    assert (type(config.hidden), type(config.dropout_input)) == (int, float)
    with pytest.raises(SettingError, match="layers is True, allowed are whole numbers, 1 and more"):
        NetConfig(layers=True)


def test_unknown_names_are_refused_with_the_nearest_or_the_present_one() -> None:
    with pytest.raises(SettingError, match="no setting 'hiden'. Did you mean hidden"):
        configure({"hiden": 3}, NetConfig, TrainingConfig)
    for former, present in (("direct", "maxent_size"), ("state_rate", "recurrent_lr_scale")):
        with pytest.raises(SettingError, match=f"no setting '{former}'. Did you mean {present}"):
            divide({former: 3}, NetConfig, TrainingConfig)
    with pytest.raises(SettingError, match="Did you mean word_dropout"):
        check_names(["unknown"], TaggerTraining)
    with pytest.raises(SettingError, match="no setting 'qqq'. Known are order, smoothing"):
        check_names(["qqq"], NgramConfig)
    with pytest.raises(SettingError, match="no setting 'language_model_dim'"):
        check_names(["language_model_dim"], TaggerConfig)


def test_stored_settings_have_their_present_names() -> None:
    stored = {"cell": "gru", "direct": 5000, "independent": True, "text": {}}
    current = with_current_names(stored, NetConfig)
    config = stored_config(current, NetConfig, "m.safetensors")
    assert (config.cell, config.maxent_size, config.reset_state_per_sentence) == ("gru", 5000, True)
    with pytest.raises(FormatError, match="m.safetensors: the settings .*hidden is 'x'"):
        stored_config({"hidden": "x"}, NetConfig, "m.safetensors")


def test_toml_holds_every_kind_of_value() -> None:
    settings = {"cell": 'l"s\\tm', "rate": 1e-05, "tied": True, "prune": (0, 1), "field": None,
                "label_weights": {"B-a b": 0.5}, "vectors": "é\x7f"}  # fmt: skip
    read = tomllib.loads(to_toml(settings))
    assert read == {**{name: value for name, value in settings.items() if value is not None},
                    "prune": [0, 1]}  # fmt: skip
