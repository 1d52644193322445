"""``unrolled annotate``: documents with their perplexity, filtered and sorted into buckets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from unrolled.cli import options as shared


def annotate(
    models: Annotated[
        list[str],
        typer.Argument(help="Model files (.safetensors) or ARPA files.", show_default=False),
    ],
    documents: Annotated[
        str,
        typer.Argument(
            help="JSONL (also .gz .bz2 .xz .zst) or Parquet; - for JSONL from standard input.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", help="Where to write; .gz and .zst are compressed; - for a pipe."
        ),
    ] = "-",
    field: shared.InputField = None,
    by: Annotated[
        str,
        typer.Option(help="What the fields describe: document, paragraph (lists), or worst."),
    ] = "document",
    keep: Annotated[
        str | None,
        typer.Option(help="Write only rows for which this holds: 'perplexity < 800 and oov == 0'."),
    ] = None,
    buckets: Annotated[
        str, typer.Option(help="Names for a field `bucket`, lowest perplexity first.")
    ] = "",
    shares: Annotated[
        str, typer.Option(help="Shares of documents below each cut-off; by default even ones.")
    ] = "",
    cutoffs: Annotated[
        str | None,
        typer.Option(help="JSON file of cut-offs, or CCNet's table as cutoff.csv:LANGUAGE."),
    ] = None,
    save_cutoffs: Annotated[
        Path | None, typer.Option(help="Write the cut-offs of the buckets here, as JSON.")
    ] = None,
    names: Annotated[
        str | None,
        typer.Option(
            help="What the fields of each model end with; by default, of several models, its "
            "file's name."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace fields that the rows have already.")
    ] = False,
    rejected: Annotated[
        Path | None,
        typer.Option(
            help="Where broken rows go; by default OUTPUT.rejected.tsv, or .rejected.parquet; with "
            "standard output, standard error."
        ),
    ] = None,
    unknown: shared.UnknownWord = "class",
    tokens: shared.InputTokens = None,
    lower: shared.InputLower = None,
    threads: shared.Threads = 2,
) -> None:
    """Add perplexity, log_prob (natural), tokens and oov to each document; keep all else as it is.

    Each line of a text is a sentence, as for `evaluate`. With several models the fields are
    perplexity_NAME and so on. A row that is not a JSON object with a text is reported, and set
    aside in a file. Killed, the same command goes on from where it was.

    Examples:

        unrolled annotate wiki.safetensors crawl.jsonl.zst -o scored.jsonl.zst

        unrolled annotate wiki.safetensors crawl.jsonl -o good.jsonl --keep "perplexity < 800"

        unrolled annotate wiki.safetensors crawl.parquet -o out.parquet --buckets head,middle,tail
    """
    from unrolled.cli.progress import Stages
    from unrolled.documents.annotation import Annotation
    from unrolled.documents.files import annotate_file
    from unrolled.language_models.protocol import LanguageModel
    from unrolled.storage.loading import load_as
    from unrolled.text.sources import source_bytes

    opened = [load_as(path, LanguageModel, "annotate") for path in models]
    for model in opened:
        shared.input_options(model, tokens, lower)  # notes where a model's own way is unknown
    annotation = Annotation(
        field=field or "text",
        by=by,
        names=None if names is None else tuple(names.split(",")),
        keep=keep,
        buckets=tuple(name.strip() for name in buckets.split(",")) if buckets else (),
        shares=shared.numbers(shares, float, "--shares") or None,
        cutoffs=cutoffs,
        overwrite=overwrite,
        unknown=unknown,
        options=_text_options(tokens, lower),
    )
    target: Any = sys.stdout.buffer if output == "-" else output
    with Stages(source_bytes(documents) or 0) as stages:
        done = annotate_file(
            opened,
            documents,
            target,
            annotation,
            rejected=rejected,
            save_cutoffs=save_cutoffs,
            threads=threads,
            progress=stages.bytes_read,
            report=stages.note,
        )
        if output != "-":
            aside = f", {done.rejected:,} set aside" if done.rejected else ""
            stages.stage(f"{done.rows:,} documents, {done.kept:,} written{aside}")


def _text_options(tokens: str | None, lower: bool | None) -> dict[str, Any]:
    given: dict[str, Any] = {"tokens": tokens, "lower": lower}
    if tokens is not None:
        given["sentencepiece"] = ""
    return {name: value for name, value in given.items() if value is not None}
