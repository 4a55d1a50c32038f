"""The closed-form start of a head: a shrunken linear discriminant, computed from cached features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
from sklearn.preprocessing import StandardScaler

from trainer.training.features import FeatureRows

__all__ = ["fit_standardisation", "scaled_features", "start_discriminant"]

_CHUNK = 4096
