"""Train a tagger on column files of your own, and print what it finds and what it gets wrong.

python tag_own_columns.py [TRAIN DEV TEST]

A column file has a word and its tag on each line, and a blank line after each sentence.
"""

import random
import sys
from pathlib import Path

import unrolled

NAMES = ("Ann", "Bob", "Carla", "Dan", "Eva", "Finn", "Greta", "Hugo", "Ida", "Jon", "Kim", "Leo")
PLACES = ("Rome", "Oslo", "Paris", "Lima", "Cairo", "Delhi", "Quito", "Sofia", "Tunis", "Vienna")
PATTERNS = [
    "NAME went to PLACE .",
    "yesterday NAME NAME flew from PLACE to PLACE .",
    "in PLACE it rains , said NAME .",
    "nobody in the office knew NAME .",
    "the train to PLACE is late again .",
]


def write_columns(path: Path, sentences: int, seed: int) -> None:
    """Sentences after the patterns; two names in a row are a first and a last name."""
    draw = random.Random(seed)
    lines = []
    for _ in range(sentences):
        before = "O"
        for slot in draw.choice(PATTERNS).split():
            words, kind = {"NAME": (NAMES, "PER"), "PLACE": (PLACES, "LOC")}.get(slot, ([slot], ""))
            tag = "O" if not kind else f"I-{kind}" if before.endswith(kind) else f"B-{kind}"
            lines.append(f"{draw.choice(words)} {tag}")
            before = tag
        lines.append("")
    path.write_text("\n".join(lines))


paths = [Path(name) for name in sys.argv[1:]]
if not paths:
    paths = [Path(f"{name}.txt") for name in ("train", "dev", "test")]
    for path, sentences, seed in zip(paths, (300, 50, 50), (1, 2, 3), strict=True):
        write_columns(path, sentences, seed)
train, dev, test = paths

tagger = unrolled.train_tagger(train, valid=dev, hidden=24, epochs=8, rate=0.01, batch=8)
tagger.save("names.safetensors")

sentences = unrolled.read_columns(test)
scores = tagger.evaluate(sentences)
print(f"F1 {100 * scores.f1:.1f} %")
for sentence, found in zip(sentences, tagger.predict(sentences), strict=True):
    if list(sentence.tags) != found:
        print("error:", *(f"{word}/{tag}" for word, tag in zip(sentence.words, found, strict=True)))

for tagged in tagger.tag(["Ann Miller flew from Oslo to Lima ."]):
    print(*(f"{word}/{tag}" for word, tag in zip(tagged.words, tagged.tags, strict=True)))
