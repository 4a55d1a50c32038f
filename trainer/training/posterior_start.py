"""How a posterior head begins: its directions, its classifiers and its rotation in closed form."""

from __future__ import annotations

from collections.abc import Iterator

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np

from trainer.models.posterior_head import layer_name
from trainer.training.discriminant import Discriminant, fit_discriminant
from trainer.training.head_features import HeadFeatures

__all__ = ["LOGIT_SCALE", "PRIOR_WEIGHT", "classifier_weights", "randomise_posterior_head", "start_posterior_head"]

LOGIT_SCALE = 20.0
"""Inverse temperature of the cosine classifier: small enough that fine-tuning begins with a moderate loss."""

PRIOR_WEIGHT = 1.0 / 3.0
"""Weight of the classes' log shares beside it; cross-validation wants them a sixtieth of the scale or less."""


def start_posterior_head(head: keras.Model, features: HeadFeatures, num_classes: int) -> None:
    """Sets all of a posterior head but its standardisation, which must be set already.

    The label's directions are those of the shrunken linear discriminant; its classifier is the cosine to each class's
    centre along them. An attribute's are found the same way among what `projection` answers. The rotation turns the
    embedding onto its principal axes, most important first, so that its first columns are the best shorter embedding.

    Args:
        head: of `trainer.models.posterior_head.build_posterior_head`.
        features: of the training items, with codes of each attribute of the head.
        num_classes: C.
    """
    weights = features.part_weights()
    weighted = ((rows * weights, classes) for rows, classes in features.joined(head, "projection"))
    found = fit_discriminant(weighted, num_classes, features.count)
    _set_projection(head, found, weights)
    head.get_layer("classifier").set_weights(classifier_weights(found, head.get_layer("direction").output.shape[-1]))
    for attribute, codes in features.item_codes.items():
        _start_attribute(head, features, attribute, int(codes.max()) + 1)
    head.get_layer("rotation").set_weights([_principal_axes(head, features)])


def classifier_weights(found: Discriminant, width: int) -> list[np.ndarray]:
    """Kernel `[width, C]` and bias `[C]` of the cosine classifier, at `LOGIT_SCALE`, on the first columns."""
    centres = found.centres[:, :width]
    lengths = np.linalg.norm(centres, axis=1, keepdims=True)
    towards = np.zeros((width, len(centres)))
    towards[: centres.shape[1]] = LOGIT_SCALE * (centres / np.maximum(lengths, 1e-12)).T
    return [towards, PRIOR_WEIGHT * found.log_priors]


def _set_projection(head: keras.Model, found: Discriminant, weights: np.ndarray) -> None:
    projection = head.get_layer("projection")
    told = head.get_layer("direction").output.shape[-1]
    kernel = np.zeros(projection.kernel.shape)
    directions, complement = found.directions[:, :told], found.complement[:, : kernel.shape[1] - told]
    kernel[:, : directions.shape[1]] = directions
    kernel[:, told : told + complement.shape[1]] = complement
    # Only directions count, since what follows has unit length; this keeps the numbers near 1.
    kernel /= np.linalg.norm(directions) or 1.0  # 0 where nothing tells the classes apart
    projection.set_weights([weights[:, None] * kernel, -found.mean @ kernel])


def _start_attribute(head: keras.Model, features: HeadFeatures, attribute: str, count: int) -> None:
    name = layer_name(attribute)
    direction = head.get_layer(f"{name}_projection")
    known = features.count_of(attribute)
    found = fit_discriminant(features.joined(head, direction.name, attribute), count, known)
    kernel = np.zeros(direction.kernel.shape)
    kernel[:, : found.directions.shape[1]] = found.directions
    kernel /= np.linalg.norm(kernel) or 1.0
    direction.set_weights([kernel, -found.mean @ kernel])
    head.get_layer(f"{name}_classifier").set_weights(classifier_weights(found, kernel.shape[1]))


def _principal_axes(head: keras.Model, features: HeadFeatures) -> np.ndarray:
    """The rotation `[T, D]`: eigenvectors of the second moments of the joined blocks.

    Where the classes are too many for D, their probabilities are first brought to D / 2 columns at random, which keeps
    scalar products nearly (Johnson and Lindenstrauss): principal axes would forget all but the frequent classes.
    """
    total, width = head.get_layer("rotation").kernel.shape
    detail = int(head.get_layer("detail").output.shape[-1])
    classes = total - detail
    basis = np.eye(total)
    if classes > width // 2:
        mixed = max(width // 2, 1)
        random = np.random.default_rng(0).normal(size=(classes, mixed)) / np.sqrt(mixed)
        basis = np.zeros((total, mixed + detail))
        basis[:classes, :mixed] = random
        basis[classes:, mixed:] = np.eye(detail)
    moments = np.zeros((basis.shape[1],) * 2)
    for rows, _ in features.joined(head, "rotation"):
        turned = rows @ basis
        moments += turned.T @ turned
    _, axes = np.linalg.eigh(moments)
    kernel = np.zeros((total, width))
    axes = axes[:, ::-1][:, :width]
    # The sign of an eigenvector is arbitrary; this one does not depend on the machine.
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    kernel[:, : axes.shape[1]] = basis @ axes
    return kernel


def randomise_posterior_head(head: keras.Model, random: np.random.Generator) -> None:
    """Sets all kernels to random values, classifiers at `LOGIT_SCALE`, the rotation orthonormal."""
    for layer in _dense(head):
        kernel = random.normal(size=layer.kernel.shape)
        if layer.name == "rotation":
            tall = kernel.shape[0] >= kernel.shape[1]
            kernel = np.linalg.qr(kernel)[0] if tall else np.linalg.qr(kernel.T)[0].T
            layer.set_weights([kernel])
            continue
        kernel /= np.linalg.norm(kernel, axis=0, keepdims=True)
        scale = LOGIT_SCALE if layer.name.endswith("classifier") else 1.0
        layer.set_weights([kernel * scale, np.zeros(layer.bias.shape)])


def _dense(head: keras.Model) -> Iterator[keras.layers.Dense]:
    return (layer for layer in head.layers if isinstance(layer, keras.layers.Dense))
