"""``unrolled compare`` and ``unrolled demo``: models compared on one text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from unrolled.cli import options as shared
from unrolled.cli.settings_options import with_settings
from unrolled.settings import settings_of
from unrolled.text.options import TextOptions

Train = Annotated[str, typer.Argument(help="Text to train on.", show_default=False)]
Valid = Annotated[
    str, typer.Argument(help="Validation text; weights of mixtures fit it.", show_default=False)
]
Test = Annotated[str, typer.Argument(help="Text to measure on.", show_default=False)]
Folder = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Folder for the models, results.json and report.html."),
]


@with_settings(None, (TextOptions,), settings_of(TextOptions))
def compare(
    train: Train,
    valid: Valid,
    test: Test,
    settings: dict[str, Any],
    output: Folder = None,
    min_count: Annotated[
        int,
        typer.Option(
            help="Words that occur fewer times are <unk>, so that all models learn <unk>.",
            min=1,
        ),
    ] = 2,
    only: Annotated[
        str, typer.Option(help="Train only these models, by name, separated by commas.")
    ] = "",
    unknown: shared.UnknownWord = "class",
    threads: shared.Threads = 2,
) -> None:
    """Train several models on one text and print the table of their perplexities.

    With --output it also writes report.html, with pictures (extra `report`).

    Example:

        unrolled compare train.txt valid.txt test.txt --output comparison/
    """
    wanted = [name.strip() for name in only.split(",") if name.strip()]
    given = {"options": TextOptions(**settings), "min_count": min_count, "only": wanted}
    _compare((train, valid, test), output, **given, unknown=unknown, threads=threads)


def demo(
    output: Folder = None,
    text_only: Annotated[
        bool,
        typer.Option(
            "--text-only",
            help="Write the text to the folder of --output, and train no models.",
        ),
    ] = False,
    threads: shared.Threads = 2,
) -> None:
    """Compare models on an installed text, the World English Bible, then train a tagger on it.

    The tagger restores punctuation and capitals; --output saves it for `unrolled tag`. The text is
    train.txt, valid.txt and test.txt: one verse a line, in lower case, with spaces around
    punctuation; the folder as-written in it has the same as it was written.

    Examples:

        unrolled demo --output demo/

        unrolled demo --text-only --output text/
    """
    import tempfile

    from unrolled.errors import SettingError
    from unrolled.text.demo_text import cased_demo_text, demo_text

    if text_only:
        if output is None:
            raise SettingError("--text-only writes to the folder of --output, which is not given")
        demo_text(output)
        cased_demo_text(output / "as-written")
        return
    with tempfile.TemporaryDirectory() as folder:
        place = output or Path(folder)
        train, valid, test = (str(path) for path in demo_text(place / "text"))
        _compare((train, valid, test), output, threads=threads)
        _show_tagger(place, output is not None, threads)


def _show_tagger(folder: Path, keep: bool, threads: int) -> None:
    """Train the tagger of the demo, and let it restore a few sentences."""
    import sys

    from unrolled.cli.progress import Stages
    from unrolled.errors import MissingExtraError

    path = folder / "punctuation.safetensors"
    try:
        from unrolled.comparison.demo_tagger import SAMPLES, restored, train_demo_tagger
        from unrolled.tagging.model import Tagger

        with Stages() as stages:
            scores = train_demo_tagger(
                path, folder=folder / "text-as-written", threads=threads, report=stages.stage
            )
    except MissingExtraError as error:
        print(f"note: the tagger is left out: {error}", file=sys.stderr)
        return
    tagger = Tagger.load(path)
    print(
        f"\na tagger of punctuation (F1 {100 * scores.mark_f1:.1f} %) and capitals "
        f"(F1 {100 * scores.case_f1:.1f} %):"
    )
    for sample in SAMPLES:
        print(f"  {sample}\n    {restored(tagger, sample)}")
    if keep:
        print(f"try it: unrolled tag {path}", file=sys.stderr)


def _compare(texts: tuple[str, str, str], output: Path | None, **given: Any) -> None:
    import sys

    from unrolled.cli.progress import print_line
    from unrolled.comparison.compare import compare_models, format_table
    from unrolled.errors import MissingExtraError

    result = compare_models(*texts, output=output, report=print_line, **given)
    print(format_table(result))
    if output:
        written = "models and results.json"
        try:
            from unrolled.report import write_report

            write_report(result, output / "report.html")
            written = "models, results.json and report.html"
        except MissingExtraError as error:
            print(f"note: no report.html is written: {error}", file=sys.stderr)
        print(f"{written} are in {output}", file=sys.stderr)
