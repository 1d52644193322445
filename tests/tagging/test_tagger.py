"""Taggers: what they learn, that nothing around a sentence changes its tags, and their files."""

from __future__ import annotations

import itertools
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import unrolled
from tagging.small_taggers import sentences, small_tagger
from unrolled.errors import FormatError, SettingError, TextError
from unrolled.runtime.torch_threads import threads
from unrolled.storage.model_file import read_model, write_model
from unrolled.tagging import model
from unrolled.tagging.data.columns import TaggedSentence
from unrolled.tagging.data.schemes import spans
from unrolled.tagging.model import Tagger

KINDS = {
    "crf": {},
    "softmax": {"output_layer": "softmax", "characters": "none", "casing_dim": 0},
    "deep": {
        "cell": "elman",
        "nonlinearity": "relu",
        "layers": 2,
        "output_from": "all",
        "rate": 0.005,
    },
    "rnn": {"cell": "gru", "characters": "rnn", "columns": (0,)},
    "summary": {"characters": "none", "pooling": "max"},
    "windows": {
        "layers": 0,
        "embedding": 1,
        "characters": "none",
        "casing_dim": 0,
        "columns": (0, 1),
        "column_window": 2,
    },
}


@pytest.fixture(scope="module")
def taggers() -> dict[str, Tagger]:
    return {name: small_tagger(**settings) for name, settings in KINDS.items()}


@pytest.fixture(scope="module")
def tagger(taggers: dict[str, Tagger]) -> Tagger:
    return taggers["crf"]


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns(taggers: dict[str, Tagger], kind: str) -> None:
    assert taggers[kind].evaluate(sentences(40, seed=5)).f1 > 0.97


@pytest.mark.parametrize("kind", KINDS)
def test_a_sentence_gets_the_same_tags_alone_and_in_any_batch(
    taggers: dict[str, Tagger], kind: str
) -> None:
    tagger, given = taggers[kind], sentences(50, seed=9)
    together = tagger.tag(given)
    for sentence, result in zip(given, together, strict=True):
        (alone,) = tagger.tag([sentence])
        assert alone.tags == result.tags
        assert alone.confidences == pytest.approx(result.confidences, abs=1e-5)
    again = tagger.tag(given[::-1])[::-1]
    assert [result.tags for result in again] == [result.tags for result in together]


