"""``unrolled evaluate``, ``score``, ``rank``, ``predict`` and ``generate``."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unrolled.cli import options as shared
from unrolled.cli import tagging
from unrolled.cli.outputs import check_output, named_file

if TYPE_CHECKING:
    from unrolled.documents.scores import DocumentScorer
    from unrolled.language_models.protocol import LanguageModel
    from unrolled.text.options import TextOptions

_RowFormat = Annotated[str, typer.Option(help="tsv or jsonl.")]
_UNITS = {"log10": 1 / math.log(10), "nats": 1.0, "bits": -1 / math.log(2)}


def _load(path: str, purpose: str) -> LanguageModel:
    from unrolled.language_models.protocol import LanguageModel
    from unrolled.storage.loading import load_as

    return load_as(path, LanguageModel, purpose)


def _batches(
    sources: str | list[str], options: TextOptions, size: int = 10_000
) -> Iterator[list[str]]:
    """Lines as they stand, read like the model's input but not yet split into tokens.

    A batch of a pipe has the lines that have come, so that each can be answered at once.
    """
    from unrolled.text.tokens import line_batches

    return line_batches(sources, replace(options, tokens="word", lower=False), size)


def _print_batches(batches: Iterable[Iterable[str]], header: Sequence[str] = ()) -> None:
    """Print a header, at once for a program that waits for it, and the lines of each batch."""
    for lines in chain([["\t".join(header)]] if header else [], batches):
        for line in lines:
            print(line)
        sys.stdout.flush()


def evaluate(
    model: shared.ModelPath,
    texts: shared.Texts,
    by: Annotated[
        str, typer.Option(help="text: one perplexity; line: one for each line, by itself.")
    ] = "text",
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
    invalid: shared.Invalid = None,
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

    Literal <s> and </s> are refused, or what the model was trained with (`--set specials`); by line
    they are never refused. Of a tagger, print how well it finds the spans of a column file, as
    conlleval does.

    Examples:

        unrolled evaluate news.safetensors test.txt

        unrolled evaluate news.safetensors - --by line

        unrolled evaluate lstm.safetensors test.txt --dynamic

        unrolled evaluate lstm.safetensors test.txt --cache 500

        unrolled evaluate names.safetensors test.conll
    """
    from unrolled.cli.progress import Stages
    from unrolled.documents.scores import FIELDS
    from unrolled.errors import SettingError
    from unrolled.language_models.evaluation import evaluate as measure
    from unrolled.language_models.protocol import LanguageModel
    from unrolled.storage.loading import load, require_kind

    shared.check_choice("--by", by, ("text", "line"))
    shared.check_unused(
        {} if dynamic else
        {"--dynamic-rate": dynamic_rate != 0.3, "--dynamic-decay": dynamic_decay},
        "with --dynamic",
    )  # fmt: skip
    shared.check_unused(
        {} if cache else
        {"--cache-weight": cache_weight != 0.1, "--cache-theta": cache_theta != 0.5},
        "with --cache",
    )  # fmt: skip
    if dynamic and cache:
        raise SettingError("--dynamic and --cache cannot be had together", hint="Name one of them")
    if by == "line" and (dynamic or cache):
        raise SettingError("--by line scores each line by itself, without --dynamic and --cache")
    with Stages() as stages:
        opened = load(model)
        of_models = {
            "--by": by != "text", "--unknown": unknown != "class", "--dynamic": dynamic,
            "--cache": cache, "--field": field, "--tokens": tokens, "--lower": lower is not None,
            "--invalid": invalid,
        }  # fmt: skip
        if opened.is_tagger:
            shared.check_unused(of_models, "with language models, and this is a tagger")
            layout = tagging.column_format(
                word_column, tag_column, separator, comment=comment, names=tag_names
            )
            tagging.evaluate_tagger(
                opened, texts, layout, encoding=encoding, as_json=json_, confused=confusion,
                errors=errors,
            )  # fmt: skip
            return
        of_taggers = {
            "--word-column": word_column, "--tag-column": tag_column, "--separator": separator,
            "--comment": comment, "--tag-names": tag_names, "--encoding": encoding != "utf-8",
            "--confusion": confusion, "--errors": errors,
        }  # fmt: skip
        shared.check_unused(of_taggers, "with taggers, and this is a language model")
        measured = require_kind(opened, LanguageModel, "evaluate", where=model)
        if by == "line":
            options = shared.input_options(measured, tokens, lower, field, invalid)
            scorer = _line_scorer(measured, options, unknown)
            header = () if json_ else (*FIELDS, "sentence")
            _print_batches(_line_rows(scorer, texts, options, json_), header)
            return
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
            options=shared.input_options(measured, tokens, lower, field, invalid),
            threads=threads,
            unknown=unknown,
            progress=stages.tokens_done,
        )
    typer.echo(json.dumps(result.as_dict(), allow_nan=False) if json_ else result.line())


