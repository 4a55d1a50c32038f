"""When to say that nothing matches: a similarity below which the best result is not shown.

What precision and recall are here is said in `trainer.evaluation.trials`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainer.config.no_match import NoMatchConfig
from trainer.data.items import SPLIT, TEST, TRAIN, VALIDATION
from trainer.errors import InputError
from trainer.evaluation.analyses import Evaluated, analysis_path
from trainer.evaluation.intervals import bootstrap_interval
from trainer.evaluation.sampling import sample_rows
from trainer.evaluation.trials import Trials, ask_twice
from trainer.retrieval import EmbeddingTable

__all__ = ["NoMatch", "choose_threshold", "no_match", "read_no_match"]

_log = logging.getLogger(__name__)
_FEWEST = 10
"""Answers that a precision must rest on, for the target to count as reached."""
_MOST = 5_000
"""Queries that are asked, twice each, of a split; more would tell the threshold no better."""
_POINTS = 100
_CELLS = 8_388_608


@dataclass(frozen=True)
class NoMatch:
    """The threshold of a model.

    Attributes:
        threshold: a cosine similarity; a best result below it is no good match.
        target: `f1` or `precision`.
        value: the precision asked for, None for `f1`.
        reached: whether `value` was reached where it was calibrated; if not, the threshold is that of the highest
            precision there. Always true for `f1`.
        absent: the share of questions about absent classes that precision is for.
        calibrated_on: the split that it was chosen on.
        on: split to `precision`, `recall` and more of it at the threshold.
    """

    threshold: float
    target: str
    value: float | None
    reached: bool
    absent: float
    calibrated_on: str
    on: Mapping[str, Mapping[str, Any]]


def no_match(evaluated: Evaluated) -> dict[str, Any] | None:
    """Chooses the threshold on validation and measures it there and on test.

    Returns:
        `threshold`, `target`, `value`, `reached`, `absent`, `calibrated_on` (see `NoMatch`); `on`: for each split
        `queries`, `queries_without_match`, `precision`, `recall`, `f1`, `answered`, `answered_absent`, and `intervals`
        of precision and recall (95 %, bootstrap over queries, the threshold held); `curve`: rows of `threshold`,
        `precision` and `recall` on the split of calibration. None where `evaluate.no_match` is null, or where
        validation has no items or none that something could be found for.
    """
    config = evaluated.config.evaluate.no_match
    if config is None:
        return None
    present = set(evaluated.table.attributes[SPLIT])
    trials = {split: _trials(evaluated.table, split, config.absent) for split in (VALIDATION, TEST) if split in present}
    calibration = trials.get(VALIDATION)
    if calibration is None or not np.isfinite(calibration.own).any():
        _log.warning("%s: no validation items with something to find, so no threshold is calibrated", evaluated.model)
        return None
    threshold, reached = choose_threshold(calibration, config)
    if not reached:
        best = calibration.at(np.array([threshold]))["precision"][0]
        _log.warning(
            "%s: no threshold has precision %g on validation; the highest is %.3f, at %.4f",
            evaluated.model,
            config.value,
            best,
            threshold,
        )
    resamples = evaluated.config.evaluate.resamples
    return {
        "threshold": threshold,
        "target": config.target,
        "value": config.value if config.target == "precision" else None,
        "reached": reached,
        "absent": config.absent,
        "calibrated_on": VALIDATION,
        "on": {split: _measured(asked, threshold, resamples) for split, asked in trials.items()},
        "curve": _curve(calibration, threshold),
    }


def choose_threshold(trials: Trials, config: NoMatchConfig) -> tuple[float, bool]:
    """The threshold that meets the target, and whether it does.

    `f1`: the highest F1; of equal ones the lowest threshold. `precision`: of the thresholds at which precision is at
    least `config.value`, the lowest, which has the highest recall; only those with ten answers or more are looked at,
    since a few answers are all right by chance. Where there is none, that of the highest precision.

    Args:
        trials: at least one present query.
        config: the target.
    """
    thresholds = trials.thresholds()
    at = trials.at(thresholds)
    if config.target == "f1":
        return float(thresholds[at["f1"].argmax()]), True
    supported = trials.answers(thresholds) >= _FEWEST
    enough = np.flatnonzero(supported & (at["precision"] >= config.value))
    if len(enough):
        return float(thresholds[enough[0]]), True
    return float(thresholds[np.where(supported, at["precision"], -1.0).argmax()]), False


def read_no_match(workdir: Path, model: str) -> NoMatch | None:
    """The threshold that `evaluate` calibrated for a model of a run; None where it has not.

    Raises:
        InputError: what was written cannot be read.
    """
    path = analysis_path(workdir, model, "no_match")
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return NoMatch(**{name: found[name] for name in NoMatch.__dataclass_fields__})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"expected a calibrated threshold in {path}, it cannot be read; run evaluate again") from error


def _trials(table: EmbeddingTable, split: str, absent: float) -> Trials:
    splits = table.attributes[SPLIT]
    asked = sample_rows(table.select(splits == split), _MOST, 0)
    return ask_twice(asked, table.select(np.isin(splits, (TRAIN, split))), absent)


def _measured(trials: Trials, threshold: float, resamples: int) -> dict[str, Any]:
    at = {name: float(value[0]) for name, value in trials.at(np.array([threshold])).items()}
    lone = ~np.isfinite(trials.own)
    row: dict[str, Any] = {"queries": len(lone), "queries_without_match": int(lone.sum()), **at}
    if resamples:
        row["intervals"] = _intervals(trials, threshold, resamples)
    return row


def _intervals(trials: Trials, threshold: float, resamples: int) -> dict[str, list[float]]:
    """Ends of the 95 % intervals, where there are any."""
    present, missing = np.isfinite(trials.own), np.isfinite(trials.other)
    right = (trials.own > trials.other) & (trials.own >= threshold)
    answered = present & (np.maximum(trials.own, trials.other) >= threshold)
    false = missing & (trials.other >= threshold)
    found = (1 - trials.absent) * right / max(1, present.sum())
    shown = (1 - trials.absent) * answered / max(1, present.sum()) + trials.absent * false / max(1, missing.sum())
    intervals = {}
    if present.any():
        intervals["recall"] = list(bootstrap_interval(right[present].astype(np.float64), resamples=resamples))
    low, high = _ratio_interval(found, shown, resamples)
    # NaN where a resample answers nothing, of no width where every answer is right: neither says how sure it is.
    if low < high:
        intervals["precision"] = [low, high]
    return intervals


def _ratio_interval(found: np.ndarray, shown: np.ndarray, resamples: int) -> tuple[float, float]:
    """Percentiles of the sum of `found` over that of `shown`, of queries drawn anew."""
    draw, size = np.random.default_rng(0), len(found)
    both = np.stack([found, shown], axis=1)
    step = max(1, _CELLS // size)
    sums = np.concatenate(
        [
            both[draw.integers(0, size, (min(step, resamples - start), size))].sum(axis=1)
            for start in range(0, resamples, step)
        ]
    )
    ratios = np.divide(sums[:, 0], sums[:, 1], out=np.full(resamples, np.nan), where=sums[:, 1] > 0)
    low, high = np.quantile(ratios, (0.025, 0.975))
    return float(low), float(high)


def _curve(trials: Trials, chosen: float) -> list[dict[str, float]]:
    """About `_POINTS` thresholds, evenly spread over the trials' scores, and the one chosen."""
    thresholds = trials.thresholds()
    spread = thresholds[np.unique(np.linspace(0, len(thresholds) - 1, _POINTS).round().astype(int))]
    shown = np.union1d(spread, chosen)
    at = trials.at(shown)
    return [
        {"threshold": float(t), "precision": float(p), "recall": float(r)}
        for t, p, r in zip(shown, at["precision"], at["recall"], strict=True)
    ]
