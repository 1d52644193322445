from __future__ import annotations

import sys
import textwrap

import pytest

from unrolled.errors import SettingError
from unrolled.integrations.spacy import SpacyTagger, make_component
from unrolled.tagging.data.columns import TaggedSentence
from unrolled.tagging.training import train_tagger

SMALL = {"hidden": 8, "embedding": 8, "characters": "none", "epochs": 15, "rate": 0.05,
         "warmup": 0, "threads": 1}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tagger that knows Ann, and New York."""
    data = [
        TaggedSentence(("Ann", "left", "New", "York", "."), ("B-PER", "O", "B-LOC", "I-LOC", "O")),
        TaggedSentence(("we", "left", "Ann", "."), ("O", "O", "B-PER", "O")),
    ] * 8
    path = tmp_path_factory.mktemp("spacy") / "names.safetensors"
    train_tagger(data, **SMALL).save(path)
    return str(path)


def entities(doc):
    return [(span.text, span.label_) for span in doc.ents]


def test_spans_become_entities_with_or_without_sentences(model):
    spacy = pytest.importorskip("spacy")
    nlp = spacy.blank("en")
    nlp.add_pipe("unrolled", config={"model": model})
    doc = nlp("Ann left  New York. We left Ann.")
    assert entities(doc) == [("Ann", "PER"), ("New York", "LOC"), ("Ann", "PER")]
    nlp.add_pipe("sentencizer", first=True)
    texts = ["Ann left New York.", "", "We left Ann. Ann left New York."]
    docs = list(nlp.pipe(texts, batch_size=2))
    assert [entities(doc) for doc in docs] == [entities(nlp(text)) for text in texts]
    assert [len(doc.ents) for doc in docs] == [2, 0, 3]


def test_a_saved_pipeline_finds_its_model_again(model, tmp_path):
    spacy = pytest.importorskip("spacy")
    nlp = spacy.blank("en")
    nlp.add_pipe("unrolled", config={"model": model})
    nlp.to_disk(tmp_path / "pipeline")
    again = spacy.load(tmp_path / "pipeline")
    assert entities(again("Ann left.")) == [("Ann", "PER")]


def test_earlier_entities_stay_if_wished(model):
    spacy = pytest.importorskip("spacy")
    nlp = spacy.blank("en")
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "ORG", "pattern": "left New"}])
    nlp.add_pipe("unrolled", config={"model": model, "overwrite": False})
    assert entities(nlp("Ann left New York.")) == [("Ann", "PER"), ("left New", "ORG")]


def test_tags_that_are_no_spans_become_tags_of_tokens(tmp_path):
    spacy = pytest.importorskip("spacy")
    data = [TaggedSentence(("the", "dog"), ("DT", "NN"))] * 8
    path = tmp_path / "parts.safetensors"
    train_tagger(data, **SMALL).save(path)
    nlp = spacy.blank("en")
    nlp.add_pipe("unrolled", config={"model": str(path)})
    assert [token.tag_ for token in nlp("the dog")] == ["DT", "NN"]


def test_spacy_finds_the_installed_component_by_itself(model, tmp_path, monkeypatch):
    """The entry point of pyproject.toml, read from metadata as an installed package has them."""
    pytest.importorskip("spacy")
    import subprocess
    import tomllib
    from pathlib import Path

    root = Path(__file__).resolve().parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    points = project["entry-points"]["spacy_factories"]
    metadata = tmp_path / "unrolled-0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: unrolled\nVersion: 0\n")
    lines = [f"{name} = {place}" for name, place in points.items()]
    (metadata / "entry_points.txt").write_text("\n".join(["[spacy_factories]", *lines]) + "\n")
    code = textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        import spacy
        nlp = spacy.blank("en")
        nlp.add_pipe("unrolled", config={{"model": {model!r}}})
        assert [span.label_ for span in nlp("Ann left.").ents] == ["PER"]
    """)
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_pipe_without_a_model_is_refused():
    with pytest.raises(SettingError, match=r"the pipe has no model. Name one: add_pipe"):
        make_component(None, "unrolled", "", True, "SPAN")


def test_documents_are_tagged_without_spacy_too():
    """What spaCy's classes are asked for, with stand-ins: so the code runs where spaCy is not."""

    class Token:
        def __init__(self, i, text):
            self.i, self.text, self.is_space, self.tag_ = i, text, text.isspace(), ""

    class Doc(list):
        def has_annotation(self, name):
            return False

    class Labels:
        has_spans = False

    class Tagger:
        tags = Labels()

        def tag(self, words, confidences):
            class Result:
                tags = tuple(word.upper() for word in words[0])

            return [Result()]

    doc = Doc([Token(0, "a"), Token(1, " "), Token(2, "b")])
    assert [token.tag_ for token in SpacyTagger(Tagger())(doc)] == ["A", "", "B"]
