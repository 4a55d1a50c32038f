"""`python -m trainer`: a table of jobs. Nothing heavy is imported before a job is known and its input is checked."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.command_line import OneLineParser, exit_code, log_to_stderr


@dataclass(frozen=True)
class Job:
    """A job of the command line: where its `run(config, workdir)` is, and what it does."""

    module: str
    summary: str


JOBS = {
    "prepare": Job("trainer.jobs.prepare", "read the catalogue, check every picture, split: writes items.parquet"),
    "train": Job("trainer.jobs.train", "train the models that the configuration names: writes checkpoints/"),
    "evaluate": Job("trainer.jobs.evaluate", "measure them: writes metrics.json, comparison.md and comparison.csv"),
    "plot": Job("trainer.jobs.plot", "draw confusion, maps, curves and neighbours: writes plots/"),
    "robustness": Job("trainer.jobs.robustness", "measure what spoilt pictures cost: JPEG, blur, low light, crop…"),
    "cross-domain": Job("trainer.jobs.cross_domain", "measure queries from another catalogue: writes cross_domain/"),
    "run": Job("trainer.jobs.run", "prepare, train, evaluate, plot and report, one after the other"),
}

_ALONE = {
    "compare": "trainer.jobs.compare",
    "report": "trainer.jobs.report",
    "hub-vit": "trainer.jobs.hub_vit",
    "demo-picture": "trainer.jobs.demo_picture",
}
"""Jobs without a configuration: where their `run(options)` is. It may answer an exit code."""


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m trainer",
        description="Learns picture embeddings from a catalogue. Interrupted jobs go on where they were.",
        epilog="Exit codes: 0 done, 1 our fault, 2 the input, 3 a gate failed, 130 interrupted.",
    )
    jobs = parser.add_subparsers(dest="job", required=True, metavar="JOB")
    for name, job in JOBS.items():
        sub = jobs.add_parser(name, help=job.summary, description=job.summary[0].upper() + job.summary[1:] + ".")
        sub.add_argument("--config", type=Path, metavar="FILE", required=True, help="YAML configuration, see configs/")
        sub.add_argument(
            "--workdir", type=Path, metavar="DIR", help="folder of this run; default: runs/<config's name>"
        )
        sub.add_argument(
            "--set",
            dest="changes",
            nargs="+",
            action="extend",
            default=[],
            metavar="a.b=value",
            help="change single keys of the configuration, for example train.head.epochs=20",
        )
        sub.add_argument("--quiet", action="store_true", help="only warnings and results")
    _add_compare(jobs)
    _add_report(jobs)
    hub = jobs.add_parser("hub-vit", help="make a ViT as a TF2 reusable SavedModel, for model.hub_vit.handle")
    hub.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder to write")
    hub.add_argument("--preset", help="KerasHub ViT preset or folder, for example vit_base_patch16_224_imagenet")
    hub.add_argument("--image-size", type=int, default=224, help="pixels, from scratch only (default 224)")
    hub.add_argument("--patch-size", type=int, default=16, help="pixels, from scratch only (default 16)")
    hub.add_argument("--layers", type=int, default=12, help="from scratch only (default 12)")
    hub.add_argument("--heads", type=int, default=3, help="from scratch only (default 3)")
    hub.add_argument("--width", type=int, default=192, help="from scratch only (default 192)")
    hub.add_argument("--seed", type=int, default=0, help="from scratch only (default 0)")
    hub.add_argument("--quiet", action="store_true", help="only warnings")
    picture = jobs.add_parser("demo-picture", help="draw a product that no demo catalogue holds, to search with")
    picture.add_argument("--out", type=Path, required=True, metavar="FILE.jpg", help="file to write")
    picture.add_argument("--label", default="Handbags", help="type of product (default Handbags)")
    picture.add_argument("--image-size", type=int, default=96, help="pixels a side (default 96)")
    picture.add_argument("--seed", type=int, default=0, help="which product (default 0)")
    picture.add_argument("--quiet", action="store_true", help="only warnings")
    return parser


def _add_compare(jobs: argparse._SubParsersAction[OneLineParser]) -> None:
    compare = jobs.add_parser(
        "compare",
        help="is one run better than another, or only luckier: a paired test",
        description="Asks both runs the same queries and tests whether the second differs from the first beyond "
        "chance. One side alone: its means with intervals.",
        epilog="A side is RUN or RUN:MODEL, or several of them, as of several seeds, with a comma between each two.",
    )
    compare.add_argument("a", metavar="RUN_A", help="finished runs: the baseline")
    compare.add_argument("b", metavar="RUN_B", nargs="?", help="finished runs to hold against it, paired in order")
    compare.add_argument(
        "--model", help="where a side names none (default fused, or the last of the run's model.names)"
    )
    compare.add_argument("--split", choices=("train", "validation", "test"), default="test", help="default test")
    compare.add_argument("--gallery", choices=("split", "train"), default="split", help="default split")
    compare.add_argument("--metrics", metavar="NAME,...", help="to show, for example accuracy,precision@20")
    compare.add_argument("--gate", action="store_true", help="exit code 3 where RUN_B is significantly worse")
    compare.add_argument(
        "--gate-metrics",
        metavar="NAME,...",
        default="hit_rate@1,precision@10",
        help="any of which decides, corrected for their number (default hit_rate@1,precision@10)",
    )
    compare.add_argument("--resamples", type=int, default=10_000, metavar="N", help="draws of the test (default 10000)")
    compare.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    compare.add_argument("--quiet", action="store_true", help="no progress, only results")


def _add_report(jobs: argparse._SubParsersAction[OneLineParser]) -> None:
    report = jobs.add_parser(
        "report",
        help="show a run in one HTML file that opens from disk",
        description="Writes what is known of a run, pictures included, as one HTML file that loads nothing else.",
    )
    report.add_argument("--workdir", type=Path, metavar="RUN", help="folder of the run; default: runs/<config's name>")
    report.add_argument("--config", type=Path, metavar="FILE", help="default RUN/config.yaml")
    report.add_argument("--set", dest="changes", nargs="+", action="extend", default=[], metavar="a.b=value")
    report.add_argument("--out", type=Path, metavar="FILE.html", help="default RUN/report.html")
    report.add_argument("--quiet", action="store_true", help="only warnings and results")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one job and answers the exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(arguments)
    log_to_stderr(options.quiet)
    return exit_code(lambda: _work(options, arguments), interrupted="the same command goes on from here")


def _work(options: argparse.Namespace, arguments: Sequence[str]) -> int | None:
    if options.job in _ALONE:
        code: int | None = importlib.import_module(_ALONE[options.job]).run(options)
        return code
    from trainer.config import load_config
    from trainer.workdir import open_workdir

    config = load_config(options.config, options.changes)
    workdir = options.workdir or Path("runs") / options.config.stem
    with open_workdir(workdir, config, ["python", "-m", "trainer", *arguments]):
        importlib.import_module(JOBS[options.job].module).run(config, workdir)
    return None


if __name__ == "__main__":
    sys.exit(main())
