"""``unrolled rescore``: n-best lists in the order of a new language model."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from unrolled.cli import options as shared


def rescore(
    model: shared.ModelPath,
    nbest: Annotated[
        str, typer.Argument(help="The lists; for srilm a file or a folder.", show_default=False)
    ],
    format: Annotated[str, typer.Option(help="kaldi, moses, rnnlm or srilm.", show_default=False)],
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
        str | None, typer.Option(help="Kaldi: archive of the old language model's costs.")
    ] = None,
    lm_label: Annotated[
        str, typer.Option(help="Moses: label of the old language model; '' for none.")
    ] = "LM0",
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
    """Rescore and reorder n-best lists with a language model.

    Examples:

        unrolled rescore lm.safetensors dev/text --format kaldi --acoustic dev/ac --old-lm dev/lm
        --references dev/ref --tune -o dev/rescored

        unrolled rescore lm.safetensors test.nbest --format moses --lm-scale 0.4 --mix 1 --best
    """
    from unrolled.cli.models import check_output
    from unrolled.errors import SettingError
    from unrolled.language_models.protocol import LanguageModel
    from unrolled.rescoring import rescore as rescoring
    from unrolled.rescoring.nbest import (
        nbest_lines,
        read_nbest,
        read_references,
        score_lines,
        srilm_files,
    )
    from unrolled.storage.loading import load_as

    if tune and references is None:
        raise SettingError("--tune needs --references")
    many = output is not None and format == "srilm" and Path(nbest).is_dir() and not best
    if output is not None and many and output.exists() and not output.is_dir():
        hint = "The lists of a folder are written into a folder"
        raise SettingError("this is a file", where=str(output), hint=hint)
    for target in (None if many else output, scores):
        if target is not None:
            check_output(target)
    weights = rescoring.RescoringWeights(lm_scale, mix, word_penalty)
    lists = read_nbest(nbest, format, acoustic=acoustic, old_lm=old_lm, lm_label=lm_label)
    said = read_references(references, lists) if references is not None else None
    new = rescoring.new_scores(lists, load_as(model, LanguageModel, "rescore"))
    if said is not None and tune:
        weights = rescoring.tune_rescoring(lists, new, said, start=weights)
        print(f"tuned: {weights.line()}", file=sys.stderr)
    totals = rescoring.totals(lists, new, weights)
    if said is not None:
        for name, found in (
            ("first", rescoring.errors_of_best(lists, -1.0 * lists.owners, said)),
            ("rescored", rescoring.errors_of_best(lists, totals, said)),
            ("oracle", rescoring.oracle_errors(lists, said)),
        ):
            print(f"{name + ':':10}{found.line()}", file=sys.stderr)
    order = rescoring.ranked(lists, totals)
    if output is not None and many and lists.files is not None:
        output.mkdir(parents=True, exist_ok=True)
        for name, lines in srilm_files(lists, order, new):
            _write(output / name, lines)
    else:
        _write(output, nbest_lines(lists, order, totals, new, best=best))
    if scores is not None:
        _write(scores, score_lines(lists, order, totals, new))


def _write(path: Path | None, lines: Iterable[str]) -> None:
    if path is None:
        for line in lines:
            print(line)
        return
    from unrolled.storage.atomic import atomic_write

    with atomic_write(path) as file:
        for line in lines:
            file.write(line.encode() + b"\n")
