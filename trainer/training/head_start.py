"""How a head begins: standardised with the training split's statistics, and in closed form where that is wanted."""

from __future__ import annotations

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
from sklearn.preprocessing import StandardScaler

from trainer.models.standardisation import Standardisation
from trainer.training.discriminant import fit_discriminant
from trainer.training.head_features import HeadFeatures
from trainer.training.posterior_start import (
    LOGIT_SCALE,
    classifier_weights,
    randomise_posterior_head,
    start_posterior_head,
)

__all__ = ["LOGIT_SCALE", "randomise_head", "start_head"]

COMPLEMENT_SCALE = 0.35
"""Length of the directions beside the discriminant ones in a linear head. 0.3 to 0.4 were best for hit@1 in
cross-validation."""


def _has(head: keras.Model, layer: str) -> bool:
    return any(known.name == layer for known in head.layers)


def start_head(head: keras.Model, features: HeadFeatures, num_classes: int, *, discriminant: bool) -> None:
    """Sets a head's standardisation, and in closed form its projection and classifier.

    For a posterior head see `start_posterior_head`. A linear head's projection begins with the shrunken linear
    discriminant's directions, in which classes are told apart, followed by whitened directions beside them at
    `COMPLEMENT_SCALE`, in which products of one class differ. The classifier begins as the cosine to each class's
    centre, at `LOGIT_SCALE`, plus the weighted logarithm of its share. A head without a projection, CLIP's or the
    baseline's, has the classifier of the discriminant itself.

    Args:
        head: as `trainer.models.head` builds it.
        features: of the training items.
        num_classes: C.
        discriminant: false for weights as `randomise_head` draws them. CLIP's head, which has a classifier alone to
            learn, then begins at 0, since chance is of no use to a convex problem; the baseline, whose features are
            not of unit length, keeps the weights it was made with.
    """
    standardised = [part for part in features.views if _has(head, f"{part}_standardisation")]
    for part in standardised:
        _standardise(head.get_layer(f"{part}_standardisation"), features, part)
    if discriminant and _has(head, "rotation"):
        start_posterior_head(head, features, num_classes)
    elif discriminant and _has(head, "projection"):
        _start_projection(head, features, num_classes)
    elif discriminant:
        _start_classifier(head, features, num_classes)
    elif _has(head, "projection"):
        randomise_head(head)
    elif standardised:
        classifier = head.get_layer("classifier")
        classifier.set_weights([np.zeros(weight.shape) for weight in classifier.weights])


def _standardise(layer: Standardisation, features: HeadFeatures, part: str) -> None:
    scaler = StandardScaler()
    for values, _ in features.chunks():
        scaler.partial_fit(values[part].astype(np.float64))
    layer.set_statistics(scaler.mean_, scaler.scale_)


def _start_projection(head: keras.Model, features: HeadFeatures, num_classes: int) -> None:
    projection, classifier = head.get_layer("projection"), head.get_layer("classifier")
    weights = features.part_weights()
    weighted = ((rows * weights, classes) for rows, classes in features.joined(head, "projection"))
    found = fit_discriminant(weighted, num_classes, features.count)
    width = int(projection.kernel.shape[1])
    first = found.directions[:, :width]
    beside = COMPLEMENT_SCALE * found.complement[:, : width - first.shape[1]]
    kernel = np.zeros(projection.kernel.shape)
    kernel[:, : first.shape[1] + beside.shape[1]] = np.concatenate([first, beside], axis=1)
    # Only directions count, since the embedding has unit length; this keeps the numbers near 1.
    kernel /= np.linalg.norm(first) or 1.0  # 0 where nothing tells the classes apart
    projection.set_weights([weights[:, None] * kernel, -found.mean @ kernel])
    towards, bias = classifier_weights(found, first.shape[1])
    classifier.set_weights([np.pad(towards, ((0, classifier.kernel.shape[0] - len(towards)), (0, 0))), bias])


def randomise_head(head: keras.Model, seed: int = 0) -> None:
    """Sets projection and classifier to random values; each class's vector has the length `LOGIT_SCALE`.

    Shorter ones, as Keras would draw them, give logits of unit-length rows that are all alike, for long, and next to no
    gradient to what is below.
    """
    random = np.random.default_rng(seed)
    if _has(head, "rotation"):
        randomise_posterior_head(head, random)
        return
    for name in ("projection", "classifier"):
        if not _has(head, name):
            continue
        layer = head.get_layer(name)
        kernel = random.normal(size=layer.kernel.shape)
        kernel /= np.linalg.norm(kernel, axis=0, keepdims=True)
        layer.set_weights([kernel * (LOGIT_SCALE if name == "classifier" else 1.0), np.zeros(layer.bias.shape)])


def _start_classifier(head: keras.Model, features: HeadFeatures, num_classes: int) -> None:
    found = fit_discriminant(features.joined(head, "classifier"), num_classes, features.count)
    kernel = found.directions @ found.centres.T
    bias = found.log_priors - 0.5 * np.square(found.centres).sum(axis=1) - found.mean @ kernel
    head.get_layer("classifier").set_weights([kernel, bias])