def _line_scorer(model: LanguageModel, options: TextOptions, unknown: str) -> DocumentScorer:
    from unrolled.documents.scores import DocumentScorer

    changed = {"tokens": options.tokens, "lower": options.lower}
    return DocumentScorer(
        {"": model}, options={**changed, "sentencepiece": options.sentencepiece}, unknown=unknown
    )


def _line_rows(
    scorer: DocumentScorer, texts: list[str], options: TextOptions, as_json: bool
) -> Iterator[Iterable[str]]:
    """Perplexity, log-probability, tokens and OOVs of each line, and the line."""
    import numpy as np

    from unrolled.documents.scores import FIELDS

    for batch in _batches(texts, options):
        data = "".join(f"{line}\n" for line in batch).encode(errors="replace")
        found = scorer.score(data, np.ones(len(batch), np.int64)).values.T.tolist()
        rows = (
            {**dict(zip(FIELDS, (a, b, int(c), int(d)), strict=True)), "sentence": line}
            for line, (a, b, c, d) in zip(batch, found, strict=True)
        )
        yield (_json(row) if as_json else _tsv(row) for row in rows)


def score(
    model: shared.ModelPath,
    texts: Annotated[
        list[str] | None, typer.Argument(help="Text files; standard input if none is given.")
    ] = None,
    by: Annotated[str, typer.Option(help="sentence or word.")] = "sentence",
    unit: Annotated[
        str, typer.Option(help="log10, nats (both logarithms of p) or bits (surprisal, -log2 p).")
    ] = "log10",
    format: Annotated[
        str,
        typer.Option(
            help="tsv, jsonl, or srilm: what `ngram -ppl -debug 2` prints (-debug 1 by sentence)."
        ),
    ] = "tsv",
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
    invalid: shared.Invalid = None,
    threads: shared.Threads = 2,
) -> None:
    """Print the score of each sentence, or the surprisal of each word, beside its text.

    Literal <s> and </s> in a sentence are those marks, as for KenLM's query. The column `order` of
    words holds the length of the longest n-gram found, of n-gram models.

    Examples:

        echo "the cat sat" | unrolled score news.safetensors

        unrolled score news.safetensors story.txt --by word --unit bits > surprisal.tsv

        unrolled score news.arpa story.txt --by word --format srilm
    """

    shared.check_choice("--by", by, ("sentence", "word"))
    shared.check_choice("--unit", unit, tuple(_UNITS))
    shared.check_choice("--format", format, ("tsv", "jsonl", "srilm"))
    if format == "srilm":
        unused = {"--unit": unit != "log10", "--totals": totals}
        shared.check_unused(unused, "with --format tsv and jsonl")
    elif by == "sentence":
        shared.check_unused({"--totals": totals}, "with --by word")
    opened = _load(model, "score")
    options = shared.input_options(opened, tokens, lower, field, invalid)
    given: dict[str, Any] = {"options": options, "threads": threads, "unknown": unknown}
    if format == "srilm":
        from unrolled.language_models.srilm_report import srilm_report

        for name in texts or ["-"]:
            batches = _batches(name, options, 1000)
            _print_batches(srilm_report(opened, batches, name, words=by == "word", **given))
        return
    if by == "word":
        batches = _batches(texts or "-", options, 1000)
        rows = _word_rows(opened, batches, unit, totals, given)
        columns = ["sentence", "word", unit, "oov", "order"]
    else:
        rows = _sentence_rows(opened, _batches(texts or "-", options), unit, given)
        columns = [unit, "sentence"]
    shown = ((_tsv(row) if format == "tsv" else _json(row) for row in some) for some in rows)
    _print_batches(shown, columns if format == "tsv" else ())


def _sentence_rows(
    model: LanguageModel, batches: Iterable[list[str]], unit: str, given: dict[str, Any]
) -> Iterator[list[dict[str, Any]]]:
    from unrolled.language_models.scoring import score_sentences

    for batch in batches:
        values = score_sentences(model, batch, **given) * _UNITS[unit]
        pairs = zip(batch, values.tolist(), strict=True)
        yield [{unit: value, "sentence": line} for line, value in pairs]


