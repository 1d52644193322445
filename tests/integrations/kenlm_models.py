"""Models and texts on which the stand-in and the real `kenlm` are compared."""

from __future__ import annotations

import random

WORDS = [a + b for a in "bdfgklmnprst" for b in ("a", "e", "i", "o", "an", "is", "ü")]
SPECIAL = ["<s>", "</s>", "<unk>", "<UNK>", "unknown", "Ba", "", "\u2028", "日本"]
WITHIN = 5e-6  # KenLM adds single-precision numbers

# How each model is made; KenLM reads orders 2 to 6.
MODELS = {
    "bigram": {"order": 2, "smoothing": "witten-bell"},
    "trigram": {"order": 3},
    "cut-offs": {"order": 3, "prune": (0, 0, 1)},
    "5-gram": {"order": 5},
    "6-gram": {"order": 6, "smoothing": "absolute"},
    "log zero": {"order": 3, "smoothing": "maximum-likelihood"},
    "pruned": {"order": 4},
    "quantized": {"order": 4},
}


def random_sentences(seed, count, extra=()):
    """Sentences of up to nine words, frequent ones first in WORDS; ``extra`` are strewn in."""
    draw = random.Random(seed)
    weights = [1 / (rank + 1) for rank in range(len(WORDS))]
    for _ in range(count):
        words = draw.choices(WORDS, weights, k=draw.randrange(10))
        for place in range(len(words)):
            if extra and draw.random() < 0.2:
                words[place] = draw.choice(extra)
        yield " ".join(words)


def steps(module, model, words, bos):
    """All states and scores on the way through a text."""
    states = [module.State()]
    (model.BeginSentenceWrite if bos else model.NullContextWrite)(states[0])
    scores = []
    for word in words:
        after = module.State()
        scores.append(model.BaseFullScore(states[-1], word, after))
        assert model.BaseScore(states[-1], word, module.State()) == scores[-1].log_prob
        states.append(after)
    return states, scores
