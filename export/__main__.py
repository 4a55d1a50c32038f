"""`python -m export`: exports a run; and jobs upon what was exported. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from export.errors import VerificationError
from trainer.command_line import OneLineParser, exit_code, log_to_stderr

JOBS = {
    "verify": "load exported versions in a fresh process and hold their files and answers against what they promise",
    "rollback": "publish an older version as the newest",
    "prune": "remove old versions, never the newest or one that a version label names",
    "table": "embed a new or changed catalogue with an exported encoder; publish a new lookup and search",
}


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    listed = "\n".join(f"  {name:<9} {summary}" for name, summary in JOBS.items())
    parser = OneLineParser(
        prog="python -m export",
        description="Exports a trained run to SavedModels for TensorFlow Serving: encoder, lookup and search.",
        epilog=f"jobs upon what was exported (python -m export JOB --help):\n{listed}\n\n"
        "Exit codes: 0 done, 1 our fault, 2 the input, 130 interrupted.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if not arguments or arguments[0] not in JOBS:
        _add_export(parser)
        if arguments and not arguments[0].startswith("-"):
            parser.error(f"expected options or one of the jobs {', '.join(JOBS)}, received {arguments[0]!r}")
        return parser
    job = arguments[0]
    sub = parser.add_subparsers(dest="job", required=True, metavar="JOB", parser_class=OneLineParser).add_parser(
        job, description=JOBS[job][0].upper() + JOBS[job][1:] + "."
    )
    if job == "table":
        importlib.import_module("export.jobs.table").add_arguments(sub)
    elif job == "verify":
        sub.add_argument("folder", nargs="+", type=Path, metavar="FOLDER", help="such as EXPORTS/fused_search/1")
        sub.add_argument(
            "--workdir", type=Path, metavar="RUN", help="the run it was made of: ask with all its test pictures too"
        )
    else:
        _add_place(sub)
        if job == "rollback":
            sub.add_argument("--to", type=int, metavar="VERSION", help="default: the one before the newest")
        else:
            sub.add_argument("--keep", type=int, required=True, metavar="N", help="of the newest versions of each kind")
    sub.add_argument("--quiet", action="store_true", help="only warnings and results")
    return parser


def _add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="EXPORTS", help="folder of all exported models")
    parser.add_argument("--model", default="fused", metavar="NAME", help="of the trained model (default fused)")


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(job="export")
    parser.add_argument(
        "--workdir", type=Path, required=True, metavar="RUN", help="a finished run of python -m trainer"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="EXPORTS", help="folder of all exported models")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML with keys of export/config.py")
    parser.add_argument("--model", metavar="NAME", help="which of the run's models (default fused)")
    parser.add_argument("--precision", metavar="P", help="of the encoder: float32 (default), bfloat16 or auto")
    parser.add_argument("--target", metavar="T", help="what will serve: cpu (default), gpu or tpu")
    parser.add_argument("--keep", type=int, metavar="N", help="versions of each kind to keep (default all)")
    parser.add_argument(
        "--set",
        dest="changes",
        nargs="+",
        action="extend",
        default=[],
        metavar="a.b=value",
        help="change single keys of the configuration, for example top_k=20 index.dtype=int8",
    )
    parser.add_argument("--quiet", action="store_true", help="only warnings and results")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one job and answers the exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser(arguments).parse_args(arguments)
    log_to_stderr(options.quiet)
    return exit_code(lambda: _work(options), interrupted="nothing half is left")


def _work(options: argparse.Namespace) -> int | None:
    try:
        importlib.import_module(f"export.jobs.{options.job}").run(options)
    except VerificationError as error:
        if options.job == "verify":
            print(f"error: {error}", file=sys.stderr)
            return 2
        print(f"error: nothing was published, since it does not hold what it promises: {error}", file=sys.stderr)
        return 1
    return None


if __name__ == "__main__":
    sys.exit(main())
