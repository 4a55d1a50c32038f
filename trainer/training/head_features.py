"""What a head learns from: cached features of the training items, with their classes and attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np

from trainer.training.features import FeatureRows

__all__ = ["HeadFeatures"]

_CHUNK = 4096


@dataclass(frozen=True)
class HeadFeatures:
    """Cached features of the training items, in one or several views, as the rows that a head learns from.

    Attributes:
        views: for each part its features in each view, N items each.
        item_classes: int32 `[N]`.
        item_codes: for each attribute that the head is to agree on, codes of its values from 0, -1 where there is none:
            int32 `[N]`.
    """

    views: Mapping[str, Sequence[FeatureRows]]
    item_classes: np.ndarray
    item_codes: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of rows: N times the number of views."""
        return len(self.item_classes) * self._views

    @property
    def _views(self) -> int:
        return len(next(iter(self.views.values())))

    @property
    def widths(self) -> dict[str, int]:
        """Width of each part's features."""
        return {part: views[0].width for part, views in self.views.items()}

    @property
    def classes(self) -> np.ndarray:
        """Class numbers int32 of all rows."""
        return np.tile(self.item_classes, self._views)

    def count_of(self, attribute: str) -> int:
        """Number of rows that have a value of the attribute."""
        return int((self.item_codes[attribute] >= 0).sum()) * self._views

    def part_weights(self) -> np.ndarray:
        """`[F]`: every feature of every part weighs the same, although each part as a whole has unit length."""
        widths = np.array(list(self.widths.values()), np.float64)
        return np.repeat(np.sqrt(widths / widths.max()), widths.astype(int))

    def read(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Features `{part: float32 [n, width]}` of rows int64 `[n]`; view v of item i is row `v * N + i`."""
        items = len(self.item_classes)
        answer = {}
        for part, views in self.views.items():
            values = np.empty((len(rows), views[0].width), np.float32)
            for number, view in enumerate(views):
                chosen = rows // items == number
                values[chosen] = view.read(rows[chosen] % items)
            answer[part] = values
        return answer

    def chunks(self, attribute: str | None = None) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
        """All rows in order, a few thousand at a time, with their classes; or those with a value of an attribute."""
        codes = self.classes if attribute is None else np.tile(self.item_codes[attribute], self._views)
        known = np.flatnonzero(codes >= 0)
        for start in range(0, len(known), _CHUNK):
            rows = known[start : start + _CHUNK]
            yield self.read(rows), codes[rows]

    def joined(
        self, head: keras.Model, layer: str, attribute: str | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """As `chunks`, the rows as they enter a layer of the head: float32 `[n, width]`."""
        until = keras.Model(head.input, head.get_layer(layer).input)
        for values, codes in self.chunks(attribute):
            yield keras.ops.convert_to_numpy(until(values)), codes
