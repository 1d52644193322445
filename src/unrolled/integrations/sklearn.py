"""A tagger as a scikit-learn estimator, for `cross_val_score`, `GridSearchCV` and pipelines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.errors import MissingExtraError, SettingError, TextError
from unrolled.settings import check_names
from unrolled.tagging.config import TaggerConfig, TaggerTraining
from unrolled.tagging.data.columns import TaggedSentence

if TYPE_CHECKING:
    from unrolled.tagging.model import Tagger

_OWN = {"metric_for_score": "auto", "valid_share": 0.0, "threads": 2, "device": "auto"}
_SCORES = ("auto", "f1", "accuracy")


class TaggerEstimator:
    """Trains a tagger on lists of words and lists of tags, as scikit-learn's estimators do.

    scikit-learn itself is needed only by those of its functions that one calls.

    Args:
        metric_for_score: what `score` gives: ``f1`` of exact spans as conlleval counts them,
            ``accuracy`` of tags, or ``auto``: f1 where the tags are spans.
        valid_share: share of the sentences, the last ones, that are not trained on and choose the
            best epoch; 0: none, and the last epoch counts.
        threads, device: for training, see `train_tagger`.
        **settings: those of `TaggerConfig` and `TaggerTraining`: hidden, layers, epochs ...

    Attributes:
        tagger_: after `fit`, the `Tagger`: save it, ask it for spans and confidences.
        classes_: its tags, sorted.

    A pickle of a trained estimator (``joblib.dump``) holds the whole tagger, as the bytes of its
    model file.

    >>> X = [["Ann", "ran"], ["we", "ran"]] * 8
    >>> y = [["B-PER", "O"], ["O", "O"]] * 8
    >>> tagger = TaggerEstimator(hidden=8, embedding=8, epochs=20, rate=0.03, batch=4, warmup=0)
    >>> tagger.fit(X, y).predict([["Ann", "ran"]])
    [['B-PER', 'O']]
    >>> tagger.score(X, y)
    1.0
    """

    def __init__(self, **settings: Any) -> None:
        self._settings: dict[str, Any] = dict(_OWN)
        self.set_params(**settings)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All settings that were given, and the estimator's own."""
        return dict(self._settings)

    def set_params(self, **settings: Any) -> TaggerEstimator:
        """Change settings; values are checked by `fit`.

        Raises:
            SettingError: there is no such setting; with the nearest one.
        """
        check_names(settings, TaggerConfig, TaggerTraining, more=_OWN)
        self._settings |= settings
        return self

    def fit(self, X: Iterable[Sequence[str]], y: Iterable[Sequence[str]]) -> TaggerEstimator:  # noqa: N803
        """Train on sentences.

        Args:
            X: the words of each sentence.
            y: as many tags for each.

        Raises:
            TextError: sentences and tags are not as many, or are something else than strings.
            SettingError: a setting has a value that is not allowed.
        """
        from unrolled.tagging.training import train_tagger

        settings = dict(self._settings)
        wanted, share = settings.pop("metric_for_score"), settings.pop("valid_share")
        if wanted not in _SCORES:
            hint = f"Allowed are {', '.join(_SCORES)}"
            raise SettingError(f"metric_for_score is {wanted!r}", hint=hint)
        if not 0 <= share < 1:
            raise SettingError(f"valid_share is {share}, allowed are 0 to below 1")
        sentences = _tagged(X, y)
        held_out = round(share * len(sentences))
        cut = len(sentences) - held_out
        self.tagger_: Tagger = train_tagger(
            sentences[:cut], valid=sentences[cut:] if held_out else None, **settings
        )
        return self

    @property
    def classes_(self) -> np.ndarray[Any, Any]:
        """(K,) the tags, sorted; columns of `predict_proba`."""
        if "tagger_" not in self.__dict__:
            raise AttributeError("the estimator was not trained: call fit first")
        return np.array(self.tagger_.tags.output_names)

    def predict(self, X: Iterable[Sequence[str]]) -> list[list[str]]:  # noqa: N803
        """The tags of each sentence.

        Raises:
            SettingError: `fit` was not called.
        """
        return self._fitted().predict(_words(X, "words"))

    def predict_proba(self, X: Iterable[Sequence[str]]) -> list[np.ndarray[Any, Any]]:  # noqa: N803
        """(T, K) of each sentence: the probability of each tag of `classes_` for each word.

        Raises:
            SettingError: `fit` was not called.
        """
        return self._fitted().probabilities(_words(X, "words"))

    def score(self, X: Iterable[Sequence[str]], y: Iterable[Sequence[str]]) -> float:  # noqa: N803
        """F1 or accuracy of predicting tags, between 0 and 1; see `metric_for_score`.

        Raises:
            TextError: sentences and tags are not as many.
        """
        from unrolled.tagging.scoring.scores import score_spans

        tagger = self._fitted()
        sentences = _tagged(X, y)
        gold = [sentence.tags for sentence in sentences]
        predicted = tagger.predict([sentence.words for sentence in sentences])
        scheme = None if tagger.tags.has_spans else "none"
        scores = score_spans(gold, predicted, scheme=scheme)
        wanted = self._settings["metric_for_score"]
        by_spans = tagger.tags.has_spans if wanted == "auto" else wanted == "f1"
        return scores.f1 if by_spans else scores.accuracy

    def __sklearn_is_fitted__(self) -> bool:
        return "tagger_" in self.__dict__

    def __getstate__(self) -> dict[str, Any]:
        if "tagger_" not in self.__dict__:
            return dict(self.__dict__)
        from unrolled.integrations.model_bytes import model_bytes

        return {**self.__dict__, "tagger_": model_bytes(self.tagger_)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        from unrolled.integrations.model_bytes import model_of_bytes

        self.__dict__.update(state)
        if "tagger_" in state:
            self.__dict__["tagger_"] = model_of_bytes(state["tagger_"])

    def _fitted(self) -> Tagger:
        tagger: Tagger | None = getattr(self, "tagger_", None)
        if tagger is None:
            raise SettingError("the estimator was not trained", hint="Call fit first")
        return tagger

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn asks of estimators; only it calls this."""
        try:
            from sklearn.utils import InputTags, Tags, TargetTags
        except ImportError:
            raise MissingExtraError("sklearn", "scikit-learn") from None
        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=True),
            input_tags=InputTags(two_d_array=False),
        )

    def __repr__(self) -> str:
        given = {name: value for name, value in self._settings.items() if _OWN.get(name) != value}
        return f"TaggerEstimator({', '.join(f'{name}={value!r}' for name, value in given.items())})"


def _words(sentences: Iterable[Any], what: str) -> list[tuple[str, ...]]:
    """Sentences as tuples of strings, NumPy's included; ``what`` is words or tags, for messages."""
    found = []
    for number, sentence in enumerate(sentences, 1):
        where = f"sentence {number}"
        if isinstance(sentence, str):
            hint = "Cut it with unrolled.text.tokeniser.tokenise"
            text = f"this is a text, and a list of {what} is needed"
            raise TextError(text, where=where, hint=hint)
        if isinstance(sentence, Mapping) or not isinstance(sentence, Iterable):
            text = f"the {what} are {str(sentence)[:60]}, and a list of {what} is needed"
            raise TextError(text, where=where, hint="Give a list of lists")
        for item in sentence:
            if not isinstance(item, str):
                shown = f"{type(item).__name__} {item!r}"[:80]
                hint = "Give their names" if what == "tags" else "Give the words themselves"
                raise TextError(f"{what} are strings, not {shown}", where=where, hint=hint)
        found.append(tuple(map(str, sentence)))
    return found


def _tagged(X: Iterable[Sequence[str]], y: Iterable[Sequence[str]]) -> list[TaggedSentence]:  # noqa: N803
    words, tags = _words(X, "words"), _words(y, "tags")
    if len(words) != len(tags):
        raise TextError(f"there are {len(words)} sentences and tags for {len(tags)}")
    return [
        TaggedSentence(*both, place=f"sentence {number}")
        for number, both in enumerate(zip(words, tags, strict=True), 1)
    ]
