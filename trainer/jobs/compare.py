"""The job `compare`: is one run better than another, or only luckier?"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainer.config import Config, load_config
from trainer.data.items import TRAIN
from trainer.errors import ConfigError, InputError
from trainer.evaluation.paired_runs import (
    MeasuredRun,
    RunComparison,
    SummarisedMetric,
    compare_runs,
    measure_run,
    significantly_worse,
    summarise_runs,
)
from trainer.evaluation.text_table import text_table
from trainer.files import write_json
from trainer.jobs.evaluate import embeddings_path
from trainer.retrieval import EmbeddingTable

__all__ = ["GATE_FAILED", "run"]

GATE_FAILED = 3
"""The exit code."""

_MANY = 10_000
"""So many items take long enough to show progress."""


@dataclass(frozen=True)
class _Run:
    folder: Path
    model: str
    config: Config

    @property
    def name(self) -> str:
        return f"{self.folder}:{self.model}"


def run(options: argparse.Namespace) -> int:
    """Prints how two runs, or two lists of runs, differ; of one side alone, its means.

    Args:
        options: of the command line: `a`, `b` (or None), `model`, `split`, `gallery`, `metrics`, `gate`,
            `gate_metrics`, `resamples`, `json` and `quiet`.

    Returns:
        The exit code: 0, or `GATE_FAILED` where a gate is asked for and b is significantly worse than a.

    Raises:
        InputError: a run is missing, was not evaluated, or cannot be compared.
    """
    sides = [_side(text, options.model) for text in (options.a, options.b) if text is not None]
    _check(options, sides)
    gates = _names(options.gate_metrics) if options.gate else []
    shown = _names(options.metrics) if options.metrics else _telling(sides)
    metrics = list(dict.fromkeys([*shown, *gates]))
    config = sides[0][0].config
    if any(one.config.relevance != config.relevance for side in sides for one in side):
        print(f"relevance differs among the runs; all are measured by that of {sides[0][0].name}")
    gallery = options.split if options.gallery == "split" else TRAIN
    record: dict[str, Any] = {"split": options.split, "gallery": gallery}
    measured = [[_measured(one, config, metrics, options, gallery) for one in side] for side in sides]
    for letter, side in zip("AB", measured, strict=False):
        print(f"{letter}: {', '.join(one.name for one in side)}")
        record[letter.lower()] = [one.name for one in side]
    protocol = f"{options.split} queries among {gallery} items"
    progress = not options.quiet and sum(len(one.queries) for side in measured for one in side) > _MANY
    failed: Sequence[str] = ()
    if options.b is None:
        summary = summarise_runs(measured[0], metrics, resamples=options.resamples, progress=progress)
        _print_summary(summary, protocol, sum(len(one.queries) for one in measured[0]))
        record["metrics"] = [asdict(row) | {"deviation": row.deviation} for row in summary]
    else:
        comparison = compare_runs(measured[0], measured[1], metrics, resamples=options.resamples, progress=progress)
        _print_comparison(comparison, protocol, shown)
        record |= asdict(comparison)
        record["metrics"] = [asdict(row) | {"verdict": row.verdict} for row in comparison.metrics]
        failed = _gate(comparison, gates, record) if gates else ()
    if options.json is not None:
        write_json(options.json, record)
    return GATE_FAILED if failed else 0


def _check(options: argparse.Namespace, sides: Sequence[Sequence[_Run]]) -> None:
    """Before anything slow begins."""
    if options.gate and options.b is None:
        raise InputError("--gate: expected two runs, the one not to fall behind first; received one side alone")
    if options.resamples < 1:
        raise InputError(f"--resamples: expected at least 1, received {options.resamples}")
    if len({len(side) for side in sides}) > 1:
        raise InputError(
            f"expected as many runs in A as in B, paired in order, received {len(sides[0])} and {len(sides[1])}"
        )


def _side(text: str, model: str | None) -> list[_Run]:
    return [_find(name, model) for name in _names(text)]


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise InputError(f"expected names with a comma between them, received {text!r}")
    return names


def _find(text: str, model: str | None) -> _Run:
    """The run that `RUN` or `RUN:MODEL` names; by default its fused model, or the last one where there is none."""
    folder = Path(text)
    if not folder.is_dir() and ":" in text:
        before, _, model = text.rpartition(":")
        folder = Path(before)
    if not (folder / "config.yaml").is_file():
        raise InputError(
            f"expected the folder of a run (RUN or RUN:MODEL), received {text!r}; {folder} has no config.yaml"
        )
    try:
        config = load_config(folder / "config.yaml")
    except ConfigError as error:
        raise InputError(f"{folder / 'config.yaml'}: {error}") from error
    names: tuple[str, ...] = config.model.names
    model = model or ("fused" if "fused" in names else names[-1])
    if not embeddings_path(folder, model).is_file():
        there = ", ".join(sorted(path.stem for path in (folder / "embeddings").glob("*.parquet"))) or "none at all"
        raise InputError(
            f"expected embeddings of {model!r} in {folder}, received {there}; "
            "run evaluate there first, or give RUN:MODEL or --model"
        )
    return _Run(folder, model, config)


def _telling(sides: Sequence[Sequence[_Run]]) -> list[str]:
    """What tells models apart at a glance; precision and NDCG only at the largest K."""
    ks = sorted(sides[0][0].config.evaluate.ks)
    predicted = all(run.model in run.config.model.names for side in sides for run in side)
    hits = [f"hit_rate@{k}" for k in ks]
    return [
        *(["accuracy"] if predicted else []),
        *hits,
        f"precision@{ks[-1]}",
        f"ndcg@{ks[-1]}",
        "r_precision",
        "map@r",
        "mrr",
    ]


def _measured(
    one: _Run, config: Config, metrics: Sequence[str], options: argparse.Namespace, gallery: str
) -> MeasuredRun:
    """A run measured as `config` says, and at the K that the metrics name."""
    named = {int(found[1]) for name in metrics if (found := re.fullmatch(r"[a-z_]+@(\d+)", name))}
    table = EmbeddingTable.read_parquet(embeddings_path(one.folder, one.model))
    return measure_run(
        one.name,
        table,
        options.split,
        gallery,
        sorted(named | set(config.evaluate.ks)),
        config.relevance,
        progress=not options.quiet and len(table) > _MANY,
    )


def _print_summary(summary: Sequence[SummarisedMetric], protocol: str, queries: int) -> None:
    print(f"{protocol}, {queries} in all\n")
    names = ["metric", "mean", "95 % interval", "deviation"]
    lines = []
    for row in summary:
        deviation = "-" if row.deviation is None else f"{row.deviation:.4f}"
        lines.append([row.metric, f"{row.mean:.4f}", _interval(row.interval), deviation])
    print(text_table(names, lines, numbers=names[1:]))
    print("\nThe interval is for the chance of which queries were asked; the deviation is that of the runs.")


def _print_comparison(comparison: RunComparison, protocol: str, shown: Sequence[str]) -> None:
    print(f"{protocol}, {comparison.pairs} pairs")
    if comparison.only_a or comparison.only_b:
        print(f"left out: {comparison.only_a} queries that only A has, {comparison.only_b} that only B has")
    if comparison.other_galleries:
        print("A and B searched different items, so a difference may be due to these")
    names = ["metric", "A", "B", "B - A", "95 % interval", "p", "verdict"]
    lines = []
    for row in comparison.metrics:
        if row.metric in shown:
            test = row.test
            figures = [f"{row.a:.4f}", f"{row.b:.4f}", f"{test.difference:+.4f}", _interval(test.interval, "+")]
            lines.append([row.metric, *figures, f"{test.p_value:.4f}", row.verdict])
    print("\n" + text_table(names, lines, numbers=names[1:-1]))
    print("\np: of a paired permutation test of each metric alone; below 0.05 the verdict on B is beyond chance")


def _interval(ends: tuple[float, float], sign: str = "") -> str:
    return f"[{ends[0]:{sign}.4f}, {ends[1]:{sign}.4f}]"


def _gate(comparison: RunComparison, metrics: Sequence[str], record: dict[str, Any]) -> tuple[str, ...]:
    corrected, failed = significantly_worse(comparison, metrics)
    record["gate"] = {"p_values": corrected, "worse": failed}
    shown = ", ".join(f"{name} p = {p:.4f}" for name, p in corrected.items())
    print(
        f"gate: {'failed, B is worse in ' + ', '.join(failed) if failed else 'passed'} ({shown}, corrected after Holm)"
    )
    return failed
