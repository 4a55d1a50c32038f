"""How a head begins: standardised with the training split's statistics, and in closed form where that is wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
from sklearn.preprocessing import StandardScaler

from trainer.models.standardisation import Standardisation
from trainer.training.discriminant import fit_discriminant
from trainer.training.features import FeatureRows

__all__ = ["HeadFeatures", "randomise_head", "start_head"]

COMPLEMENT_SCALE = 0.35
"""Length of the directions beside the discriminant ones. 0.3 to 0.4 were best for hit@1 in cross-validation."""

LOGIT_SCALE = 20.0
"""Inverse temperature of the cosine classifier: small enough that fine-tuning begins with a moderate loss."""

PRIOR_WEIGHT = 1.0 / 3.0
"""Weight of the classes' log shares beside it; cross-validation wants them a sixtieth of the scale or less."""

_CHUNK = 4096


@dataclass(frozen=True)
class HeadFeatures:
    """Cached features of the training items, in one or several views, as the rows that a head learns from.

    Attributes:
        views: for each part its features in each view, N items each.
        item_classes: int32 `[N]`.
    """

    views: Mapping[str, Sequence[FeatureRows]]
    item_classes: np.ndarray

    @property
    def count(self) -> int:
        """Number of rows: N times the number of views."""
        return len(self.item_classes) * len(next(iter(self.views.values())))

    @property
    def widths(self) -> dict[str, int]:
        """Width of each part's features."""
        return {part: views[0].width for part, views in self.views.items()}

    @property
    def classes(self) -> np.ndarray:
        """Class numbers int32 of all rows."""
        return np.tile(self.item_classes, len(next(iter(self.views.values()))))

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

    def chunks(self) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
        """All rows in order, a few thousand at a time, with their classes."""
        classes = self.classes
        for start in range(0, self.count, _CHUNK):
            rows = np.arange(start, min(start + _CHUNK, self.count))
            yield self.read(rows), classes[rows]


def start_head(head: keras.Model, features: HeadFeatures, num_classes: int, *, discriminant: bool) -> None:
    """Sets a head's standardisation, and in closed form its projection and classifier.

    The projection begins with the shrunken linear discriminant's directions, in which classes are told apart, followed
    by whitened directions beside them at `COMPLEMENT_SCALE`, in which products of one class differ. The classifier
    begins as the cosine to each class's centre, at `LOGIT_SCALE`, plus the weighted logarithm of its share.

    Args:
        head: as `trainer.models.head` builds it.
        features: of the training items.
        num_classes: C.
        discriminant: false leaves the projection random, and the classifier random at `LOGIT_SCALE`.
    """
    for part in features.views:
        if any(layer.name == f"{part}_standardisation" for layer in head.layers):
            _standardise(head.get_layer(f"{part}_standardisation"), features, part)
    projects = any(layer.name == "projection" for layer in head.layers)
    if discriminant and projects:
        _start_projection(head, features, num_classes)
    elif discriminant:
        _start_classifier(head, features, num_classes)
    elif projects:
        randomise_head(head)


def _standardise(layer: Standardisation, features: HeadFeatures, part: str) -> None:
    scaler = StandardScaler()
    for values, _ in features.chunks():
        scaler.partial_fit(values[part].astype(np.float64))
    layer.set_statistics(scaler.mean_, scaler.scale_)


def _joined(head: keras.Model, features: HeadFeatures, layer: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The rows as they enter a layer of the head."""
    until = keras.Model(head.input, head.get_layer(layer).input)
    for values, classes in features.chunks():
        yield keras.ops.convert_to_numpy(until(values)), classes


def _part_weights(features: HeadFeatures) -> np.ndarray:
    """`[F]`: every feature of every part weighs the same, although each part as a whole has unit length."""
    widths = np.array(list(features.widths.values()), np.float64)
    return np.repeat(np.sqrt(widths / widths.max()), widths.astype(int))


def _start_projection(head: keras.Model, features: HeadFeatures, num_classes: int) -> None:
    projection, classifier = head.get_layer("projection"), head.get_layer("classifier")
    weights = _part_weights(features)
    weighted = ((rows * weights, classes) for rows, classes in _joined(head, features, "projection"))
    found = fit_discriminant(weighted, num_classes, features.count)
    width = int(projection.kernel.shape[1])
    first = found.directions[:, :width]
    beside = COMPLEMENT_SCALE * found.complement[:, : width - first.shape[1]]
    kernel = np.zeros(projection.kernel.shape)
    kernel[:, : first.shape[1] + beside.shape[1]] = np.concatenate([first, beside], axis=1)
    # Only directions count, since the embedding has unit length; this keeps the numbers near 1.
    kernel /= np.linalg.norm(first) or 1.0  # 0 where nothing tells the classes apart
    projection.set_weights([weights[:, None] * kernel, -found.mean @ kernel])
    centres = found.centres[:, : first.shape[1]]
    lengths = np.linalg.norm(centres, axis=1, keepdims=True)
    towards = np.zeros(classifier.kernel.shape)
    towards[: first.shape[1]] = LOGIT_SCALE * (centres / np.maximum(lengths, 1e-12)).T
    classifier.set_weights([towards, PRIOR_WEIGHT * found.log_priors])


def randomise_head(head: keras.Model, seed: int = 0) -> None:
    """Sets projection and classifier to random values; each class's vector has the length `LOGIT_SCALE`.

    Shorter ones, as Keras would draw them, give logits of a unit-length embedding that are all alike, for long.
    """
    random = np.random.default_rng(seed)
    for name in ("projection", "classifier"):
        layer = head.get_layer(name)
        kernel = random.normal(size=layer.kernel.shape)
        kernel /= np.linalg.norm(kernel, axis=0, keepdims=True)
        layer.set_weights([kernel * (LOGIT_SCALE if name == "classifier" else 1.0), np.zeros(layer.bias.shape)])


def _start_classifier(head: keras.Model, features: HeadFeatures, num_classes: int) -> None:
    found = fit_discriminant(_joined(head, features, "classifier"), num_classes, features.count)
    kernel = found.directions @ found.centres.T
    bias = found.log_priors - 0.5 * np.square(found.centres).sum(axis=1) - found.mean @ kernel
    head.get_layer("classifier").set_weights([kernel, bias])
