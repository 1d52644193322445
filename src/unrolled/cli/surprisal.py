"""``unrolled surprisal``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from unrolled.cli import options as shared
from unrolled.cli.outputs import check_output
from unrolled.cli.settings_options import with_settings
from unrolled.language_models.stimulus_options import StimulusOptions
from unrolled.settings import settings_of

_FORMATS = ("csv", "tsv", "jsonl", "parquet")


@with_settings(None, (StimulusOptions,), settings_of(StimulusOptions))
def surprisal(
    models: Annotated[
        list[str], typer.Argument(help="Model files, one or several.", show_default=False)
    ],
    table: Annotated[
        str,
        typer.Argument(
            help="Texts: CSV, TSV, JSON lines, Parquet or plain text; - for standard input.",
            show_default=False,
        ),
    ],
    settings: dict[str, Any],
    output: Annotated[
        str, typer.Option("--output", "-o", help="The table to write; - for standard output.")
    ] = "-",
    format: Annotated[
        str | None,
        typer.Option(
            help="csv, tsv, jsonl or parquet. [default: by the output's suffix, else csv]",
            show_default=False,
        ),
    ] = None,
    eos: Annotated[
        bool, typer.Option("--eos", help="A row for the end of each sentence, </s>, too.")
    ] = False,
    entropy: Annotated[
        bool, typer.Option(help="Columns of entropies; without them work is quicker.")
    ] = True,
    unknown: shared.UnknownWord = "class",
    frequencies: Annotated[
        str | None,
        typer.Option(
            metavar="<file>",
            help="Words and counts, as unrolled count --order 1 writes them, for the column "
            "log_frequency. [default: the unigrams of n-gram models]",
            show_default=False,
        ),
    ] = None,
    tokens: shared.InputTokens = None,
    lower: shared.InputLower = None,
    threads: shared.Threads = 2,
) -> None:
    """Write a table of surprisals, a row a word, from a table of texts.

    Columns are those of the input, then row (number of the text), position (of the word in its
    sentence), word, length (in characters), and of each model surprisal (bits, summed over the
    tokens of the word), entropy (bits, before the word), next_entropy (after it), oov, and
    log_frequency (log10 in a million words); with several models each name ends in _MODEL.

    Examples:

        unrolled surprisal news.safetensors stimuli.csv -o table.csv

        unrolled surprisal ngram.safetensors lstm.safetensors items.tsv --field question

        unrolled surprisal lstm.safetensors regions.csv --group-by item,condition --by region
    """
    from unrolled.cli.progress import Stages
    from unrolled.errors import TextError
    from unrolled.language_models.protocol import LanguageModel
    from unrolled.language_models.surprisal_table import surprisal_table
    from unrolled.storage.loading import load_as
    from unrolled.text.tables import write_table

    chosen = format or _format_of(output)
    shared.check_choice("--format", chosen, _FORMATS)
    if output != "-":
        check_output(Path(output), models, table, frequencies)
    opened = [load_as(path, LanguageModel, "surprisal") for path in models]
    options = [shared.input_options(model, tokens, lower) for model in opened]
    with Stages() as stages:
        found = surprisal_table(
            opened, table, options=options, unknown=unknown, eos=eos, entropy=entropy,
            frequencies=frequencies, threads=threads, progress=stages.tokens_done, **settings,
        )  # fmt: skip
        if not found.columns:
            raise TextError("the table has no words", where=table)
        with _opened(output) as file:
            write_table(
                file, found.columns, found, format=chosen,
                decimals=dict.fromkeys(found.columns, 6),
            )  # fmt: skip


def _format_of(output: str) -> str:
    """The format of a file to write by its name; CSV to standard output.

    Raises:
        SettingError: the name tells none.
    """
    from unrolled.errors import SettingError
    from unrolled.text.tables import format_of

    if output == "-" or Path(output).is_char_device():
        return "csv"
    found = format_of(output)
    if found is None:
        raise SettingError(
            "the name does not tell the format of the table",
            where=output,
            hint="End it in .csv, .tsv, .jsonl or .parquet, or name one with --format",
        )
    return found


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    """The file to write, or standard output."""
    from unrolled.storage.atomic import atomic_write

    if path == "-":
        sys.stdout.flush()
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    else:
        with atomic_write(path) as file:
            yield file
