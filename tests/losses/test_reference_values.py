"""Our losses answer what pytorch-metric-learning's do: see `make_reference_values.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import pytest

from trainer.losses.build import LOSSES
from trainer.losses.cross_batch_memory import CrossBatchMemory
from trainer.losses.proxy_loss import ProxyLoss

REFERENCE: dict[str, Any] = json.loads(Path(__file__).with_name("reference_values.json").read_text(encoding="utf-8"))
INPUTS = {name: np.array(values) for name, values in REFERENCE["inputs"].items()}


def build(case: str) -> Any:
    kind: Any = LOSSES[case.partition(",")[0]]
    settings = REFERENCE["cases"][case]["settings"]
    if not issubclass(kind, ProxyLoss):
        return kind(**settings)
    loss = kind(num_classes=6, **settings)
    loss.build((None,), (None, 8))
    loss.proxies.assign(INPUTS["proxies"][: loss.proxies.shape[0]])
    return loss


@pytest.mark.parametrize("case", list(REFERENCE["cases"]))
def test_ours_are_theirs(case: str, measure: Any) -> None:
    loss, expected = build(case), REFERENCE["cases"][case]
    if case.endswith("memory"):
        loss = CrossBatchMemory(loss, size=10)
        loss(INPUTS["memory_labels"], INPUTS["memory_embeddings"].astype(np.float32))
    found = measure(loss, INPUTS["labels"], INPUTS["embeddings"])
    assert found.value == pytest.approx(expected["value"], rel=2e-6)
    scale = np.abs(expected["embeddings"]).max()
    np.testing.assert_allclose(found.embeddings, expected["embeddings"], rtol=1e-4, atol=1e-5 * scale)
    if "proxies" in expected:
        scale = np.abs(expected["proxies"]).max()
        np.testing.assert_allclose(found.weights[0], expected["proxies"], rtol=1e-4, atol=1e-5 * scale)


def test_the_reference_has_every_loss() -> None:
    graded = {"graded_contrastive"}  # they have none like it
    assert {case.partition(",")[0] for case in REFERENCE["cases"]} == set(LOSSES) - graded
