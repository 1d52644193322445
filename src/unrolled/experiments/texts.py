"""Comparisons of language models on the user's texts or the demo text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from unrolled.comparison.compare import Comparison, Row, compare_models, format_table
from unrolled.comparison.model_specs import ModelSpec
from unrolled.errors import SettingError
from unrolled.experiments.setup import Results, Setup

PARTS = ("train", "valid", "test")
# Of each text, for a smoke run: enough to learn the commonest words from.
_SMOKE_LINES = {"train": 500, "valid": 100, "test": 100}


def compare(setup: Setup, models: Sequence[ModelSpec]) -> Comparison:
    """Compare models on an experiment's texts; the models are saved in a folder of its name.

    An interrupted experiment continues after the models that it has finished.
    """
    texts = texts_of(setup)
    result = compare_models(
        *texts, output=setup.output / setup.name, models=[_seeded(spec, setup) for spec in models],
        min_count=0, finished=setup.finished_runs(texts), report=setup.report,
    )  # fmt: skip
    setup.report(format_table(result))
    return result


def _seeded(spec: ModelSpec, setup: Setup) -> ModelSpec:
    """A net from the seed that it has with this setup."""
    if spec.kind != "net" or not setup.seed:
        return spec
    seed = spec.settings.get("seed", 1) + setup.seed
    return replace(spec, settings={**spec.settings, "seed": seed})


def draw_comparison(results: Results) -> dict[str, str]:
    """Test perplexity against speed, and the learning curves, of the rows of a comparison."""
    from unrolled.report.plots import against_speed, learning_curves

    rows = [Row(**row) for row in results["rows"]]
    pictures = {
        "speed": against_speed(rows, alone=True), "curves": learning_curves(rows, alone=True)
    }  # fmt: skip
    return {name: picture for name, picture in pictures.items() if picture is not None}


def words_per_second(row: Row) -> float:
    """Words a second of training itself, without reading and validation."""
    tokens, seconds = (sum(point[key] for point in row.curve) for key in ("tokens", "seconds"))
    speed: float = tokens / seconds
    return speed


def texts_in(folder: Path) -> list[str]:
    """The files of a folder whose names hold train, valid and test, one of each.

    Raises:
        SettingError: none or several of a kind.
    """
    found = []
    for part in PARTS:
        files = sorted(str(file) for file in folder.glob(f"*{part}*") if file.is_file())
        if len(files) != 1:
            raise SettingError(
                f"{len(files)} files have '{part}' in their names, and one must",
                where=str(folder),
            )
        found += files
    return found


def texts_of(setup: Setup) -> list[str]:
    """Files to train, validate and test on; for size ``smoke`` their first lines."""
    from unrolled.text.demo_text import demo_text
    from unrolled.text.sources import check_not_read
    from unrolled.text.tokens import iter_sentences

    if setup.data is None:
        texts = [str(path) for path in demo_text(setup.output / "text")]
    else:
        texts = texts_in(setup.data)
    if setup.size != "smoke":
        return texts
    folder = setup.output / "smoke"
    folder.mkdir(parents=True, exist_ok=True)
    short = [folder / f"{part}.txt" for part in PARTS]
    for part, target, text in zip(PARTS, short, texts, strict=True):
        check_not_read(target, text)
        lines = islice(iter_sentences(text), _SMOKE_LINES[part])
        target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [str(target) for target in short]
