"""``unrolled info``, ``convert``, ``prune``, ``filter`` and ``mix``: models in, models out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unrolled.cli import options as shared

if TYPE_CHECKING:
    from unrolled.ngram.model import NgramModel

_ARPA_ENDINGS = (".arpa", ".arpa.gz", ".lm", ".lm.gz")
Source = Annotated[str, typer.Argument(help="The model to read.", show_default=False)]
Target = Annotated[
    Path,
    typer.Argument(
        help="The model to write: ARPA where the name ends in .arpa or .arpa.gz, else safetensors.",
        show_default=False,
    ),
]


def save_model(model: NgramModel, path: Path) -> None:
    """Write a model in the format that the file's name asks for."""
    if path.name.endswith(_ARPA_ENDINGS):
        from unrolled.ngram.arpa import write_arpa

        write_arpa(model, path)
    else:
        model.save(path)


def check_output(path: Path) -> None:
    """Fail before the work rather than after it."""
    from unrolled.atomic import check_target

    check_target(str(path))


def info(
    model: shared.ModelPath,
    words: Annotated[bool, typer.Option("--words", help="List the vocabulary: id, word.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read all of the file and compare checksums.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Describe a model: settings, sizes, where it comes from.

    Example:

        unrolled info news.safetensors --verify
    """
    from unrolled.storage import load

    opened = load(model, verify=verify)
    if words:
        for number, word in enumerate(opened.vocabulary):
            print(f"{number}\t{word}")
        return
    facts = describe(opened)
    if verify:
        facts["verified"] = True
    if json_:
        print(json.dumps(facts, ensure_ascii=False))
        return
    for name, value in facts.items():
        shown = json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value
        print(f"{name:12} {shown}")


def describe(model: NgramModel) -> dict[str, Any]:
    """What `unrolled info` prints."""
    import numpy as np

    path = Path(model.path) if model.path else None
    return {
        "name": model.name,
        "order": model.order,
        "vocabulary": len(model.vocabulary),
        "n-grams": [int(size) for size in np.diff(model.trie.levels)],
        "parameters": model.parameters,
        "bytes": path.stat().st_size if path else None,
        "quantised": model.trie.quantised,
        "settings": model.config,
        "provenance": model.provenance,
    }


def convert(
    source: Source,
    target: Target,
    quantize: Annotated[
        int | None, typer.Option(help="8: store probabilities in 8 bits.", show_default=False)
    ] = None,
    threads: shared.Threads = 2,
) -> None:
    """Convert a model: ARPA to binary, binary to ARPA, plain to quantised.

    Examples:

        unrolled convert lm.arpa.gz lm.safetensors

        unrolled convert lm.safetensors small.safetensors --quantize 8
    """
    from unrolled.cli.progress import Stages, compiling_announced
    from unrolled.storage import load

    check_output(target)
    with compiling_announced(), Stages() as stages:
        from unrolled.ngram.quantisation import check_bits, quantise

        check_bits(quantize)
        stages.stage(f"reading {source}")
        model = load(source)
        if quantize:
            stages.stage("quantising")
            model = quantise(model, threads=threads)
        stages.stage(f"writing {target}")
        save_model(model, target)


def prune(
    source: Source,
    target: Target,
    threshold: Annotated[
        float | None,
        typer.Option(help="Drop n-grams that raise the perplexity by less than this share."),
    ] = None,
    ngrams: Annotated[int | None, typer.Option(help="Keep about so many n-grams.", min=1)] = None,
    megabytes: Annotated[float | None, typer.Option(help="Make the file about this large.")] = None,
    threads: shared.Threads = 2,
) -> None:
    """Shrink a model by entropy pruning (Stolcke 1998); ARPA models too.

    Examples:

        unrolled prune big.safetensors small.safetensors --threshold 1e-8

        unrolled prune big.arpa small.arpa --ngrams 1000000
    """
    from unrolled.cli.progress import Stages, compiling_announced
    from unrolled.errors import SettingError
    from unrolled.storage import load

    given = [value for value in (threshold, ngrams, megabytes) if value is not None]
    if len(given) != 1:
        raise SettingError("give one of --threshold, --ngrams and --megabytes")
    check_output(target)
    with compiling_announced(), Stages() as stages:
        from unrolled.ngram.pruning import entropy_prune, prune_to_size

        stages.stage(f"reading {source}")
        model = load(source)
        stages.stage("pruning")
        if threshold is not None:
            model = entropy_prune(model, threshold, threads=threads, report=stages.stage)
        else:
            model = prune_to_size(
                model, ngrams=ngrams, megabytes=megabytes, threads=threads, report=stages.stage
            )
        stages.stage(f"writing {target}")
        save_model(model, target)


def filter_words(
    source: Source,
    target: Target,
    words: Annotated[Path, typer.Option(help="The words to keep, one a line.", show_default=False)],
    removed: Annotated[
        str,
        typer.Option(
            help="The removed words' probability goes to <unk> (unknown) or to the words left "
            "(renormalise)."
        ),
    ] = "unknown",
) -> None:
    """Keep only n-grams whose words are all in a list.

    Example:

        unrolled filter lm.safetensors medical.safetensors --words terms.txt
    """
    from unrolled.cli.progress import Stages, compiling_announced
    from unrolled.storage import load

    check_output(target)
    with compiling_announced(), Stages() as stages:
        from unrolled.ngram.pruning import filter_vocabulary

        stages.stage(f"reading {source}")
        model = load(source)
        stages.stage("filtering")
        model = filter_vocabulary(
            model, shared.read_words(words) or [], removed=removed, report=stages.stage
        )
        stages.stage(f"writing {target}")
        save_model(model, target)


def mix(
    sources: Annotated[list[str], typer.Argument(help="Two models or more.", show_default=False)],
    output: shared.Output,
    tune: Annotated[
        str | None,
        typer.Option(help="Held-out text whose perplexity the weights minimise (EM)."),
    ] = None,
    weights: Annotated[
        str, typer.Option(help="Weights instead, such as '0.7 0.3'; equal by default.")
    ] = "",
    threads: shared.Threads = 2,
) -> None:
    """Mix n-gram models linearly into one, with weights tuned on held-out text.

    Example:

        unrolled mix news.safetensors books.arpa -o both.safetensors --tune dev.txt
    """
    from unrolled.cli.progress import Stages, compiling_announced
    from unrolled.errors import SettingError
    from unrolled.storage import load

    if tune and weights:
        raise SettingError("give --tune or --weights, not both")
    check_output(output)
    with compiling_announced(), Stages() as stages:
        from unrolled.ngram.mixing import mix as combine
        from unrolled.ngram.mixing import tune_weights

        opened = [load(source) for source in sources]
        given = shared.numbers(weights, float, "--weights") or (1 / len(opened),) * len(opened)
        if tune:
            stages.stage("tuning weights")
            tuned = tune_weights(opened, tune, threads=threads)
            given = tuple(tuned.weights)
        stages.stage("mixing")
        model = combine(opened, given, threads=threads, report=stages.stage)
        stages.stage(f"writing {output}")
        save_model(model, output)
    print("weight\tmodel")
    for source, weight in zip(sources, given, strict=True):
        print(f"{weight:.4f}\t{source}")
