"""The configuration of an export: defaults, and one line for what cannot be."""

from __future__ import annotations

import pytest

from export.config import ExportConfig
from trainer.config import load_section
from trainer.errors import ConfigError


def test_defaults() -> None:
    config = load_section(ExportConfig)
    assert (config.model, config.top_k, config.precision, config.target) == ("fused", 50, "float32", "cpu")
    assert (config.attributes, config.filterable, config.keep, config.labels) == (None, None, None, ())
    assert (config.index.type, config.index.dtype) == ("exact", "float32")


@pytest.mark.parametrize(("changes", "threads"), [([], 1), (["target=gpu"], 2), (["batching.num_batch_threads=3"], 3)])
def test_a_processor_works_on_one_batch_at_a_time_and_an_accelerator_on_two(changes: list[str], threads: int) -> None:
    config = load_section(ExportConfig, None, changes)
    suited = config.batching.suited_to(config.target)
    assert suited.num_batch_threads == threads
    assert suited.allowed_batch_sizes == config.batching.allowed_batch_sizes


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["top_k=0"], "top_k: expected greater than or equal to 1, received 0"),
        (["topk=3"], "the nearest known key is top_k"),
        (["precision=float16"], "precision: expected 'float32', 'bfloat16' or 'auto', received 'float16'"),
        (["model=../fused"], "model: expected"),
        (["labels=['a b']"], "labels.0: expected"),
        (["keep=0"], "keep: expected greater than or equal to 1, received 0"),
        (["attributes=[a, a]"], "attributes: expected each of them once"),
        (["attributes=[a]", "filterable=[b]"], "expected filterable among the attributes ['a'], received ['b']"),
        (["index.type=approximate"], "expected target: tpu for index.type: approximate, received cpu"),
        (["index.dtype=int8", "target=gpu"], "expected target: cpu for index.dtype: int8"),
        (["index.type=ivf", "index.dtype=int8"], "index: expected dtype: float32 for type: ivf, received int8"),
        (["index.nprobe=3"], "index: expected lists and nprobe for type: ivf only"),
        (["index={type: ivf, lists: 4, nprobe: 5}"], "index: expected nprobe of at most lists=4, received 5"),
        (["batching.allowed_batch_sizes=[2, 1]"], "batching: expected rising allowed_batch_sizes, received [2, 1]"),
        (["batching.allowed_batch_sizes=[]"], "batching.allowed_batch_sizes: expected"),
        (["batching.allowed_batch_sizes=[1, 1]"], "batching.allowed_batch_sizes: expected each of them once"),
        (["max_drift.min_cosine=1.5"], "max_drift.min_cosine: expected less than or equal to 1"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(changes: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_section(ExportConfig, None, changes)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_can_be() -> None:
    changes = ["index={type: ivf, lists: 5, nprobe: 5}", "attributes=[label]", "filterable=[label]", "keep=3"]
    config = load_section(ExportConfig, None, [*changes, "batching.allowed_batch_sizes=[1, 64]"])
    assert config.index.nprobe == 5
    assert config.batching.allowed_batch_sizes == (1, 64)
    assert load_section(ExportConfig, None, ["index.type=approximate", "target=tpu"]).index.type == "approximate"
