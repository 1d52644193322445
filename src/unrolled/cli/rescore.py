"""``unrolled rescore``: n-best lists and lattices with the scores of a new language model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unrolled.cli import options as shared
from unrolled.cli.outputs import named_file

if TYPE_CHECKING:
    from unrolled.cli.lattices import LatticeJob
    from unrolled.cli.nbest_lists import NbestJob


def rescore(
    model: shared.ModelPath,
    nbest: Annotated[
        str,
        typer.Argument(
            help="N-best lists or lattices; for srilm and slf a file or a folder.",
            show_default=False,
        ),
    ],
    format: Annotated[
        str | None,
        typer.Option(
            help="Lists: kaldi, moses, rnnlm, srilm; lattices: slf (HTK), kaldi-lattice (text). "
            "By default found out where the first lines show it.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Where to write, for a folder of srilm a folder; else standard output.",
        ),
    ] = None,
    acoustic: Annotated[str | None, typer.Option(help="Kaldi: archive of acoustic costs.")] = None,
    old_lm: Annotated[
        str | None,
        typer.Option(
            help="Kaldi's lists: archive of the old language model's costs. Lattices: the model "
            "whose scores are part of the graph's, so that the rest of them stays."
        ),
    ] = None,
    lm_label: Annotated[
        str, typer.Option(help="Moses: label of the old language model; '' for none.")
    ] = "LM0",
    symbols: Annotated[
        str | None, typer.Option(help="Kaldi lattices: symbol table of words that are numbers.")
    ] = None,
    acoustic_scale: Annotated[
        float, typer.Option(help="Lattices: weight of the acoustic scores.", min=0)
    ] = 1.0,
    states: Annotated[
        int | None,
        typer.Option(
            help="Lattices: most states of the model at a node, 0: all. By default all of an "
            "n-gram model and 32 of others.",
            min=0,
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option("--nbest", help="Lattices: write so many best paths instead.", min=1),
    ] = None,
    lm_scale: Annotated[float, typer.Option(help="Weight of the language models.")] = 1.0,
    mix: Annotated[float, typer.Option(help="The new model's share, 0 to 1.")] = 0.5,
    word_penalty: Annotated[float, typer.Option(help="Added for each word.")] = 0.0,
    references: Annotated[
        str | None, typer.Option(help="Reference transcripts: print word error rates.")
    ] = None,
    tune: Annotated[
        bool, typer.Option("--tune", help="Find the weights with fewest word errors here.")
    ] = False,
    best: Annotated[
        bool, typer.Option("--best", help="Write only the best hypothesis of each list.")
    ] = False,
    scores: Annotated[
        Path | None, typer.Option(help="Write the new scores here, a line for each hypothesis.")
    ] = None,
) -> None:
    """Rescore n-best lists and lattices with a language model.

    Lists are written in their new order. Lattices are written with the scores of both language
    models by their shares (--mix), or as their best paths (--best, --nbest N); for --tune,
    --references and --scores the 100 best paths count unless --nbest is given.

    Examples:

        unrolled rescore lm.safetensors dev/text --format kaldi --acoustic dev/ac --old-lm dev/lm
        --references dev/ref --tune -o dev/rescored

        unrolled rescore lm.safetensors test.nbest --format moses --lm-scale 0.4 --mix 1 --best

        unrolled rescore lm.safetensors lattices/ --lm-scale 12 --mix 1 -o rescored/
    """
    from unrolled.errors import SettingError
    from unrolled.language_models.protocol import LanguageModel
    from unrolled.rescoring.lattice_files import LATTICE_FORMATS, detect_format
    from unrolled.rescoring.rescore import RescoringWeights
    from unrolled.storage.atomic import check_different
    from unrolled.storage.loading import load_as
    from unrolled.text.sources import check_not_read

    if tune and references is None:
        raise SettingError("--tune needs --references")
    format = format or detect_format(nbest)
    if format is None:
        raise SettingError(
            "the format is not clear from the first lines",
            where=nbest,
            hint="Name it: --format kaldi, moses, rnnlm, srilm, slf or kaldi-lattice",
        )
    output = named_file(output)
    read = (model, nbest, old_lm, acoustic, references, symbols)
    for target in (output, scores):
        if target is not None:
            check_not_read(target, *read)
    check_different(output, scores)
    weights = RescoringWeights(lm_scale, mix, word_penalty)
    job: LatticeJob | NbestJob
    if format in LATTICE_FORMATS:
        from unrolled.cli.lattices import LatticeJob

        if acoustic:
            raise SettingError("--acoustic is for n-best lists, not for lattices")
        old = load_as(old_lm, LanguageModel, "--old-lm") if old_lm else None
        job = LatticeJob(
            nbest, format, symbols, old, output, weights, acoustic_scale, states,
            count=count, best=best, references=references, tune=tune, scores=scores,
        )  # fmt: skip
    else:
        from unrolled.cli.nbest_lists import NbestJob

        if (symbols, acoustic_scale, states, count) != (None, 1.0, None, None):
            raise SettingError(
                "--symbols, --acoustic-scale, --states and --nbest are for lattices, and these "
                f"are n-best lists ({format})"
            )
        job = NbestJob(
            nbest, format, acoustic, old_lm, lm_label, output, weights,
            best=best, references=references, tune=tune, scores=scores,
        )  # fmt: skip
    job.run(load_as(model, LanguageModel, "rescore"))
