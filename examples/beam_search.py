"""Decode a matrix of letter probabilities, as a speech recogniser puts out, with a language model.

    python examples/beam_search.py

CTC prefix beam search (Hannun et al. 2014, "First-pass large vocabulary continuous speech
recognition using bi-directional recurrent DNNs"). At each frame all hypotheses that end a word are
scored with one call of the language model, `model.extend`; it takes arrays and gives arrays. Any
language model will do, a net or a mixture too: put another one in place of the trigram.
"""

from __future__ import annotations

import numpy as np

import unrolled

LABELS = [*"abcdefghijklmnopqrstuvwxyz ", ""]  # "" is the blank
TEXTS = ["the cat sat on the mat", "the dog sat on the mat", "a cat ran", "the dog ran on", "a mat"]


class Words:
    """States and scores of the language model after the complete words of each hypothesis."""

    def __init__(self, model):
        self.model = model
        self.states = model.start_states(1)
        self.rows = {"": 0}  # text -> its row
        self.scores = np.zeros(1)

    def add(self, texts):
        """Score the last word of each text that is new, all in one call."""
        texts = [text for text in texts if text not in self.rows]
        if not texts:
            return
        parts = [text[:-1].rpartition(" ") for text in texts]
        heads = [self.rows[head + space] for head, space, _ in parts]
        words = self.model.vocabulary.ids([word for _, _, word in parts])
        states, log_probs = self.model.extend(self.states[heads], words)
        self.rows.update((text, len(self.states) + row) for row, text in enumerate(texts))
        self.scores = np.concatenate([self.scores, self.scores[heads] + log_probs])
        self.states = np.concatenate([self.states, states])

    def score(self, text):
        """Of the complete words of a text."""
        return self.scores[self.rows[text[: text.rfind(" ") + 1]]]

    def ends(self, texts):
        """Log-probability of </s> after each text."""
        states = self.states[[self.rows[text] for text in texts]]
        return self.model.score_beams(states, np.full((len(texts), 1), 2))[:, 0]  # 2 is </s>


def decode(frames, labels, model, *, width=100, alpha=0.8, beta=1.0, least=-8.0):
    """The best texts with their scores, best first.

    Args:
        frames: (T, C) log-probabilities of the labels, the blank among them.
        width: hypotheses that go on at each frame.
        alpha: weight of the language model. beta: added for each word.
        least: labels below this log-probability are not tried.
    """
    blank, words = labels.index(""), Words(model)

    def total(text, pair):
        return np.logaddexp(*pair) + alpha * words.score(text) + beta * text.count(" ")

    beams = {"": (0.0, -np.inf)}  # text -> log-probability ending in a blank, in its last letter
    for frame in frames:
        after = {}

        def add(text, ends_blank, value, after=after):
            if value == -np.inf:
                return
            pair = list(after.get(text, (-np.inf, -np.inf)))
            pair[not ends_blank] = np.logaddexp(pair[not ends_blank], value)
            after[text] = tuple(pair)

        for text, (in_blank, in_letter) in beams.items():
            both = np.logaddexp(in_blank, in_letter)
            add(text, True, both + frame[blank])
            for label in np.flatnonzero(frame > least).tolist():
                letter = labels[label]
                if label == blank or (letter == " " and not text):
                    continue
                if text.endswith(letter):
                    add(text, False, in_letter + frame[label])
                    if letter != " ":  # there are no empty words
                        add(text + letter, False, in_blank + frame[label])
                else:
                    add(text + letter, False, both + frame[label])
        words.add([text for text in after if text.endswith(" ")])
        best = sorted(after, key=lambda text: -total(text, after[text]))
        beams = {text: after[text] for text in best[:width]}
    ended = {}
    for text, pair in beams.items():
        whole = text if text.endswith(" ") or not text else text + " "
        ended[whole] = np.logaddexp(np.logaddexp(*pair), ended.get(whole, -np.inf))
    words.add(list(ended))
    scores = {
        text.strip(): value + alpha * (words.score(text) + end) + beta * text.count(" ")
        for (text, value), end in zip(ended.items(), words.ends(list(ended)), strict=True)
    }
    return sorted(scores.items(), key=lambda pair: -pair[1])


def spoken(text, seed=0):
    """What a poor recogniser hears: letters take one to three frames, vowels sound alike."""
    random = np.random.default_rng(seed)
    rows = []
    for letter in text:
        row = np.full(len(LABELS), 1e-4)
        heard = "aeiou" if letter in "aeiou" else letter
        for one in heard:
            row[LABELS.index(one)] = random.uniform(0.4, 1)
        rows += [row] * int(random.integers(1, 4))
        row = np.full(len(LABELS), 1e-4)
        row[-1] = 1
        rows.append(row)
    frames = np.array(rows)
    return np.log(frames / frames.sum(1, keepdims=True))


def main():
    """Decode what was heard, without and with the language model."""
    model = unrolled.train_ngram(texts=TEXTS, order=3, smoothing="witten-bell")
    frames = spoken("the cat sat on the mat")
    for alpha in (0.0, 0.8):
        text, score = decode(frames, LABELS, model, alpha=alpha, width=50)[0]
        print(f"language model x {alpha}: {text!r}, score {score:.2f}")


if __name__ == "__main__":
    main()
