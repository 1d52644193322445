"""The same models three ways: as `NgramModel`, of KenLM, and of the stand-in."""

from __future__ import annotations

import warnings

import pytest
from tests.integrations.kenlm_models import MODELS, random_sentences

from unrolled import train_ngram
from unrolled.errors import UnrolledWarning
from unrolled.integrations import kenlm as mine
from unrolled.ngram.arpa.files import write_arpa
from unrolled.ngram.editing.pruning import entropy_prune
from unrolled.ngram.editing.quantization import quantize


@pytest.fixture(scope="session")
def ngrams():
    """The models by name, as `NgramModel`."""
    texts = list(random_sentences(1, 1500))
    with warnings.catch_warnings():
        # The text is too small for some discounts to have a closed form.
        warnings.simplefilter("ignore", UnrolledWarning)
        made = {name: train_ngram(texts=texts, **config) for name, config in MODELS.items()}
    made["pruned"] = entropy_prune(made["pruned"], 1e-5)
    made["quantized"] = quantize(made["quantized"])
    return made


@pytest.fixture(scope="session")
def folder(ngrams, tmp_path_factory):
    """A folder with an ARPA file of each model."""
    folder = tmp_path_factory.mktemp("arpa")
    for name, model in ngrams.items():
        write_arpa(model, folder / f"{name}.arpa")
    return folder


@pytest.fixture(scope="session")
def kenlm():
    return pytest.importorskip("kenlm")


@pytest.fixture(scope="session")
def theirs(kenlm, folder):
    """KenLM's models by name."""
    config = kenlm.Config()
    config.show_progress, config.arpa_complain = False, kenlm.ARPALoadComplain.NONE
    return {name: kenlm.Model(str(folder / f"{name}.arpa"), config) for name in MODELS}


@pytest.fixture(scope="session")
def ours(ngrams):
    """The same as models of the stand-in."""
    return {name: mine.Model.from_model(model) for name, model in ngrams.items()}