def _word_rows(
    model: LanguageModel,
    batches: Iterable[list[str]],
    unit: str,
    totals: bool,
    given: dict[str, Any],
) -> Iterator[Iterable[dict[str, Any]]]:
    """Rows of each batch, a row a token; with totals, one after each sentence and one after all."""
    from unrolled.language_models.scoring import surprisals

    scale, every, before = _UNITS[unit], [0.0, 0], 0

    def rows(batch: list[str]) -> Iterator[dict[str, Any]]:
        sentence = [0.0, 0]
        for token in surprisals(model, batch, **given):
            number = before + token.sentence + 1
            skipped = token.oov and given["unknown"] == "skip"
            value = None if skipped else token.log_prob * scale
            row = {"sentence": number, "word": token.word, unit: value}
            yield {**row, "oov": int(token.oov), "order": token.length}
            for total in (every, sentence):
                total[0] += token.log_prob * scale
                total[1] += token.oov
            if totals and token.last:
                words = {"sentence": number, "word": "[sentence]"}
                yield {**words, unit: sentence[0], "oov": sentence[1]}
                sentence = [0.0, 0]

    for batch in batches:
        yield rows(batch)
        before += len(batch)
    if totals:
        yield [{"sentence": "", "word": "[total]", unit: every[0], "oov": every[1]}]


def _tsv(row: dict[str, Any]) -> str:
    cells = (f"{value:.6f}" if type(value) is float else value for value in row.values())
    return "\t".join("" if cell is None else str(cell) for cell in cells)


def _print_table(
    format: str, names: Sequence[str], batches: Iterable[Iterable[Sequence[Any]]]
) -> None:
    """Print rows as JSON objects, or as a table whose first line has the names."""

    def shown(row: Sequence[Any]) -> str:
        named = dict(zip(names, row, strict=True))
        return _tsv(named) if format == "tsv" else _json(named)

    _print_batches((map(shown, rows) for rows in batches), names if format == "tsv" else ())


def _json(row: dict[str, Any]) -> str:
    """A row as JSON; fields that have no value are left out."""
    from unrolled.text.tables import json_row

    return json_row({name: value for name, value in row.items() if value is not None})


def rank(
    model: shared.ModelPath,
    sentences: Annotated[
        list[str] | None,
        typer.Argument(
            help="Sentences to compare; lines of standard input if none, or -, is given."
        ),
    ] = None,
    unknown: shared.UnknownWord = "class",
    format: _RowFormat = "tsv",
    field: shared.InputField = None,
    tokens: shared.InputTokens = None,
    lower: shared.InputLower = None,
    invalid: shared.Invalid = None,
) -> None:
    """Order sentences from likeliest to least likely: which word order, which word choice?

    Example:

        unrolled rank news.safetensors "the cat is small" "small the is cat"
    """
    from unrolled.language_models.scoring import rank as order

    shared.check_choice("--format", format, ("tsv", "jsonl"))
    given = sentences if sentences != ["-"] else None
    if given:
        shared.check_unused({"--field": field}, "with the lines of standard input")
    opened = _load(model, "rank")
    options = shared.input_options(opened, tokens, lower, field, invalid)
    given = given or list(chain.from_iterable(_batches("-", options)))
    ranked = order(opened, given, options=options, unknown=unknown)
    rows = [(log_prob * _UNITS["log10"], sentence) for log_prob, sentence in ranked]
    _print_table(format, ("log10", "sentence"), [rows])


def predict(
    model: shared.ModelPath,
    context: Annotated[
        str,
        typer.Argument(
            help="The words so far, from the sentence's start; - for lines of standard input."
        ),
    ] = "",
    count: Annotated[int, typer.Option("--count", "-n", help="How many words.", min=1)] = 10,
    format: _RowFormat = "tsv",
) -> None:
    """Print the likeliest next words with their probabilities.

    Example:

        unrolled predict news.safetensors "in the united"
    """
    from unrolled.language_models.generation import predict as likeliest

    shared.check_choice("--format", format, ("tsv", "jsonl"))
    opened = _load(model, "predict")
    if context != "-":
        found = [(share, word) for word, share in likeliest(opened, context, count)]
        _print_table(format, ("probability", "word"), [found])
        return
    contexts = chain.from_iterable(_batches("-", opened.text_options))
    rows = (
        [(number, share, word) for word, share in likeliest(opened, words, count)]
        for number, words in enumerate(contexts, 1)
    )
    _print_table(format, ("line", "probability", "word"), rows)


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
    from unrolled.storage.atomic import atomic_write

    output = named_file(output)
    if output is not None:
        check_output(output, model)
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
