"""Write the surprisal of each word of some sentences as CSV, to put beside reading times.

python surprisal_by_word.py [MODEL SENTENCES.txt]
"""

import csv
import sys
from pathlib import Path

import unrolled
from unrolled.text.demo_text import demo_text

SENTENCES = [
    "in the beginning god created the heavens and the earth .",
    "in the beginning god created the tables and the chairs .",
]

if sys.argv[1:]:
    model = unrolled.load(sys.argv[1])
    sentences = Path(sys.argv[2]).read_text().splitlines()
else:
    model = unrolled.train_ngram(demo_text("text").train, order=4, min_count=2)
    sentences = SENTENCES

with Path("surprisal.csv").open("w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["sentence", "word", "bits", "oov"])
    for token in unrolled.surprisals(model, sentences):
        table.writerow([token.sentence + 1, token.word, f"{token.bits:.3f}", int(token.oov)])
print(Path("surprisal.csv").read_text(), end="")
