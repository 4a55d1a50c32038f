"""A model as evaluated, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.config import Config
from trainer.evaluation.analyses import Evaluated
from trainer.retrieval import EmbeddingTable, measure_queries


@pytest.fixture
def evaluated(tmp_path: Path) -> Callable[..., Evaluated]:
    """Makes one of a table with splits (by default all of it is `test`) and of sections of the configuration."""

    def make(table: EmbeddingTable, evaluate: dict[str, Any] | None = None, **sections: Any) -> Evaluated:
        sections = {"model": {"names": ["resnet50"]}, "evaluate": evaluate or {}, **sections}
        config = Config.model_validate(sections)
        splits = table.attributes.get("split", np.full(len(table), "test"))
        queries = table.select(splits == "test")
        measured = measure_queries(queries, queries, config.evaluate.ks, same_table=True, relevance=config.relevance)
        return Evaluated(config, tmp_path, "resnet50", table, "test", queries, measured)

    return make
