"""``unrolled evaluate``, ``score``, ``rank``, ``predict`` and ``generate``."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unrolled.cli import options as shared
from unrolled.cli import tagging

if TYPE_CHECKING:
    from unrolled.language_models.protocol import LanguageModel
    from unrolled.text.options import TextOptions

_UNITS = {"log10": 1 / math.log(10), "nats": 1.0, "bits": -1 / math.log(2)}


def _load(path: str, purpose: str) -> LanguageModel:
    from unrolled.language_models.protocol import LanguageModel
    from unrolled.storage.loading import load_as

    return load_as(path, LanguageModel, purpose)


def _lines(sources: str | list[str], options: TextOptions) -> Iterator[str]:
    """Lines as they stand, read like the model's input but not yet split into tokens."""
    from unrolled.text.tokens import iter_sentences

    return iter_sentences(sources, replace(options, tokens="word", lower=False))


def evaluate(
    model: shared.ModelPath,
    texts: shared.Texts,
    unknown: shared.UnknownWord = "class",
    json_: Annotated[bool, typer.Option("--json", help="Print all sums as JSON.")] = False,
    dynamic: Annotated[
        bool,
        typer.Option(
            "--dynamic", help="A net continues to learn from the text that it has scored."
        ),
    ] = False,
    dynamic_rate: Annotated[float, typer.Option(help="Learning rate of --dynamic.")] = 0.3,
    dynamic_decay: Annotated[
        float, typer.Option(help="Share of the way back to the trained weights at each step.")
    ] = 0.0,
    cache: Annotated[
        int, typer.Option(help="Size of a continuous cache over a net's outputs; 0: none.", min=0)
    ] = 0,
    cache_weight: Annotated[float, typer.Option(help="Share of that cache.")] = 0.1,
    cache_theta: Annotated[
        float, typer.Option(help="How much more the more similar outputs count; 0: all the same.")
    ] = 0.5,
    field: shared.InputField = None,
    tokens: shared.InputTokens = None,
    lower: shared.InputLower = None,
    word_column: tagging.WordColumn = None,
    tag_column: tagging.TagColumn = None,
    separator: tagging.Separator = None,
    comment: tagging.Comment = None,
    tag_names: tagging.TagNames = None,
    encoding: tagging.Encoding = "utf-8",
    confusion: Annotated[
        bool,
        typer.Option("--confusion", help="Of a tagger: a table of what is taken for what."),
    ] = False,
    errors: Annotated[int, typer.Option(help="Of a tagger: list so many errors.", min=0)] = 0,
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
    from unrolled.cli.progress import Stages
    from unrolled.errors import SettingError
    from unrolled.language_models.evaluation import evaluate as measure
    from unrolled.language_models.protocol import LanguageModel
    from unrolled.storage.loading import load, require_kind

    if dynamic and cache:
        raise SettingError("--dynamic and --cache cannot be had together", hint="Name one of them")
    with Stages() as stages:
        opened = load(model)
        if opened.kind == "tagger":
            layout = tagging.column_format(
                word_column, tag_column, separator, comment=comment, names=tag_names
            )
            tagging.evaluate_tagger(
                opened, texts, layout, encoding=encoding, as_json=json_, confused=confusion,
                errors=errors,
            )  # fmt: skip
            return
        given = (word_column, tag_column, separator, comment, tag_names, confusion, errors)
        if any(given) or encoding != "utf-8":
            raise SettingError(
                "--word-column, --tag-column, --separator, --comment, --tag-names, --encoding, "
                "--confusion and --errors are for taggers, and this is a language model"
            )
        measured = require_kind(opened, LanguageModel, "evaluate", where=model)
        if dynamic:
            from unrolled.neural.dynamic import DynamicModel

            measured = DynamicModel(measured, rate=dynamic_rate, decay=dynamic_decay)
        elif cache:
            from unrolled.neural.continuous_cache import ContinuousCacheModel

            measured = ContinuousCacheModel(
                measured, window=cache, weight=cache_weight, theta=cache_theta
            )
        result = measure(
            measured,
            texts,
            options=shared.input_options(measured, tokens, lower, field),
            threads=threads,
            unknown=unknown,
            progress=stages.tokens_done,
        )
    typer.echo(json.dumps(result.as_dict(), allow_nan=False) if json_ else result.line())


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
    unknown: shared.UnknownWord = "class",
    totals: Annotated[
        bool,
        typer.Option(
            "--totals", help="By word: a row with the sum of each sentence, and one of the whole."
        ),
    ] = False,
    field: shared.InputField = None,
    tokens: shared.InputTokens = None,
    lower: shared.InputLower = None,
    threads: shared.Threads = 2,
) -> None:
    """Print the score of each sentence, or the surprisal of each word, beside its text.

    The column `order` of words holds the length of the longest n-gram found, of n-gram models.

    Examples:

        echo "the cat sat" | unrolled score news.safetensors

        unrolled score news.safetensors story.txt --by word --unit bits > surprisal.tsv
    """

    shared.check_choice("--by", by, ("sentence", "word"))
    shared.check_choice("--unit", unit, tuple(_UNITS))
    shared.check_choice("--format", format, ("tsv", "jsonl"))
    opened = _load(model, "score")
    options = shared.input_options(opened, tokens, lower, field)
    given: dict[str, Any] = {"options": options, "threads": threads, "unknown": unknown}
    lines = _lines(texts or "-", options)
    if by == "word":
        rows = _word_rows(opened, lines, unit, totals, given)
    else:
        rows = _sentence_rows(opened, lines, unit, given)
    columns = ["sentence", "word", unit, "oov", "order"] if by == "word" else [unit, "sentence"]
    if format == "tsv":
        print("\t".join(columns))
    for row in rows:
        print(_tsv(row) if format == "tsv" else _json(row, unit))


