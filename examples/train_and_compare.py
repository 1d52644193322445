"""Train n-gram models and a net on one text, mix the best two, and print their perplexities.

python train_and_compare.py [TRAIN VALID TEST]
"""

import sys
from itertools import islice
from pathlib import Path

import unrolled
from unrolled.text.demo_text import demo_text

paths = [Path(name) for name in sys.argv[1:]]
if not paths:
    # A part of the demo text, so that this ends within seconds.
    for path, lines in zip(demo_text("text"), (4500, 400, 400), strict=True):
        part = path.with_suffix(".part.txt")
        with path.open() as text:
            part.write_text("".join(islice(text, lines)))
        paths.append(part)
train, valid, test = paths

models: dict[str, unrolled.LanguageModel] = {
    f"{order}-gram": unrolled.train_ngram(train, order=order, min_count=2) for order in (2, 3, 4)
}
models["Witten-Bell trigram"] = unrolled.train_ngram(
    train, order=3, min_count=2, smoothing="witten-bell"
)
# The weights of the mixture fit the validation text; the test text is only measured on.
best = min(models, key=lambda name: unrolled.evaluate(models[name], valid).perplexity)
models["LSTM"] = unrolled.train_net(train, valid=valid, min_count=2, hidden=64, epochs=2, rate=0.02)
models[f"LSTM + {best}"] = unrolled.mix_models([models["LSTM"], models[best]], valid)

for name, model in models.items():
    print(f"{name:20} {unrolled.evaluate(model, test).perplexity:8.2f}")
