"""``unrolled train`` and ``unrolled count``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from unrolled.cli import options as shared
from unrolled.cli.nets import net
from unrolled.cli.taggers import tagger

app = typer.Typer(help="Train a model.", no_args_is_help=True, rich_markup_mode="markdown")

FromCounts = Annotated[
    bool, typer.Option("--from-counts", help="The inputs are count files, not text.")
]
Weights = Annotated[
    str, typer.Option(help="Whole numbers by which each input's counts are multiplied.")
]


@app.callback()
def train() -> None:
    """Train a model."""


app.command()(net)
app.command()(tagger)


@app.command()
def ngram(
    texts: shared.Texts,
    output: shared.Output,
    order: Annotated[int, typer.Option(help="Longest n-gram.", min=1)] = 5,
    smoothing: Annotated[
        str,
        typer.Option(
            help="modified-kneser-ney, kneser-ney, absolute, witten-bell, katz, additive, "
            "maximum-likelihood, or stupid-backoff."
        ),
    ] = "modified-kneser-ney",
    prune: Annotated[
        str,
        typer.Option(help="Cut-offs by order: '0 0 1' drops trigrams and up that come once."),
    ] = "",
    min_count: shared.MinCount = 0,
    vocabulary_size: shared.VocabularySize = None,
    vocabulary: shared.Vocabulary = None,
    vocabulary_pad: Annotated[
        int, typer.Option(help="Count the vocabulary as at least this large.", min=0)
    ] = 0,
    closed: Annotated[
        bool, typer.Option("--closed", help="No probability for words outside the text.")
    ] = False,
    interpolate_unigrams: Annotated[
        bool, typer.Option(help="Mix unigrams with the uniform distribution.")
    ] = True,
    discount_fallback: Annotated[
        str, typer.Option(help="Discounts where the text is too small for the formula.")
    ] = "0.5 1 1.5",
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail instead of using the fallback discounts.")
    ] = False,
    delta: Annotated[float, typer.Option(help="What additive smoothing adds.")] = 1.0,
    quantize: Annotated[
        int | None, typer.Option(help="8: store probabilities in 8 bits.", show_default=False)
    ] = None,
    from_counts: FromCounts = False,
    weights: Weights = "",
    tokens: shared.Tokens = "word",
    lower: shared.Lower = False,
    normalise: shared.Normalise = "none",
    invalid: shared.Invalid = "error",
    specials: shared.Specials = "unknown",
    field: shared.Field = None,
    threads: shared.Threads = 2,
) -> None:
    """Train an n-gram model on text.

    Examples:

        unrolled train ngram news.txt.gz books/ -o news.safetensors

        unrolled train ngram corpus.txt -o small.safetensors --order 4 --prune "0 0 1"

        zcat big.gz | unrolled train ngram - -o big.arpa --vocabulary-size 200000
    """
    from unrolled.cli.models import check_output, save_model
    from unrolled.cli.progress import Stages
    from unrolled.text.corpus import source_bytes

    check_output(output)
    options = shared.text_options(
        tokens=tokens,
        lower=lower,
        normalise=normalise,
        invalid=invalid,
        specials=specials,
        field=field,
    )
    fallback = shared.numbers(discount_fallback, float, "--discount-fallback")
    settings: dict[str, Any] = {
        "order": order,
        "smoothing": smoothing,
        "prune": shared.numbers(prune, int, "--prune"),
        "vocabulary_pad": vocabulary_pad,
        "closed": closed,
        "interpolate_unigrams": interpolate_unigrams,
        "discount_fallback": (fallback + fallback[-1:] * 3)[:3],
        "strict": strict,
        "delta": delta,
    }
    limits: dict[str, Any] = {
        "min_count": min_count,
        "max_size": vocabulary_size,
        "words": shared.read_words(vocabulary),
    }
    multipliers = shared.numbers(weights, int, "--weights")
    with Stages(source_bytes(texts) or 0) as stages:
        from unrolled.ngram.editing.quantization import check_bits
        from unrolled.ngram.editing.quantization import quantize as quantized

        check_bits(quantize)
        if from_counts:
            from unrolled.errors import SettingError
            from unrolled.ngram.training import train_on_counts
            from unrolled.text.vocabulary import Vocabulary

            for name, value in (("--min-count", min_count), ("--vocabulary-size", vocabulary_size)):
                if value:
                    raise SettingError(
                        f"{name} does not go with --from-counts", hint="Give a list: --vocabulary"
                    )
            words = limits["words"]
            model = train_on_counts(
                texts,
                vocabulary=None if words is None else Vocabulary.from_words(dict.fromkeys(words)),
                options=options,
                weights=multipliers or None,
                threads=threads,
                report=stages.stage,
                progress=stages.bytes_read,
                **settings,
            )
        else:
            from unrolled.ngram.training import train_ngram

            model = train_ngram(
                texts,
                weights=multipliers or None,
                options=options,
                threads=threads,
                report=stages.stage,
                progress=stages.bytes_read,
                **limits,
                **settings,
            )
        if quantize:
            stages.stage("quantizing")
            model = quantized(model, threads=threads)
        stages.stage(f"writing {output}")
        save_model(model, output)
        stages.stage("done")


def count(
    texts: shared.Texts,
    output: shared.Output,
    order: Annotated[
        int | None,
        typer.Option(
            help="Longest n-gram; that of the files with --from-counts.", min=1, show_default="5"
        ),
    ] = None,
    from_counts: FromCounts = False,
    weights: Weights = "",
    tokens: shared.Tokens = "word",
    lower: shared.Lower = False,
    normalise: shared.Normalise = "none",
    invalid: shared.Invalid = "error",
    specials: shared.Specials = "unknown",
    field: shared.Field = None,
    threads: shared.Threads = 2,
) -> None:
    """Count n-grams and write them as lines of words, a tab and the count; or merge such files.

    Examples:

        unrolled count corpus.txt -o counts.gz --order 3

        unrolled count monday.gz tuesday.gz --from-counts -o both.gz
    """
    from unrolled.cli.progress import Stages
    from unrolled.errors import SettingError
    from unrolled.text.corpus import read_corpus, source_bytes

    _check_count_target(output)
    options = shared.text_options(
        tokens=tokens,
        lower=lower,
        normalise=normalise,
        invalid=invalid,
        specials=specials,
        field=field,
    )
    factors = shared.numbers(weights, int, "--weights") or None
    if factors and not from_counts:
        raise SettingError("--weights goes with --from-counts")
    with Stages(source_bytes(texts) or 0) as stages:
        from unrolled.ngram.counts.count_files import read_counts, write_counts
        from unrolled.ngram.counts.counting import count_ngrams

        if from_counts:
            counts, vocabulary = read_counts(
                texts, order=order, weights=factors, threads=threads, report=stages.stage,
                progress=stages.bytes_read,
            )  # fmt: skip
        else:
            stages.stage("reading text")
            corpus = read_corpus(
                texts, options=options, threads=threads, progress=stages.bytes_read
            )
            vocabulary = corpus.vocabulary
            counts = count_ngrams(
                corpus.take_ids(), order or 5, len(vocabulary), threads=threads, report=stages.stage
            )
        stages.stage(f"writing {output}")
        write_counts(counts, vocabulary, output)


def _check_count_target(output: Path) -> None:
    from unrolled.storage.atomic import check_target

    check_target(str(output))