def test_a_summary_is_the_largest_value_of_each_unit_in_the_sentence(
    taggers: dict[str, Tagger],
) -> None:
    tagger, given = taggers["summary"], sentences(1, seed=9)
    states: list[torch.Tensor] = []
    hook = tagger.net.stack.register_forward_hook(lambda net, x, h: states.append(h))
    _, scores, _ = next(tagger._scored(given))
    hook.remove()
    net = tagger.net
    assert net.summary is not None
    with torch.no_grad():
        h = states[0].numpy()  # one sentence: its words in their order
        wanted = h @ net.output.weight.numpy().T + net.output.bias.numpy()
        wanted += net.summary.weight.numpy() @ h.max(0)
    np.testing.assert_allclose(scores.numpy(), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_holds_all_of_it(taggers: dict[str, Tagger], kind: str, tmp_path: Path) -> None:
    tagger, path, given = taggers[kind], tmp_path / "t.safetensors", sentences(30, seed=3)
    tagger.save(path)
    for loaded in (Tagger.load(path), unrolled.load(path), pickle.loads(pickle.dumps(tagger))):
        assert loaded.tag(given) == tagger.tag(given)
        assert loaded.name == tagger.name
        assert loaded.parameters == tagger.parameters
        assert loaded.settings["training"] == tagger.settings["training"]
    read_model(path, verify=True)


@pytest.mark.parametrize("scheme", ["BIO", "IOB1", "IOBES", "IOE2", "BRACKETS"])
def test_tags_come_back_in_the_scheme_of_the_data(scheme: str) -> None:
    tagger = small_tagger(scheme=scheme)
    gold = sentences(20, seed=6, scheme=scheme)
    predicted = tagger.predict([sentence.words for sentence in gold])
    assert predicted == [list(sentence.tags) for sentence in gold]
    # No two spans of one label touch here, so that IOB1 has no B and cannot be told from IO.
    assert tagger.tags.output_scheme == {"IOB1": "IO"}.get(scheme, scheme)
    assert tagger.tags.scheme == "IOBES"


def test_spans_are_those_of_the_tags(tagger: Tagger) -> None:
    for result in tagger.tag(sentences(30, seed=4)):
        own = [tuple(span[:3]) for span in result.spans]
        assert own == [tuple(span) for span in spans(result.tags)]


@pytest.mark.parametrize("settings", [{}, {"scheme": "BIO"}, {"output_layer": "softmax"}])
def test_confidences_are_shares_of_all_tag_sequences(settings: dict[str, str]) -> None:
    """Against the sum over every sequence of a short sentence."""
    tagger = small_tagger(epochs=2, **settings)
    sentence = TaggedSentence(("Ann", "Jones", "met"), ())
    (result,) = tagger.tag([sentence])
    _, scores, _ = next(tagger._scored([sentence]))
    crf, names = tagger.net.crf, tagger.tags.names
    total: dict[tuple[str, ...], float] = {}
    for tags in itertools.product(range(len(names)), repeat=3):
        score = sum(float(scores[place, tag]) for place, tag in enumerate(tags))
        if crf is not None:
            transitions, start, end = (part.detach().numpy() for part in crf.scores())
            score += start[tags[0]] + end[tags[-1]]
            score += sum(transitions[one, other] for one, other in itertools.pairwise(tags))
        total[tuple(names[tag] for tag in tags)] = np.exp(score)
    everything = sum(total.values())
    for span in result.spans:
        share = sum(
            weight
            for tags, weight in total.items()
            if tuple(span[:3]) in [tuple(other) for other in spans(tags)]
            # a chance run of I-X after O is read as a span, which the model does not mean
            and tags[span.start] in ("B-PER", "S-PER", "B-LOC", "S-LOC")
        )
        assert span.confidence == pytest.approx(share / everything, rel=1e-4)
    for place, p in enumerate(result.confidences):
        own = tagger.tags.names[tagger.find([sentence]).ids[place]]
        share = sum(weight for tags, weight in total.items() if tags[place] == own)
        assert p == pytest.approx(share / everything, rel=1e-4)


def test_n_best_begins_with_the_tags_and_sums_to_less_than_one(tagger: Tagger) -> None:
    words = ["Ann", "Smith", "met", "Bob"]
    few = tagger.n_best(words, 5)
    assert few[0][1] == tagger.predict([words])[0]
    probabilities = [p for p, _ in few]
    assert probabilities == sorted(probabilities, reverse=True)
    assert 0 < sum(probabilities) <= 1 + 1e-9
    assert tagger.n_best([], 3) == [(1.0, [])]


def test_text_is_cut_and_spans_know_their_place_in_it(tagger: Tagger) -> None:
    text = "Ann met Bob Miller in Rome."
    (result,) = tagger.tag([text])
    assert result.words == ("Ann", "met", "Bob", "Miller", "in", "Rome", ".")
    found = [(text[span.begin_char : span.end_char], span.label) for span in result.spans]
    assert found == [("Ann", "PER"), ("Bob Miller", "PER"), ("Rome", "LOC")]


def test_unusual_input(tagger: Tagger) -> None:
    assert tagger.tag([]) == []
    empty, odd, blank = tagger.tag([[], ["\u00a0", "", "x" * 10_000, "<s>", "a b"], ""])
    assert empty.tags == () == empty.spans
    assert len(odd.tags) == 5
    assert blank.words == ()
    with pytest.raises(SettingError, match="got one"):
        tagger.tag("Ann met Bob")


def test_a_sentence_of_a_hundred_thousand_words() -> None:
    tagger = small_tagger(epochs=1, cell="elman", characters="none")
    words = ["Ann", "met", "Bob", "in", "Oslo"] * 20_000
    (result,) = tagger.tag([words])
    assert len(result.tags) == 100_000
    assert all(np.isfinite(result.confidences))


def test_known_words_are_forgotten_before_they_fill_memory(
    tagger: Tagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unrolled.tagging.data.known_words.MOST_KNOWN", 10)
    given = sentences(30, seed=8)
    wanted = [list(sentence.tags) for sentence in given]
    for start in range(0, 30, 3):
        part = [sentence.words for sentence in given[start : start + 3]]
        assert tagger.predict(part) == wanted[start : start + 3]


def test_errors(taggers: dict[str, Tagger], tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="only a tagger with a CRF"):
        taggers["softmax"].n_best(["a"], 2)
    with pytest.raises(SettingError, match="count is 0"):
        taggers["crf"].n_best(["a"], 0)
    with pytest.raises(TextError, match="reads column 0 beside words and tags"):
        taggers["rnn"].tag([["Ann"]])
    with pytest.raises(TextError, match=r"f:7: the sentence has no tags"):
        taggers["crf"].evaluate([TaggedSentence(("a",), (), place="f:7")])
    with pytest.raises(SettingError, match="pickled by its path"):
        pickle.dumps(small_tagger(count=5, epochs=1))
    write_model(tmp_path / "m.safetensors", kind="tagger", config={}, arrays={})
    with pytest.raises(FormatError, match="the tags are damaged"):
        Tagger.load(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cell": "tube"}, "settings are not understood"),
        ({"hidden": "many"}, "settings are not understood"),
        ({"tags": ["O", "O"]}, "tags are damaged"),
        ({"tag_scheme": "auto"}, "tags are damaged"),
        ({"known_characters": 3}, "characters are damaged"),
        ({"column_values": [["x"]]}, "not as many"),
        ({"columns": "no"}, "columns is 'no', allowed are whole numbers, 0 and more"),
        ({"hidden": 13}, "is needed"),
        ({"hidden": 20_000}, "is needed"),
        ({"hidden": 2**63}, "make no net|allowed"),
        ({"hidden": 1e300}, "make no net|allowed"),
        ({"layers": 10**6}, "ask for 1,000,000 layers"),
        ({"character_dim": 10**9}, "is needed"),
        ({"tags": [f"B-{number}" for number in range(100_000)]}, "is needed"),
    ],
)
def test_a_damaged_file_is_refused(
    tagger: Tagger, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    contents = tagger.contents()
    contents["config"] = {**contents["config"], **change}
    write_model(tmp_path / "m.safetensors", **contents)
    with pytest.raises(FormatError, match=message):
        Tagger.load(tmp_path / "m.safetensors")


def test_vectors_and_words_must_be_as_many(tagger: Tagger, tmp_path: Path) -> None:
    contents = tagger.contents()
    contents["arrays"]["vectors.given"] = np.zeros((2, 12), np.float16)
    write_model(tmp_path / "m.safetensors", **contents)
    with pytest.raises(FormatError, match="vectors for"):
        Tagger.load(tmp_path / "m.safetensors")


def test_threads_and_gradients_are_left_alone(tagger: Tagger) -> None:
    tagger.predict([["Ann"]])
    assert torch.is_grad_enabled()
    assert all(parameter.grad is None for parameter in tagger.net.parameters())


@pytest.fixture
def language_model(tmp_path: Path) -> Path:
    from unrolled.neural.training import train_net

    text = tmp_path / "text.txt"
    lines = [" ".join(sentence.words) for sentence in sentences(60)]
    text.write_text("\n".join(lines) + "\n", encoding="utf-8")
    model = train_net(str(text), hidden=8, classes=3, epochs=2, batch=4, threads=1)
    model.save(tmp_path / "lm.safetensors")
    return tmp_path / "lm.safetensors"


def test_states_of_a_language_model_go_in_and_into_the_file(
    language_model: Path, tmp_path: Path
) -> None:
    bare = {"embedding": 1, "characters": "none", "casing_dim": 0, "layers": 0, "epochs": 16}
    tagger = small_tagger(language_model=str(language_model), **bare)
    assert tagger.config.language_model_dim == 8
    given = sentences(30, seed=5)
    assert tagger.evaluate(given).f1 > small_tagger(**bare).evaluate(given).f1
    language_model.unlink()
    tagger.save(tmp_path / "t.safetensors")
    loaded = Tagger.load(tmp_path / "t.safetensors")
    assert loaded.tag(given) == tagger.tag(given)
    for sentence, result in zip(given, tagger.tag(given), strict=True):
        assert tagger.tag([sentence])[0].tags == result.tags
    states = tagger.language
    assert states is not None
    alone = states.rows([given[3].words])
    among = states.rows([sentence.words for sentence in given[:6]])
    first = sum(len(sentence.words) for sentence in given[:3])
    np.testing.assert_allclose(among[first : first + len(alone)], alone, rtol=1e-4, atol=1e-6)


def test_files_with_former_names_of_settings_load(tmp_path: Path) -> None:
    tagger = small_tagger(count=5, epochs=1, output_from="all", pooling="max", casing_dim=3)
    contents = tagger.contents()
    former = {
        "output_from": "read", "normalise_digits": "digits", "character_dim": "character_width",
        "casing_dim": "capitals", "column_dim": "column_width", "column_window": "window",
        "language_model_dim": "states", "pooling": "summary", "output_layer": "output",
    }  # fmt: skip
    config = {former.get(name, name): value for name, value in contents["config"].items()}
    assert {"read", "capitals", "summary"} <= set(config)
    config["training"] = {"unknown": 0.25, "epochs": 1}
    write_model(tmp_path / "t.safetensors", **{**contents, "config": config})
    loaded = Tagger.load(tmp_path / "t.safetensors")
    assert loaded.config == tagger.config
    assert loaded.settings["training"] == {"word_dropout": 0.25, "epochs": 1}
    assert loaded.tag(sentences(5, seed=5)) == tagger.tag(sentences(5, seed=5))


def test_only_nets_of_words_have_states(language_model: Path, tmp_path: Path) -> None:
    small_tagger(count=5, epochs=1).save(tmp_path / "t.safetensors")
    with pytest.raises(SettingError, match="a tagger's language model needs a net"):
        small_tagger(language_model=str(tmp_path / "t.safetensors"))
    contents = small_tagger(count=5, epochs=1, language_model=str(language_model)).contents()
    contents["config"]["language_model_dim"] = 9
    write_model(tmp_path / "broken.safetensors", **contents)
    with pytest.raises(FormatError, match="is needed"):
        Tagger.load(tmp_path / "broken.safetensors")
    contents["config"] = {**contents["config"], "language_model_dim": 8, "language_model": None}
    write_model(tmp_path / "broken.safetensors", **contents)
    with pytest.raises(FormatError, match="the language model is missing"):
        Tagger.load(tmp_path / "broken.safetensors")


def test_threads_share_the_batches_without_a_change(
    tagger: Tagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    used, before, forward = [], torch.get_num_threads(), tagger.net.forward

    def watched(*given: Any) -> Any:
        used.append((threading.current_thread(), torch.get_num_threads(), threads()))
        return forward(*given)

    monkeypatch.setattr(tagger.net, "forward", watched)
    monkeypatch.setattr(model, "BATCH_TOKENS", 16)
    monkeypatch.setattr(model, "BATCH_SENTENCES", 2)
    sentences = [["a", "b", "c"] * (1 + number % 9) for number in range(60)]
    found = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append([part.confidences for part in tagger.tag(sentences)])
        tagger.predict([["a", "b"] * 20])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]
    assert {own for _, own, _ in used} == {1}
    batches = len(used) // 2
    here = threading.current_thread()
    assert all(thread is here for thread, _, _ in used[:batches])
    assert here not in {thread for thread, _, _ in used[batches:-1]}
    assert used[-1] == (here, 1, 2)  # of a single sentence each direction has a thread
