"""``unrolled info``, ``convert``, ``prune``, ``filter`` and ``mix``: models in, models out."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unrolled.cli import options as shared
from unrolled.cli.outputs import FST_ENDINGS, check_model_output, check_output
from unrolled.storage.file_kinds import is_arpa_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from unrolled.language_models.protocol import LanguageModel
    from unrolled.ngram.model import NgramModel
    from unrolled.storage.loading import StoredModel

Source = Annotated[str, typer.Argument(help="The model to read.", show_default=False)]
Target = Annotated[
    Path,
    typer.Argument(
        help="The model to write: ARPA where the name ends in .arpa or .arpa.gz, else safetensors.",
        show_default=False,
    ),
]


def save_model(model: StoredModel, path: Path, threads: int | None = None) -> None:
    """Write a model in the format that the file's name asks for.

    Args:
        threads: that compress; all cores by default.

    Raises:
        SettingError: ARPA of what is no n-gram model.
    """
    if is_arpa_name(path):
        from unrolled.ngram.arpa.files import write_arpa
        from unrolled.ngram.model import NgramModel
        from unrolled.storage.loading import require_kind

        ngram = require_kind(model, NgramModel, "an ARPA file", where=str(path))
        write_arpa(ngram, path, threads=threads)
    else:
        model.save(path)


def info(
    model: shared.ModelPath,
    words: Annotated[
        bool, typer.Option("--words", help="List the vocabulary: id, word; with --json an array.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read all of the file and compare checksums.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
    config: Annotated[
        bool,
        typer.Option("--config", help="Print the TOML file that `unrolled train` made it with."),
    ] = False,
) -> None:
    """Describe a model: settings, sizes, where it comes from.

    Examples:

        unrolled info news.safetensors --verify

        unrolled info news.safetensors --config > news.toml
    """
    from unrolled.storage.loading import load

    opened = load(model, verify=verify)
    if config:
        print(_training_config(opened, model))
        return
    if words:
        if json_:
            print(json.dumps(list(opened.vocabulary), ensure_ascii=False))
            return
        for number, word in enumerate(opened.vocabulary):
            print(f"{number}\t{word}")
        return
    facts = opened.info()
    if verify:
        facts["verified"] = True
    if json_:
        print(json.dumps(facts, ensure_ascii=False))
        return
    for name, value in facts.items():
        shown = json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value
        print(f"{name:12} {shown}")


def _training_config(model: StoredModel, path: str) -> str:
    """The TOML file with which `unrolled train` makes a model again.

    Raises:
        FormatError: the model's file does not say how it was trained.
    """
    from unrolled.errors import FormatError
    from unrolled.settings import to_toml

    settings, run = (model.provenance.get(name) for name in ("settings", "run"))
    if not isinstance(settings, dict) or not isinstance(run, dict):
        raise FormatError(
            "the file does not hold the settings of a training run",
            where=path,
            hint="`unrolled train` writes them into the models that it trains",
        )
    texts, valid, edits = (
        found if isinstance(found, list) else []
        for found in (run.get("texts"), run.get("valid"), model.provenance.get("edits"))
    )
    words = [*(texts or ["TEXT"]), *(word for one in valid for word in ("--valid", one))]
    command = shlex.join(["unrolled", "train", model.kind, *map(str, words), "-o", "MODEL"])
    comments = [
        f"{path}: {model.name}. To train it again, with {run.get('threads')} threads:",
        f"{command} --config FILE",
        *(f"edited since: {json.dumps(edit)}" for edit in edits),
    ]
    # A comment is one line, whatever the file holds.
    head = [f"# {' '.join(comment.split())}" for comment in comments]
    given = {
        n: value for n, value in settings.items() if n.isidentifier() and value not in (None, "")
    }
    return "\n".join([*head, to_toml(given)])


def convert(
    source: Source,
    target: Annotated[
        Path,
        typer.Argument(
            help="The model to write: ARPA for .arpa and .arpa.gz, an FST of OpenFst for .fst "
            "(binary) and .fst.txt, else safetensors.",
            show_default=False,
        ),
    ],
    quantize: Annotated[
        int | None, typer.Option(help="8: store probabilities in 8 bits.", show_default=False)
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="SRILM's definitions of classes: the words that an n-gram model's classes stand "
            "for; makes a model of words."
        ),
    ] = None,
    disambiguation: Annotated[
        str, typer.Option(help="FST: symbol of arcs that back off; '' for epsilon.")
    ] = "#0",
    symbols: Annotated[
        str | None,
        typer.Option(
            help="FST: symbol table to use, such as words.txt; n-grams of other words are left out."
        ),
    ] = None,
    bos: Annotated[str, typer.Option(help="FST: name of <s> in the symbol table.")] = "<s>",
    eos: Annotated[str, typer.Option(help="FST: name of </s> in the symbol table.")] = "</s>",
    fst_type: Annotated[str, typer.Option(help="FST: vector or const.")] = "vector",
    threads: shared.Threads = 2,
) -> None:
    """Convert a model: ARPA to binary, binary to ARPA, plain to quantized, any to an FST.

    An FST is that of Kaldi's arpa2fst; its symbol table is written beside it unless one is given.

    Examples:

        unrolled convert lm.arpa.gz lm.safetensors

        unrolled convert lm.safetensors small.safetensors --quantize 8

        unrolled convert lm.safetensors G.fst --symbols data/lang/words.txt

        unrolled convert classes.arpa model.safetensors --classes classes.txt
    """
    from unrolled.cli.progress import Stages
    from unrolled.errors import SettingError
    from unrolled.storage.loading import load

    as_fst = target.name.endswith(FST_ENDINGS)
    if as_fst:
        check_output(target, source, classes, symbols)
    else:
        check_model_output(target, classes, symbols, arpa=True)
    fst = {
        "symbols": symbols, "disambiguation": disambiguation, "bos": bos, "eos": eos,
        "type": fst_type,
    }  # fmt: skip
    if not as_fst and tuple(fst.values()) != (None, "#0", "<s>", "</s>", "vector"):
        raise SettingError(
            "--symbols, --disambiguation, --bos, --eos and --fst-type are for FSTs",
            where=str(target),
            hint="End the name in .fst or .fst.txt",
        )
    if classes and (quantize or target.suffix != ".safetensors"):
        raise SettingError(
            "a class-based model is written as .safetensors, and not quantized",
            where=str(target),
            hint="Quantize the n-gram model first",
        )
    with Stages() as stages:
        from unrolled.ngram.editing.quantization import check_bits
        from unrolled.ngram.editing.quantization import quantize as quantized
        from unrolled.ngram.model import load_ngram

        check_bits(quantize)
        stages.stage(f"reading {source}")
        model: StoredModel
        if classes:
            from unrolled.ngram.class_model import ClassNgramModel, read_classes

            model = ClassNgramModel(load_ngram(source, "--classes"), read_classes(classes))
        elif quantize:
            ngram = load_ngram(source, "--quantize")
            stages.stage("quantizing")
            model = quantized(ngram, threads=threads)
        else:
            model = load(source)
        stages.stage(f"writing {target}")
        if as_fst:
            _write_fst(model, target, fst, threads)
        else:
            save_model(model, target, threads)


def _write_fst(model: StoredModel, target: Path, options: dict[str, Any], threads: int) -> None:
    import sys

    from unrolled.integrations.fst import export_fst
    from unrolled.ngram.model import NgramModel
    from unrolled.storage.loading import require_kind

    ngram = require_kind(model, NgramModel, "an FST", where=str(target))
    words = export_fst(ngram, target, **options, threads=threads)
    if words is not None:
        print(f"note: the labels of the words are in {words}", file=sys.stderr)


def prune(
    source: Source,
    target: Target,
    threshold: Annotated[
        float | None,
        typer.Option(help="Drop n-grams that raise the perplexity by less than this share."),
    ] = None,
    ngrams: Annotated[int | None, typer.Option(help="Keep about so many n-grams.", min=1)] = None,
    megabytes: Annotated[float | None, typer.Option(help="Make the file about this large.")] = None,
    order: Annotated[
        int | None,
        typer.Option(help="Drop n-grams of more words; what stays is unchanged.", min=1),
    ] = None,
    history: Annotated[
        str,
        typer.Option(
            help="How often each context is met: stationary, chain (as SRILM does), or the path of "
            "another n-gram model of the same text, such as a Witten-Bell one."
        ),
    ] = "stationary",
    threads: shared.Threads = 2,
) -> None:
    """Shrink a model by entropy pruning (Stolcke 1998), or to a lower order; ARPA models too.

    The lower orders of a Kneser-Ney model are continuation estimates, made for backing off: instead
    of --order train a model of that order where you can.

    Examples:

        unrolled prune big.safetensors small.safetensors --threshold 1e-8

        unrolled prune big.arpa small.arpa --ngrams 1000000

        unrolled prune big.arpa trigram.arpa --order 3
    """
    from unrolled.cli.progress import Stages
    from unrolled.errors import SettingError

    given = [value for value in (threshold, ngrams, megabytes, order) if value is not None]
    if len(given) != 1:
        raise SettingError("give one of --threshold, --ngrams, --megabytes and --order")
    named = history in ("stationary", "chain")
    check_model_output(target, None if named else history, arpa=True)
    if not named and not Path(history).exists():
        raise SettingError(
            f"--history is {history!r}, allowed are stationary, chain and a model's file"
        )
    if order is not None:
        unused = {"--history": history != "stationary"}
        shared.check_unused(unused, "with --threshold, --ngrams and --megabytes")
    with Stages() as stages:
        from unrolled.ngram.editing.pruning import entropy_prune, prune_to_size
        from unrolled.ngram.editing.truncation import truncate_order
        from unrolled.ngram.model import load_ngram

        stages.stage(f"reading {source}")
        model = load_ngram(source, "prune")
        past = history if named else load_ngram(history, "prune --history")
        settings: Any = {"history": past, "threads": threads, "report": stages.stage}
        stages.stage("pruning")
        if order is not None:
            model = truncate_order(model, order)
        elif threshold is not None:
            model = entropy_prune(model, threshold, **settings)
        else:
            model = prune_to_size(model, ngrams=ngrams, megabytes=megabytes, **settings)
        stages.stage(f"writing {target}")
        save_model(model, target, threads)


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
    from unrolled.cli.progress import Stages

    check_model_output(target, words, arpa=True)
    kept = shared.read_words(words) or []
    with Stages() as stages:
        from unrolled.ngram.editing.pruning import filter_vocabulary
        from unrolled.ngram.model import load_ngram

        stages.stage(f"reading {source}")
        model = load_ngram(source, "filter")
        stages.stage("filtering")
        model = filter_vocabulary(model, kept, removed=removed, report=stages.stage)
        stages.stage(f"writing {target}")
        save_model(model, target)


def mix(
    sources: Annotated[
        list[str],
        typer.Argument(help="Two models or more, or one and --cache.", show_default=False),
    ],
    output: shared.Output,
    tune: Annotated[
        str | None,
        typer.Option(help="Held-out text whose perplexity the weights minimise."),
    ] = None,
    weights: Annotated[
        str, typer.Option(help="Weights instead, such as '0.7 0.3'; equal by default.")
    ] = "",
    dynamic: Annotated[
        bool,
        typer.Option(
            "--dynamic",
            help="Store n-gram models separately instead of merging them: larger, but exact.",
        ),
    ] = False,
    log_linear: Annotated[
        bool,
        typer.Option("--log-linear", help="Multiply powers of probabilities instead of adding."),
    ] = False,
    cache: Annotated[
        float | None,
        typer.Option(
            help="Mix in a cache of the words before, which count half after so many tokens "
            "(100 is a good start)."
        ),
    ] = None,
    threads: shared.Threads = 2,
) -> None:
    """Mix models, with weights tuned on held-out text.

    N-gram models alone are merged into one n-gram model. Any other models (nets, mixtures), and
    n-gram models with --dynamic or --log-linear, are stored separately in one file.

    The mixture has the words of all models. A word that a model lacks has probability 0 in its part
    of the sum, and counts as <unk> in the words before; <unk> stands for words that no model knows.
    With --log-linear a model's <unk> is shared equally by itself and the words that it lacks.

    Taggers of the same tags, such as ones of several seeds, are mixed by their scores. The mixture
    usually makes fewer errors than each of them, and takes the time of all.

    Examples:

        unrolled mix news.safetensors books.arpa -o both.safetensors --tune dev.txt

        unrolled mix lstm.safetensors kn5.safetensors -o best.safetensors --tune dev.txt

        unrolled mix kn5.safetensors --cache 100 -o adaptive.safetensors --tune dev.txt

        unrolled mix names-1.safetensors names-2.safetensors -o names.safetensors
    """
    from unrolled.cli.progress import Stages
    from unrolled.errors import SettingError
    from unrolled.language_models.protocol import LanguageModel
    from unrolled.storage.loading import load, require_kind

    if tune and weights:
        raise SettingError("give --tune or --weights, not both")
    check_model_output(output, tune, arpa=True)
    given = shared.numbers(weights, float, "--weights") or None
    with Stages() as stages:
        models = [load(source) for source in sources]
        model: StoredModel
        if models[0].is_tagger:
            unused = {
                "--tune": tune, "--dynamic": dynamic, "--log-linear": log_linear, "--cache": cache
            }  # fmt: skip
            shared.check_unused(unused, "with language models, and these are taggers")
            check_model_output(output)
            model, found = _mixed_taggers(models, sources, given)
        else:
            opened = [
                require_kind(model, LanguageModel, "mix", where=source)
                for model, source in zip(models, sources, strict=True)
            ]
            if cache is not None:
                opened.append(_cache_beside(opened, cache))
                sources = [*sources, opened[-1].name]
            if dynamic or log_linear or any(model.kind != "ngram" for model in opened):
                check_model_output(output)
                from unrolled.language_models.mixture_tuning import mix_models

                stages.stage("tuning weights" if tune else "mixing")
                how = "log-linear" if log_linear else "linear"
                mixture = mix_models(opened, tune, how=how, weights=given, threads=threads)
                model, found = mixture, mixture.weights.tolist()
            else:
                model, found = _merged(opened, tune, given, threads, stages.stage)
        stages.stage(f"writing {output}")
        save_model(model, output, threads)
    print("weight\tmodel")
    for source, weight in zip(sources, found, strict=True):
        print(f"{weight:.4f}\t{source}")


def _mixed_taggers(
    models: Sequence[StoredModel], sources: Sequence[str], weights: tuple[float, ...] | None
) -> tuple[StoredModel, list[float]]:
    """A mixture of taggers, and their weights."""
    from unrolled.errors import SettingError
    from unrolled.storage.loading import require_kind
    from unrolled.tagging.mixture import TaggerMixture
    from unrolled.tagging.model import Tagger

    taggers = [
        require_kind(model, Tagger, "mix", where=source)
        for model, source in zip(models, sources, strict=True)
    ]
    if len(taggers) < 2:
        raise SettingError("mixing takes two taggers or more, not 1")
    mixture = TaggerMixture(taggers, weights)
    return mixture, mixture.weights.tolist()


def _cache_beside(models: Sequence[LanguageModel], half_life: float) -> LanguageModel:
    """A cache of the words that some of the models know."""
    from unrolled.language_models.cache import CacheModel
    from unrolled.language_models.word_alignment import united_words

    words = united_words([model.vocabulary for model in models])
    return CacheModel(words, half_life=half_life, text_options=models[0].text_options)


def _merged(
    opened: Sequence[LanguageModel],
    tune: str | None,
    weights: tuple[float, ...] | None,
    threads: int,
    report: Callable[[str], None],
) -> tuple[NgramModel, list[float]]:
    """One n-gram model for several, and their weights."""
    from unrolled.ngram.editing.mixing import mix as combine
    from unrolled.ngram.editing.mixing import tune_weights
    from unrolled.ngram.model import NgramModel
    from unrolled.storage.loading import require_kind

    models = [require_kind(model, NgramModel, "merging") for model in opened]
    given = list(weights or (1 / len(models),) * len(models))
    if tune:
        report("tuning weights")
        given = tune_weights(models, tune, threads=threads).weights.tolist()
    report("mixing")
    return combine(models, given, threads=threads, report=report), given