def _sentence_rows(
    model: LanguageModel, lines: Iterator[str], unit: str, given: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    from unrolled.language_models.scoring import score_sentences

    while batch := list(islice(lines, 10_000)):
        values = score_sentences(model, batch, **given) * _UNITS[unit]
        for line, value in zip(batch, values.tolist(), strict=True):
            yield {unit: value, "sentence": line}


def _word_rows(
    model: LanguageModel, lines: Iterable[str], unit: str, totals: bool, given: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """A row a token; with totals, one after each sentence and one after all."""
    from unrolled.language_models.scoring import surprisals

    scale, every, sentence = _UNITS[unit], [0.0, 0], [0.0, 0]
    for token in surprisals(model, lines, **given):
        number = token.sentence + 1
        skipped = token.oov and given["unknown"] == "skip"
        value = None if skipped else token.log_prob * scale
        row = {"sentence": number, "word": token.word, unit: value}
        yield {**row, "oov": int(token.oov), "order": token.length}
        for total in (every, sentence):
            total[0] += token.log_prob * scale
            total[1] += token.oov
        if totals and token.last:
            yield {"sentence": number, "word": "[sentence]", unit: sentence[0], "oov": sentence[1]}
            sentence = [0.0, 0]
    if totals:
        yield {"sentence": "", "word": "[total]", unit: every[0], "oov": every[1]}


def _tsv(row: dict[str, Any]) -> str:
    cells = (f"{value:.6f}" if type(value) is float else value for value in row.values())
    return "\t".join("" if cell is None else str(cell) for cell in cells)


def _json(row: dict[str, Any], unit: str) -> str:
    """A row as JSON, which knows no infinity."""
    row = {name: value for name, value in row.items() if value is not None}
    if math.isinf(row.get(unit, 0)):
        row |= {unit: None, "infinite": True}
    return json.dumps(row, ensure_ascii=False, allow_nan=False)


def rank(
    model: shared.ModelPath,
    sentences: Annotated[
        list[str] | None,
        typer.Argument(help="Sentences to compare; lines of standard input if none is given."),
    ] = None,
    tokens: shared.InputTokens = None,
    lower: shared.InputLower = None,
) -> None:
    """Order sentences from likeliest to least likely: which word order, which word choice?

    Example:

        unrolled rank news.safetensors "the cat is small" "small the is cat"
    """
    from unrolled.language_models.scoring import rank as order

    opened = _load(model, "rank")
    options = shared.input_options(opened, tokens, lower)
    given = sentences or list(_lines("-", options))
    print("log10\tsentence")
    for log_prob, sentence in order(opened, given, options=options):
        print(f"{log_prob * _UNITS['log10']:.4f}\t{sentence}")


def predict(
    model: shared.ModelPath,
    context: Annotated[
        str,
        typer.Argument(
            help="The words so far, from the sentence's start; - for lines of standard input."
        ),
    ] = "",
    count: Annotated[int, typer.Option("--count", "-n", help="How many words.", min=1)] = 10,
) -> None:
    """Print the likeliest next words with their probabilities.

    Example:

        unrolled predict news.safetensors "in the united"
    """
    from unrolled.language_models.generation import predict as likeliest

    opened = _load(model, "predict")
    contexts = _lines("-", opened.text_options) if context == "-" else [context]
    print("line\tprobability\tword" if context == "-" else "probability\tword")
    for number, words in enumerate(contexts, 1):
        line = f"{number}\t" if context == "-" else ""
        for word, probability in likeliest(opened, words, count):
            print(f"{line}{probability:.6f}\t{word}")


def generate(
    model: shared.ModelPath,
    context: Annotated[str, typer.Option(help="Words that the sentences begin with.")] = "",
    sentences: Annotated[
        int | None,
        typer.Option(
            "--sentences", "--count", "-n", help="How many sentences; by default 1.", min=1
        ),
    ] = None,
    tokens: Annotated[
        str | None,
        typer.Option(help="Or until so many words and line ends: 5000, 20k, 300M."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write; by default standard output."),
    ] = None,
    max_words: Annotated[
        int | None,
        typer.Option(help="Longest sentence; by default 50, and 10000 with --tokens.", min=1),
    ] = None,
    temperature: Annotated[
        float, typer.Option(help="Below 1: likelier words; above 1: more varied ones.")
    ] = 1.0,
    top_k: Annotated[
        int | None, typer.Option(help="Draw only among so many likeliest words.", min=1)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed; the same one gives the same sentences.")
    ] = None,
    threads: shared.Threads = 2,
) -> None:
    """Write sentences drawn from the model, a line each.

    Examples:

        unrolled generate news.safetensors -n 5 --seed 1

        unrolled generate news.safetensors --tokens 300M --seed 1 -o random.txt
    """
    from unrolled.cli.progress import Stages
    from unrolled.language_models.random_text import generate_lines
    from unrolled.storage.atomic import atomic_write, check_target

    if output is not None:
        check_target(str(output))
    opened = _load(model, "generate")
    with Stages() as stages:
        blocks = generate_lines(
            opened, sentences=sentences, tokens=shared.amount(tokens, "--tokens"), context=context,
            max_words=max_words, temperature=temperature, top_k=top_k, seed=seed, threads=threads,
            progress=stages.tokens_done,
        )  # fmt: skip
        if output is None:
            for block in blocks:
                sys.stdout.write(block.decode(errors="replace"))
                sys.stdout.flush()
            return
        with atomic_write(output) as file:
            for block in blocks:
                file.write(block)
