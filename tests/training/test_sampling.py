"""The configured sampler is the one that a stage gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import pytest
from pydantic import ValidationError

from trainer.config.sampling import SamplerConfig
from trainer.data.balanced_sampler import BalancedBatches
from trainer.data.sampler import ShuffledEpochs
from trainer.training.hard_negatives import HardNegativeBatches
from trainer.training.sampling import build_sampler

LABELS = np.repeat(np.arange(6), (2, 4, 6, 8, 10, 12))


def built(folder: Path, **options: Any) -> Any:
    return build_sampler(SamplerConfig.model_validate(options), LABELS, 24, 5, folder)


def test_each_kind(tmp_path: Path) -> None:
    shuffled, balanced = built(tmp_path), built(tmp_path, kind="balanced", classes=6, draw="share")
    assert isinstance(shuffled, ShuffledEpochs)
    assert (shuffled.count, shuffled.seed) == (42, 5)
    assert isinstance(balanced, BalancedBatches)
    same = BalancedBatches(LABELS, 6, 4, 5, "share")
    assert [balanced.group(number).tolist() for number in range(30)] == [same.group(n).tolist() for n in range(30)]


def test_hard_negatives_with_their_settings(tmp_path: Path) -> None:
    options: dict[str, Any] = {"draw": "sqrt", "per_row": 2, "skip_nearest": 0.1, "refresh_epochs": 2}
    mined = built(tmp_path, kind="hard_negatives", classes=4, **options)
    same = HardNegativeBatches(LABELS, 4, 6, 5, tmp_path / "same", **options)
    vectors = np.random.default_rng(0).normal(size=(42, 3))
    assert all(sampler.refresh(0, lambda: vectors) and not sampler.refresh(1, None) for sampler in (mined, same))
    assert [mined.group(number).tolist() for number in range(30)] == [same.group(n).tolist() for n in range(30)]
    assert np.load(tmp_path / "negatives-0.npy").shape == (42, 2)


def test_a_batch_is_divided_among_its_classes() -> None:
    assert SamplerConfig(kind="balanced", classes=6).per_class(24) == 4
    with pytest.raises(ValueError, match=r"batch_size that sampler.classes=5 divides, received 24; take 25"):
        SamplerConfig(classes=5).per_class(24)
    with pytest.raises(ValidationError, match="even number of classes for hard_negatives, received 5"):
        SamplerConfig(kind="hard_negatives", classes=5)
    with pytest.raises(ValidationError):
        SamplerConfig(skip_nearest=1.0)
