"""``unrolled train`` and ``unrolled count``."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from unrolled.cli import options as shared
from unrolled.cli.outputs import check_model_output, check_output
from unrolled.cli.settings_options import with_settings
from unrolled.errors import MissingExtraError, SettingError
from unrolled.ngram.estimation.config import NgramConfig
from unrolled.settings import check_settings, divide, record_of, setting, settings_of
from unrolled.storage.atomic import STANDARD_OUTPUT
from unrolled.text.options import TextOptions, VocabularyLimits

app = typer.Typer(help="Train a model.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def train() -> None:
    """Train a model."""


@dataclass(frozen=True)
class NgramRun:
    """Where the counts come from, and how the model is stored."""

    from_counts: bool = setting(False, "The inputs are count files, not text.", group="Counts")
    weights: tuple[int, ...] = setting(
        (), "Whole numbers by which each input's counts are multiplied: '2 1'.", minimum=1
    )
    quantize: int | None = setting(
        None, "Store probabilities in 8 bits.", allowed="8", check=lambda bits: bits == 8
    )

    def __post_init__(self) -> None:
        check_settings(self)


KINDS = (NgramConfig, VocabularyLimits, TextOptions, NgramRun)


@with_settings(
    "ngram",
    KINDS,
    (
        "order", "smoothing", "prune", "min_count", "vocabulary_size", "vocabulary", "tokens",
        "lower", "normalise", "field", "from_counts", "quantize",
    ),
)  # fmt: skip
def ngram(
    texts: shared.Texts,
    output: shared.Output,
    settings: dict[str, Any],
    memory: shared.Memory = None,
    temporary: shared.Temporary = None,
    resume: shared.ResumePhases = False,
    spark: Annotated[
        str,
        typer.Option(
            help="Master of a Spark cluster that trains: spark://HOST:7077, local[2].",
            show_default=False,
        ),
    ] = "",
    shards: Annotated[
        bool,
        typer.Option(
            "--shards", help="Write a folder of files instead of one, which opens as one model."
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only print what memory, disk and time the text will take."),
    ] = False,
    threads: shared.Threads = 2,
) -> None:
    """Train an n-gram model on text.

    Examples:

        unrolled train ngram news.txt.gz books/ -o news.safetensors

        unrolled train ngram corpus.txt -o small.safetensors --order 4 --prune "0 0 1"

        zcat big.gz | unrolled train ngram - -o big.arpa --vocabulary-size 200000

        unrolled train ngram crawl/ -o crawl.safetensors --memory 4G --temporary /scratch

        unrolled train ngram crawl/ -o crawl.safetensors --dry-run

        unrolled train ngram crawl/ -o crawl.safetensors --spark spark://head:7077
    """
    from unrolled.cli.progress import Stages
    from unrolled.storage.file_kinds import is_arpa_name
    from unrolled.storage.shards import check_folder, write_shards
    from unrolled.text.sources import source_bytes

    if shards:
        check_folder(output)
    chosen, of_vocabulary, of_text, of_run = divide(settings, *KINDS)
    NgramConfig(**chosen)  # refuses wrong settings before hours of reading
    options, limits = TextOptions(**of_text), VocabularyLimits(**of_vocabulary)
    run = NgramRun(**of_run)
    if not shards:
        check_model_output(output, texts, limits.vocabulary, options.sentencepiece_file, arpa=True)
    for name in ("min_count", "vocabulary_size"):
        if run.from_counts and of_vocabulary.get(name):
            raise SettingError(
                f"--{name.replace('_', '-')} does not go with --from-counts",
                hint="Give a list: --vocabulary",
            )
    words = shared.read_words(limits.vocabulary)
    with contextlib.ExitStack() as stack:
        stages = stack.enter_context(Stages(0 if spark else source_bytes(texts) or 0))
        chosen |= {
            "weights": run.weights or None, "threads": threads, "report": stages.stage,
            "progress": stages.bytes_read,
        }  # fmt: skip
        if dry_run or spark:
            taken = {
                **chosen, "options": options, "min_count": limits.min_count,
                "max_size": limits.vocabulary_size, "words": words,
            }  # fmt: skip
            if dry_run:
                _plan(texts, output, {**taken, "memory": memory}, run, bool(spark))
            else:
                taken["shards"] = shards
                _train_on_spark(spark, texts, output, taken, (run, memory, temporary, resume))
            return
        from unrolled.scale.training import ngram_training

        within: dict[str, Any] = {
            "memory": memory, "temporary": temporary, "resume": resume, "options": options,
            "quantize": run.quantize,
        }  # fmt: skip
        if run.from_counts:
            from unrolled.scale.counts_training import counts_training
            from unrolled.text.vocabulary import Vocabulary

            given = None if words is None else Vocabulary.from_words(dict.fromkeys(words))
            training = counts_training(texts, output, vocabulary=given, **within, **chosen)
        else:
            training = ngram_training(
                texts, output, min_count=limits.min_count, max_size=limits.vocabulary_size,
                words=words, **within, **chosen,
            )  # fmt: skip
        trained = stack.enter_context(training)
        model = trained.model
        model.provenance["settings"] |= {"vocabulary": limits.vocabulary, **record_of(run)}
        stages.stage(f"writing {output}")
        if shards:
            write_shards(output, **model.contents())
        elif is_arpa_name(output):
            trained.write_arpa(output)
        else:
            model.save(output)
        stages.stage("done")


def _plan(
    texts: list[str], output: Path, taken: dict[str, Any], run: NgramRun, cluster: bool
) -> None:
    """Print what a training will take."""
    from unrolled.storage.file_kinds import arpa_ending

    del taken["progress"]
    taken |= {"quantize": run.quantize, "ending": arpa_ending(output) or ".safetensors"}
    if run.from_counts:
        from unrolled.scale.counts_planning import plan_counts
        from unrolled.text.vocabulary import Vocabulary

        words = taken.pop("words")
        given = None if words is None else Vocabulary.from_words(dict.fromkeys(words))
        for name in ("options", "min_count", "max_size"):
            del taken[name]
        plan = plan_counts(texts, vocabulary=given, **taken)
    else:
        from unrolled.scale.planning import plan_ngram

        plan = plan_ngram(texts, cluster=cluster, **taken)
    for line in plan.lines():
        print(line)


def _train_on_spark(
    master: str,
    texts: list[str],
    output: Path,
    taken: dict[str, Any],
    others: tuple[NgramRun, str | None, Path | None, bool],
) -> None:
    """Train on a cluster, which is left again at the end."""
    from unrolled.scale.spark import spark_session, train_ngram_files

    run, memory, temporary, resume = others
    from unrolled.storage.file_kinds import is_arpa_name

    if run.from_counts or memory or resume or is_arpa_name(output):
        raise SettingError(
            "--spark writes a .safetensors file from text, and does not go with --from-counts, "
            "--memory and --resume",
            hint="Convert the model afterwards: unrolled convert",
        )
    del taken["threads"], taken["progress"]
    with spark_session(master) as session:
        train_ngram_files(
            session, texts, output, temporary=temporary, quantize=run.quantize, **taken
        )


@with_settings(None, KINDS, (*settings_of(TextOptions), "from_counts", "weights"))
def count(
    texts: shared.Texts,
    output: shared.Output,
    settings: dict[str, Any],
    order: Annotated[
        int | None,
        typer.Option(
            help="Longest n-gram; by default 5, and with --from-counts that of the files.", min=1
        ),
    ] = None,
    memory: shared.Memory = None,
    temporary: shared.Temporary = None,
    resume: shared.ResumePhases = False,
    threads: shared.Threads = 2,
) -> None:
    """Count n-grams and write them as lines of words, a tab and the count; or merge such files.

    Examples:

        unrolled count corpus.txt -o counts.gz --order 3

        unrolled count monday.gz tuesday.gz --from-counts -o both.gz

        unrolled count corpus.txt --order 1 -o - | sort -k 2nr | head
    """
    from unrolled.cli.progress import Stages
    from unrolled.text.sources import source_bytes

    if str(output) == "-":
        output = Path(STANDARD_OUTPUT)
    *_, of_text, of_run = divide(settings, *KINDS)
    options, run = TextOptions(**of_text), NgramRun(**of_run)
    # Counts may be added to in their place.
    check_output(output, () if run.from_counts else texts, options.sentencepiece_file)
    if run.weights and not run.from_counts:
        raise SettingError("--weights goes with --from-counts")
    with Stages(source_bytes(texts) or 0) as stages:
        if run.from_counts:
            from unrolled.scale.counts_training import merge_counts_into_file

            merge_counts_into_file(
                texts, output, order=order, memory=memory, temporary=temporary, resume=resume,
                weights=run.weights or None, threads=threads, report=stages.stage,
                progress=stages.bytes_read,
            )  # fmt: skip
        else:
            from unrolled.scale.counting import count_into_file

            count_into_file(
                texts, output, order=order or 5, memory=memory, temporary=temporary,
                resume=resume, options=options, threads=threads, report=stages.stage,
                progress=stages.bytes_read,
            )  # fmt: skip


def _register() -> None:
    """Add the commands of nets and taggers, or without torch commands that name the extra."""
    app.command(help=shared.help_of(ngram))(ngram)
    try:
        from unrolled.cli.nets import net
        from unrolled.cli.taggers import tagger
    except MissingExtraError as error:
        missing = error

        def install_extra(words: Annotated[list[str] | None, typer.Argument()] = None) -> None:
            raise missing

        for name in ("net", "tagger"):
            about = f"Train a {name}: {missing}"
            # With no help of its own, --help is a word like others: each of them names the extra.
            app.command(
                name, help=about, add_help_option=False,
                context_settings={"ignore_unknown_options": True, "help_option_names": []},
            )(install_extra)  # fmt: skip
    else:
        app.command(help=shared.help_of(net))(net)
        app.command(help=shared.help_of(tagger))(tagger)


_register()
