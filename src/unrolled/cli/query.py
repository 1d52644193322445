"""``unrolled evaluate``, ``score``, ``rank``, ``predict`` and ``generate``."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unrolled.cli import options as shared
from unrolled.cli import tagging

if TYPE_CHECKING:
    from unrolled.language_models.protocol import LanguageModel

_UNITS = {"log10": 1 / math.log(10), "nats": 1.0, "bits": -1 / math.log(2)}


def _load(path: str) -> Any:
    from unrolled.storage.model_file import load_language_model

    return load_language_model(path)


def _lines(sources: str | list[str], model: LanguageModel) -> Iterator[str]:
    """Lines as they stand, read as the model's training text was."""
    from dataclasses import replace

    from unrolled.text.corpus import iter_sentences

    return iter_sentences(sources, replace(model.text_options, tokens="word", lower=False))


def evaluate(
    model: shared.ModelPath,
    texts: shared.Texts,
    skip_oov: Annotated[
        bool, typer.Option("--skip-oov", help="Leave unknown words out of the mean.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print all sums as JSON.")] = False,
    dynamic: Annotated[
        bool, typer.Option("--dynamic", help="A net goes on learning from the text it has scored.")
    ] = False,
    dynamic_rate: Annotated[float, typer.Option(help="Learning rate of --dynamic.")] = 0.3,
    dynamic_decay: Annotated[
        float, typer.Option(help="Share of the way back to the trained weights at each step.")
    ] = 0.0,
    cache: Annotated[
        int, typer.Option(help="Keep so many of a net's outputs in a continuous cache.", min=0)
    ] = 0,
    cache_weight: Annotated[float, typer.Option(help="Share of that cache.")] = 0.1,
    cache_theta: Annotated[
        float, typer.Option(help="How much more the more similar outputs count; 0: all the same.")
    ] = 0.5,
    word_column: tagging.WordColumn = None,
    tag_column: tagging.TagColumn = None,
    separator: tagging.Separator = None,
    encoding: tagging.Encoding = "utf-8",
    threads: shared.Threads = 2,
) -> None:
    """Print the perplexity of a text, on one line that says how it was measured.

    Of a tagger, print how well it finds the spans of a column file, as conlleval does.

    Examples:

        unrolled evaluate news.safetensors test.txt

        unrolled evaluate lstm.safetensors test.txt --dynamic

        unrolled evaluate lstm.safetensors test.txt --cache 500

        unrolled evaluate names.safetensors test.conll
    """
    from unrolled.cli.progress import Stages, compiling_announced
    from unrolled.errors import SettingError
    from unrolled.language_models.protocol import evaluate as measure
    from unrolled.storage.model_file import load

    if dynamic and cache:
        raise SettingError("--dynamic and --cache cannot be had together", hint="Name one of them")
    with compiling_announced(), Stages() as stages:
        opened = load(model)
        if hasattr(opened, "tags"):
            tagging.evaluate_tagger(
                opened, texts, as_json=json_, encoding=encoding, word=word_column, tag=tag_column,
                separator=separator,
            )  # fmt: skip
            return
        if (word_column, tag_column, separator, encoding) != (None, None, None, "utf-8"):
            raise SettingError(
                "--word-column, --tag-column, --separator and --encoding are for taggers, and this "
                "is a language model"
            )
        shown: Any = {"skip_oov": skip_oov, "progress": stages.tokens_scored}
        if dynamic:
            from unrolled.neural.dynamic import evaluate_dynamically

            result = evaluate_dynamically(
                opened, texts, rate=dynamic_rate, decay=dynamic_decay, **shown
            )
        else:
            if cache:
                from unrolled.neural.continuous_cache import ContinuousCacheModel

                opened = ContinuousCacheModel(
                    opened, window=cache, weight=cache_weight, theta=cache_theta
                )
            result = measure(opened, texts, threads=threads, **shown)
    if json_:
        from dataclasses import asdict

        typer.echo(json.dumps({"perplexity": result.perplexity, **asdict(result)}))
    else:
        typer.echo(result.line())


