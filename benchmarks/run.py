"""Compare Unrolled with KenLM and other programs: print ratios, write results/.

    python -m benchmarks.run                         everything, on the demo text
    python -m benchmarks.run model_size estimation   some of it
    python -m benchmarks.run --text books.txt.xz --tokens 1000000 60000000 --ptb ptb/
    python -m benchmarks.run --against 808af35       speed against another commit

KenLM's programs are found through the environment variable KENLM_BIN (its folder build/bin) or
PATH, those of tongrams through TONGRAMS_BIN; benchmarks of what is not installed are skipped. --ptb
is a folder with ptb.train.txt and ptb.test.txt in Mikolov's preprocessing (his rnnlm distribution,
simple-examples/data).
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
import time
from pathlib import Path

# Also runnable as a file, `python benchmarks/run.py`.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import environment, kenlm_programs
from benchmarks.against import run_against
from benchmarks.measure import BenchmarkError, Report
from benchmarks.tasks import START_UP, TASKS
from benchmarks.workspace import Settings, Workspace

BENCHMARKS = (
    "probabilities",
    "estimation",
    "growth",
    "memory_budget",
    "model_size",
    "quantization",
    "arpa",
    "batch_scoring",
    "python_scoring",
    "annotation",
    "decoders",
    "surprisal",
    "sampling",
    "spark",
    "compilation",
    "class_softmax_speed",
    "class_softmax_perplexity",
    "class_table",
    "time_to_perplexity",
    "lstm_training",
    "tagger_speed",
    "neighbours",
    "ten_minute_perplexity",
    "gradient_cost",
    "long_sequences",
    "server",
)
_RESULTS = Path(__file__).resolve().parent.parent / "results"


def main(arguments: list[str] | None = None) -> int:
    """Run the chosen benchmarks; the exit code is 1 where one failed to run."""
    options = _parser().parse_args(arguments)
    settings = _settings(options)
    environment.use_cores(options.cores)
    if options.against:
        return run_against(
            options.against, options.names, text=options.text, repeats=options.repeats or 5,
            cores=options.cores, tokens=(options.tokens or [3_000_000])[0],
        )  # fmt: skip
    failed, missed = [], []
    if options.work:
        options.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="unrolled-bench-", dir=options.work) as folder:
        workspace = Workspace(Path(folder), settings)
        for name in options.names or BENCHMARKS:
            print(f"\n{name}", flush=True)
            try:
                report = _run(name, workspace)
            except BenchmarkError as error:
                print(f"  failed: {error}", file=sys.stderr)
                failed.append(name)
                continue
            if report.comparisons:
                _save(report, settings, options.results)
            missed += [some.name for some in report.comparisons if some.met is False]
    if missed:
        print("\nmissed: " + "; ".join(missed))
    return 1 if failed else 0


def _run(name: str, workspace: Workspace) -> Report:
    report = Report(name)
    module = importlib.import_module(f"benchmarks.{name}")
    lacking = kenlm_programs.missing(*module.NEEDS)
    if lacking:
        report.note(f"skipped: {lacking}")
    else:
        module.run(workspace, report)
    return report


def _save(report: Report, settings: Settings, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    result = {
        **report.record(),
        "settings": settings.record(),
        **environment.describe(),
        "date": time.strftime("%Y-%m-%d"),
    }
    path = folder / f"{report.name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _settings(options: argparse.Namespace) -> Settings:
    quick = options.quick
    return Settings(
        text=options.text,
        ptb=options.ptb,
        conll2003=options.conll2003,
        tokens=tuple(options.tokens or ((200_000,) if quick else (1_000_000, 60_000_000))),
        model_tokens=options.model_tokens or (200_000 if quick else 10_000_000),
        heldout_tokens=options.heldout_tokens or (100_000 if quick else 3_000_000),
        repeats=options.repeats or (1 if quick else 3),
        threads=options.cores,
        order=5,
        lmplz_memory=options.lmplz_memory,
    )


def _parser() -> argparse.ArgumentParser:
    description, _, more = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run",
        description=description,
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"any of: {', '.join(BENCHMARKS)}; with "
        f"--against any of: {', '.join([*TASKS, *START_UP][1:])}",
    )
    add("--against", metavar="COMMIT", help="measure speed against this commit")
    add("--text", type=Path, help="a text, also .gz .bz2 .xz; without it the demo text")
    add("--ptb", type=Path, help="a folder with the Penn Treebank")
    add("--conll2003", type=Path, help="a folder with eng.train, eng.testa and eng.testb")
    add("--tokens", type=int, nargs="+", help="sizes of the training texts for estimation")
    add("--model-tokens", type=int, help="size of the text of the models that are queried")
    add("--heldout-tokens", type=int, help="size of the text that is scored")
    add("--repeats", type=int, help="runs of each contender")
    add("--cores", type=int, default=2, help="cores, and our threads")
    add("--lmplz-memory", default="4G", help="lmplz's -S")
    add("--work", type=Path, help="folder for the temporary folder, made if it is not there")
    add("--results", type=Path, default=_RESULTS, help="where results go")
    add("--quick", action="store_true", help="small texts, one run: does everything work?")
    return parser


if __name__ == "__main__":
    sys.exit(main())
