"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_root() -> Path:
    """The folder with the real catalogue and weights, named by SHOPPIN_SHARED; without it such tests are skipped."""
    value = os.environ.get("SHOPPIN_SHARED")
    if not value:
        pytest.skip("SHOPPIN_SHARED does not name a folder with the real catalogue and weights")
    root = Path(value)
    if not (root / "data" / "fashion-products" / "styles.csv").is_file():
        pytest.fail(f"SHOPPIN_SHARED={value} holds no data/fashion-products/styles.csv")
    return root
