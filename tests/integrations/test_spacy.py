from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import textwrap

import pytest

from unrolled.errors import FormatError, SettingError
from unrolled.integrations.spacy import make_component
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


def test_a_saved_pipeline_holds_its_tagger(model, tmp_path):
    spacy = pytest.importorskip("spacy")
    own = tmp_path / "own.safetensors"
    shutil.copy(model, own)
    nlp = spacy.blank("en")
    nlp.add_pipe("unrolled", config={"model": str(own)})
    nlp.to_disk(tmp_path / "pipeline")
    own.unlink()
    (tmp_path / "pipeline").rename(tmp_path / "elsewhere")
    again = spacy.load(tmp_path / "elsewhere")
    assert entities(again("Ann left.")) == [("Ann", "PER")]
    data = nlp.to_bytes()
    assert entities(again.from_bytes(data)("Ann left.")) == [("Ann", "PER")]
    pipe = pickle.loads(pickle.dumps(nlp.get_pipe("unrolled")))
    assert entities(pipe(nlp.make_doc("Ann left."))) == [("Ann", "PER")]
    with pytest.raises(FormatError, match=r"own.safetensors: there is no such file"):
        spacy.blank("en").add_pipe("unrolled", config={"model": str(own)})(nlp.make_doc("Ann"))
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"nothing")
    with pytest.raises(FormatError, match=r"broken.safetensors"):
        spacy.blank("en").add_pipe("unrolled", config={"model": str(broken)})


def test_no_entity_crosses_a_blank_line_or_the_end_of_a_sentence(tmp_path):
    spacy = pytest.importorskip("spacy")
    path = tmp_path / "all.safetensors"
    data = [TaggedSentence(("Ann", "Bob"), ("B-PER", "I-PER")), TaggedSentence(("it",), ("O",))]
    train_tagger(data * 8, **SMALL).save(path)
    nlp = spacy.blank("en")
    nlp.add_pipe("unrolled", config={"model": str(path)})
    for text in ("Ann Bob\n\nAnn Bob", "Ann Bob \n \n Ann Bob", "Ann Bob\r\n\r\nAnn Bob"):
        assert entities(nlp(text)) == [("Ann Bob", "PER")] * 2
    assert [text for text, _ in entities(nlp("Ann\nBob"))] == ["Ann\nBob"]
    ends = entities(nlp("Ann Bob! Ann Bob"))
    assert [end.rstrip("!") for end, _ in ends] == ["Ann Bob"] * 2


def test_spacy_scores_what_the_component_finds(model, tmp_path):
    spacy = pytest.importorskip("spacy")
    from spacy.training import Example

    nlp = spacy.blank("en")
    nlp.add_pipe("unrolled", config={"model": model})
    texts = {"Ann left New York.": [(0, 3, "PER"), (9, 17, "PER")]}
    examples = [
        Example.from_dict(nlp.make_doc(text), {"entities": found}) for text, found in texts.items()
    ]
    scores = nlp.evaluate(examples)
    assert (scores["ents_p"], scores["ents_r"], scores["ents_f"]) == (0.5, 0.5, 0.5)
    path = tmp_path / "parts.safetensors"
    train_tagger([TaggedSentence(("the", "dog"), ("DT", "NN"))] * 8, **SMALL).save(path)
    parts = spacy.blank("en")
    parts.add_pipe("unrolled", config={"model": str(path)})
    example = Example.from_dict(parts.make_doc("the dog"), {"tags": ["DT", "VB"]})
    assert parts.evaluate([example])["tag_acc"] == 0.5


def test_several_processes_give_what_one_gives(model):
    """In a process of its own, so that one that hangs ends this test, not the suite."""
    pytest.importorskip("spacy")
    code = textwrap.dedent(f"""
        import spacy, torch, unrolled.integrations.spacy
        if __name__ == "__main__":
            nlp = spacy.blank("en")
            nlp.add_pipe("unrolled", config={{"model": {model!r}}})
            torch.set_num_threads(2)
            torch.ones(4000, 400) @ torch.ones(400, 400)  # now there are threads
            texts = ["Ann left New York.", "We left Ann."] * 20
            one = [[s.text for s in doc.ents] for doc in nlp.pipe(texts)]
            two = [[s.text for s in doc.ents] for doc in nlp.pipe(texts, n_process=2, batch_size=8)]
            assert one == two and one[0], two
    """)
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    try:
        assert process.wait(timeout=120) == 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


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