def score(
    model: shared.ModelPath,
    texts: Annotated[
        list[str] | None, typer.Argument(help="Text files; standard input if none is given.")
    ] = None,
    by: Annotated[str, typer.Option(help="sentence or word.")] = "sentence",
    unit: Annotated[
        str, typer.Option(help="log10, nats (both logarithms of p) or bits (surprisal, -log2 p).")
    ] = "log10",
    format: Annotated[str, typer.Option(help="tsv or jsonl.")] = "tsv",
) -> None:
    """Print the score of each sentence, or the surprisal of each word, beside its text.

    Examples:

        echo "the cat sat" | unrolled score news.safetensors

        unrolled score news.safetensors story.txt --by word --unit bits > surprisal.tsv
    """
    from unrolled.cli.progress import compiling_announced

    for name, value, allowed in (
        ("--by", by, ("sentence", "word")),
        ("--unit", unit, tuple(_UNITS)),
        ("--format", format, ("tsv", "jsonl")),
    ):
        _choice(name, value, allowed)
    with compiling_announced():
        opened = _load(model)
        lines = _lines(texts or "-", opened)
        if by == "word":
            _print_words(opened, lines, unit, format)
        else:
            _print_sentences(opened, lines, unit, format)


def _choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    from unrolled.errors import SettingError

    if value not in allowed:
        raise SettingError(f"{name} is '{value}', allowed are {', '.join(allowed)}")


def _print_sentences(model: LanguageModel, lines: Iterable[str], unit: str, format: str) -> None:
    from unrolled.language_models.protocol import score_sentences

    if format == "tsv":
        print(f"{unit}\tsentence")
    for batch in _batches(lines, 10_000):
        for line, log_prob in zip(batch, score_sentences(model, batch), strict=True):
            value = float(log_prob) * _UNITS[unit]
            if format == "tsv":
                print(f"{value:.6f}\t{line}")
            else:
                print(json.dumps({unit: value, "sentence": line}, ensure_ascii=False))


def _print_words(model: LanguageModel, lines: Iterable[str], unit: str, format: str) -> None:
    from unrolled.language_models.protocol import surprisals

    if format == "tsv":
        print(f"sentence\tword\t{unit}\toov")
    for token in surprisals(model, lines):
        value = token.log_prob * _UNITS[unit]
        if format == "tsv":
            print(f"{token.sentence + 1}\t{token.word}\t{value:.6f}\t{int(token.oov)}")
        else:
            row = {"sentence": token.sentence + 1, "word": token.word, unit: value}
            print(json.dumps({**row, "oov": token.oov}, ensure_ascii=False))


def _batches(lines: Iterable[str], size: int) -> Iterator[list[str]]:
    batch: list[str] = []
    for line in lines:
        batch.append(line)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def rank(
    model: shared.ModelPath,
    sentences: Annotated[
        list[str] | None,
        typer.Argument(help="Sentences to compare; lines of standard input if none is given."),
    ] = None,
) -> None:
    """Order sentences from likeliest to least likely: which word order, which word choice?

    Example:

        unrolled rank news.safetensors "the cat is small" "small the is cat"
    """
    from unrolled.cli.progress import compiling_announced
    from unrolled.language_models.protocol import rank as order

    with compiling_announced():
        opened = _load(model)
        given = sentences or list(_lines("-", opened))
        print("log10\tsentence")
        for log_prob, sentence in order(opened, given):
            print(f"{log_prob * _UNITS['log10']:.4f}\t{sentence}")


def predict(
    model: shared.ModelPath,
    context: Annotated[
        str, typer.Argument(help="The words so far, from the sentence's start.")
    ] = "",
    count: Annotated[int, typer.Option("--count", "-n", help="How many words.", min=1)] = 10,
) -> None:
    """Print the likeliest next words with their probabilities.

    Example:

        unrolled predict news.safetensors "in the united"
    """
    from unrolled.cli.progress import compiling_announced
    from unrolled.language_models.protocol import predict as likeliest

    with compiling_announced():
        likely = likeliest(_load(model), context, count)
        print("probability\tword")
        for word, probability in likely:
            print(f"{probability:.6f}\t{word}")


def generate(
    model: shared.ModelPath,
    context: Annotated[str, typer.Option(help="Words to go on from.")] = "",
    count: Annotated[int, typer.Option("--count", "-n", help="How many sentences.", min=1)] = 1,
    max_words: Annotated[int, typer.Option(help="Longest sentence.", min=1)] = 50,
    temperature: Annotated[float, typer.Option(help="Below 1: safer, above: wilder.")] = 1.0,
    top_k: Annotated[
        int | None, typer.Option(help="Draw only among so many likeliest words.", min=1)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed, the same sentences.")] = None,
) -> None:
    """Write sentences drawn from the model.

    Example:

        unrolled generate news.safetensors -n 5 --seed 1
    """
    from unrolled.cli.progress import compiling_announced
    from unrolled.language_models.protocol import generate as draw

    with compiling_announced():
        opened = _load(model)
        for number in range(count):
            sentence = draw(
                opened,
                context=context,
                max_words=max_words,
                temperature=temperature,
                top_k=top_k,
                seed=None if seed is None else seed + number,
            )
            print(sentence)
            sys.stdout.flush()
