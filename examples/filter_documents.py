"""Keep the documents that read like a text you trust, by perplexity.

python filter_documents.py [MODEL DOCUMENTS.jsonl]

Web text for training is cleaned in this way: text that a model of good text finds unlikely is
seldom worth reading.
"""

import json
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
    model = unrolled.train_ngram(demo_text("text").train, order=3, min_count=2)
    path = Path("documents.jsonl")
    rows = [{"id": number, "text": text} for number, text in enumerate(DOCUMENTS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

# All other fields stay as they are, and so does the order; a large file needs little memory.
unrolled.annotate_file(
    [model], path, "kept.jsonl", unrolled.Annotation(keep="perplexity < 200"), report=print
)
for line in Path("kept.jsonl").read_text().splitlines():
    row = json.loads(line)
    print(f"{row['perplexity']:8.1f}  {row['text'][:50]!r}")
