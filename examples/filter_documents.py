"""Split documents into those that read like a text you trust and the rest, by perplexity.

python filter_documents.py [MODEL DOCUMENTS.jsonl]

Web text for training is cleaned so: low perplexity under a model of good text, high quality.
"""

import json
import math
import sys
from pathlib import Path

import unrolled
from unrolled.text.demo_text import demo_text

DOCUMENTS = [
    "and he said to them , peace be to you .\nthey answered him , and went away .",
    "click here to win win win !!! best price viagra casino",
    "the king of israel went out to the city , and all the people with him .",
    "lorem ipsum dolor sit amet consectetur adipiscing elit",
]

if sys.argv[1:]:
    model, path = unrolled.load(sys.argv[1]), Path(sys.argv[2])
else:
    model, path = (
        unrolled.train_ngram(demo_text("text").train, order=3, min_count=2),
        Path("d.jsonl"),
    )
    rows = [{"id": number, "text": text} for number, text in enumerate(DOCUMENTS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

rows = [json.loads(line) for line in path.read_text().splitlines()]
# All sentences of all documents are scored in one call, which uses all cores.
sentences = [row["text"].splitlines() for row in rows]
scores = model.token_scores([sentence for document in sentences for sentence in document])
tokens = scores.starts[1:] - scores.starts[:-1] - 1  # </s> counts, <s> does not
sums, first = scores.sums, 0
for row, document in zip(rows, sentences, strict=True):
    part = slice(first, first + len(document))
    row["perplexity"] = math.exp(-sums[part].sum() / tokens[part].sum())
    first += len(document)

kept = [row for row in rows if row["perplexity"] < 200]
Path("kept.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
for row in rows:
    decision = "kept" if row in kept else "left out"
    print(f"{row['perplexity']:10.1f}  {decision:8}  {row['text'][:40]!r}")
