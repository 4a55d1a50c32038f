"""What each way of post-processing a search brings, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from trainer.data.items import SPLIT, TRAIN, VALIDATION
from trainer.evaluation.analyses import DEPTH, Evaluated
from trainer.evaluation.intervals import paired_tests
from trainer.evaluation.sampling import sample_rows
from trainer.retrieval import EmbeddingTable, QueryMetrics
from trainer.retrieval.postprocessing import (
    Flip,
    QueryExpansion,
    Reranking,
    Search,
    Step,
    Whitening,
    apply_steps,
)

__all__ = ["COMBINATIONS", "ITEMS", "ablations"]

ITEMS = 4_000
"""Of a split with more items so many take part, drawn by the seed: rankings are measured at full depth."""

REPEATS = 5

COMBINATIONS = (
    ("flip",),
    ("whitening",),
    ("query expansion",),
    ("re-ranking",),
    ("flip", "whitening"),
    ("flip", "query expansion"),
    ("flip", "re-ranking"),
    ("whitening", "query expansion"),
    ("whitening", "re-ranking"),
    ("re-ranking", "query expansion"),
    ("flip", "re-ranking", "query expansion"),
)
"""What is measured beside the plain search. Steps that encode anew come first; query expansion asks with what was found
last, since after it the queries are no longer those of the table."""


def ablations(evaluated: Evaluated) -> list[dict[str, Any]] | None:
    """A row for the plain search and each of `COMBINATIONS`; None where `evaluate.ablations` does not ask for it.

    Each method's settings are those of a small grid with the highest precision at the largest K on the validation
    split, the first of equals; combinations use the settings chosen for each method alone. The split reported never
    chooses: where it is the validation split, or there is none, the first settings of each grid are used. Whitening is
    fitted on the training split. Without embeddings of mirrored pictures (`Evaluated.encode`) there is no flip.

    Returns:
        Rows of

        - `method`, `settings` (as Python), `chosen_on` (`validation`, or None);
        - `queries`, `queries_without_match`, and the mean of every metric, None where no query counts;
        - `change`, `change_intervals` and `p_value`, beside all but the plain search: each metric's paired difference
          to the plain search, its 95 % interval and its p-value, not corrected for the number of methods; left out
          where `evaluate.resamples` is 0;
        - `milliseconds` a query on one core of this machine to rank the `DEPTH` best, the median of `REPEATS` runs with
          all queries asked at once: the search and all steps, what is done to the table included, but not the encoder,
          which runs twice for flip;
        - `bytes` of the table and what lies beside it, a row.
    """
    config = evaluated.config
    asked = {"none": (), "last": config.model.names[-1:], "all": config.model.names}[config.evaluate.ablations]
    if evaluated.model not in asked:
        return None
    plain = _search(sample_rows(evaluated.queries, ITEMS, config.seed))
    validation = None if evaluated.split == VALIDATION else _split(evaluated, VALIDATION)
    chosen: dict[str, Step] = {} if evaluated.encode is None else {"flip": Flip(evaluated.encode("mirrored"))}
    chosen |= _choose(evaluated, None if validation is None else _search(validation))
    methods = [names for names in COMBINATIONS if chosen.keys() >= set(names)]
    base = plain.measure(config.evaluate.ks, config.relevance)
    rows: list[dict[str, Any]] = [
        {"method": "plain", "settings": "", "chosen_on": None, **base.means(), **_costs(plain, ())}
    ]
    for names in tqdm(methods, desc=f"{evaluated.model}: ablations", unit="method", leave=False):
        steps = [chosen[name] for name in names]
        measured = apply_steps(plain, steps).measure(config.evaluate.ks, config.relevance)
        facts = {
            "method": " + ".join(names),
            "settings": ", ".join(map(repr, steps)),
            "chosen_on": None if validation is None or names == ("flip",) else VALIDATION,
        }
        rows.append({**facts, **measured.means(), **_costs(plain, steps)})
        if config.evaluate.resamples:
            rows[-1] |= _compared(base, measured, config.evaluate.resamples)
    return rows


def _grids(train: EmbeddingTable | None) -> Iterator[tuple[str, list[Step]]]:
    """The settings of each method, the customary ones first."""
    most = 0 if train is None else min(train.dimension, len(train) - 1)
    if train is not None and most:
        widths = [most // part for part in (1, 2, 4) if most // part]
        axes = Whitening.fit(train)
        yield "whitening", [replace(axes.narrowed(width), strength=to) for to in (1.0, 0.5) for width in widths]
    yield "query expansion", [QueryExpansion(n, alpha) for n in (10, 5, 3, 20) for alpha in (3.0, 0.0)]
    sizes = ((20, 6), (10, 3), (40, 10))
    yield "re-ranking", [Reranking(k1, k2, lambda_) for k1, k2 in sizes for lambda_ in (0.3, 0.6)]


def _choose(evaluated: Evaluated, validation: Search | None) -> dict[str, Step]:
    """The best of each method's settings."""
    k = max(evaluated.config.evaluate.ks)
    chosen: dict[str, Step] = {}
    for name, grid in _grids(_split(evaluated, TRAIN)):
        chosen[name] = grid[0]
        if validation is not None:
            bar = tqdm(grid, desc=f"{evaluated.model}: {name}", unit="setting", leave=False)
            found = [step(validation).measure([k]).means()[f"precision@{k}"] or 0.0 for step in bar]
            chosen[name] = grid[int(np.argmax(found))]
    return chosen


def _split(evaluated: Evaluated, split: str) -> EmbeddingTable | None:
    """The items of a split that take part, None where it has fewer than two."""
    mask = evaluated.table.attributes[SPLIT] == split
    return sample_rows(evaluated.table.select(mask), ITEMS, evaluated.config.seed) if mask.sum() > 1 else None


def _search(table: EmbeddingTable) -> Search:
    """All rows query each other, to full depth."""
    return Search(table, table, same_table=True, depth=len(table))


def _compared(plain: QueryMetrics, measured: QueryMetrics, resamples: int) -> dict[str, dict[str, Any]]:
    tests = paired_tests(plain.values, measured.values, resamples=resamples)
    return {
        "change": {name: test.difference for name, test in tests.items()},
        "change_intervals": {name: test.interval for name, test in tests.items()},
        "p_value": {name: test.p_value for name, test in tests.items()},
    }


def _costs(plain: Search, steps: Sequence[Step]) -> dict[str, float]:
    seconds = []
    with threadpool_limits(1):
        for _ in range(REPEATS):
            fresh = replace(plain, depth=DEPTH)  # has found nothing yet
            began = time.perf_counter()
            found = apply_steps(fresh, steps)
            asked = len(found.result)
            seconds.append(time.perf_counter() - began)
    return {"milliseconds": 1000 * float(np.median(seconds)) / asked, "bytes": round(found.bytes_per_row)}
