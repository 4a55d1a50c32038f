"""How far an optimised encoder moved from the trained model, and whether that is too far."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from trainer.errors import InputError
from trainer.retrieval import EmbeddingTable, retrieval_metrics

__all__ = ["Drift", "measure_drift"]

_HIT_RATE = "hit_rate@1"


@dataclass(frozen=True)
class Drift:
    """Of the embeddings of the same pictures, before and after.

    Attributes:
        pictures: how many were compared.
        mean_cosine: between a picture's two embeddings.
        min_cosine: of the picture that moved most.
        max_difference: the greatest absolute difference of any component.
        hit_rate_before: share of the pictures whose nearest other one has their label, by the trained model.
        hit_rate_after: the same by the optimised one.
    """

    pictures: int
    mean_cosine: float
    min_cosine: float
    max_difference: float
    hit_rate_before: float
    hit_rate_after: float

    def as_dict(self) -> dict[str, float]:
        """For the manifest."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        return (
            f"drift over {self.pictures} pictures: cosine {self.mean_cosine:.6f} (least {self.min_cosine:.6f}), "
            f"hit_rate@1 {self.hit_rate_before:.4f} before, {self.hit_rate_after:.4f} after"
        )

    def check(self, min_cosine: float, max_hit_rate_loss: float) -> None:
        """Refuses what moved too far.

        Args:
            min_cosine: the least mean cosine.
            max_hit_rate_loss: how much the hit rate may fall.

        Raises:
            InputError: it moved further.
        """
        # written so that a NaN is refused
        if not self.mean_cosine >= min_cosine:
            raise InputError(
                f"expected the optimised encoder to keep a mean cosine of {min_cosine} to the trained model, received "
                f"{self.mean_cosine:.6f}; export with precision: float32, or lower max_drift.min_cosine"
            )
        if not self.hit_rate_before - self.hit_rate_after <= max_hit_rate_loss:
            raise InputError(
                f"expected the optimised encoder to lose at most {max_hit_rate_loss} of hit_rate@1, received "
                f"{self.hit_rate_before:.4f} before and {self.hit_rate_after:.4f} after; export with precision: "
                "float32, or raise max_drift.max_hit_rate_loss"
            )


def measure_drift(
    before: np.ndarray, labels: np.ndarray, embed: Callable[[slice], np.ndarray], batch_size: int = 32
) -> Drift:
    """Compares the trained model's embeddings with those of the optimised encoder.

    Args:
        before: float32 `[N, D]`, the trained model's, such as its evaluation wrote them.
        labels: `[N]` strings.
        embed: from rows to what the optimised encoder makes of their pictures, `[b, D]`.
        batch_size: how many rows to ask for at once.

    Raises:
        InputError: there are fewer than two pictures.
    """
    count = len(before)
    if count < 2:
        raise InputError(f"expected at least 2 pictures to measure the drift with, received {count}; give more")
    batches = [embed(slice(start, min(start + batch_size, count))) for start in range(0, count, batch_size)]
    after = np.concatenate(batches)
    lengths = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    cosines = (before * after).sum(axis=1) / lengths
    return Drift(
        pictures=count,
        mean_cosine=float(cosines.mean()),
        min_cosine=float(cosines.min()),
        max_difference=float(np.abs(before - after).max()),
        hit_rate_before=_hit_rate(before, labels),
        hit_rate_after=_hit_rate(after, labels),
    )


def _hit_rate(vectors: np.ndarray, labels: np.ndarray) -> float:
    if not np.all(np.isfinite(vectors)):
        return float("nan")
    ids = np.arange(len(vectors)).astype(str)
    table = EmbeddingTable(ids, vectors, {"label": np.asarray(labels).astype(str)})
    rate = retrieval_metrics(table, table, (1,), same_table=True)[_HIT_RATE]
    return 0.0 if rate is None else float(rate)  # no two of one label: nothing to find, nothing to lose
