"""What the job `cross-domain` refuses; what it does is in tests/end_to_end/test_other_pictures.py."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd
import pytest

from trainer.config import load_config
from trainer.config.cross_domain import CrossDomainConfig
from trainer.config.data import DataConfig
from trainer.errors import ConfigError, InputError
from trainer.evaluation.cross_domain import LabelMapping

CROSS = CrossDomainConfig(data=DataConfig(), labels="labels.csv")


def test_without_another_catalogue_it_says_what_to_set(tmp_path: Path) -> None:
    from trainer.jobs import cross_domain

    with pytest.raises(InputError, match=r"evaluate\.cross_domain: expected the catalogue of the queries"):
        cross_domain.run(load_config(None, ["model.names=[resnet50]"]), tmp_path)


def test_half_a_configuration_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"evaluate\.cross_domain\.labels: expected a value"):
        load_config(None, ["model.names=[resnet50]", "evaluate.cross_domain.data={}"])


def test_a_mapping_of_none_of_the_labels_is_refused() -> None:
    from trainer.jobs.cross_domain import _mapped

    items = pd.DataFrame({"label": ["Shoe", "Bag", "Shoe"]})
    with pytest.raises(InputError, match="such as 'Shoe'; none of its 2 labels has a row"):
        _mapped(items, LabelMapping({"shoe": frozenset({"Heels"})}), CROSS)


def test_labels_without_a_row_are_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    from trainer.jobs.cross_domain import _mapped

    items = pd.DataFrame({"label": ["Shoe", "Bag", "Bag", "Hat"]})
    with caplog.at_level(logging.WARNING):
        kept = _mapped(items, LabelMapping({"Shoe": frozenset({"Heels"}), "Sock": frozenset({"Heels"})}), CROSS)
    assert kept["label"].tolist() == ["Shoe"]
    assert "3 queries have a label without a row and are left out: Bag (2), Hat (1)" in caplog.text
    assert "no query has the label 'Sock' of labels.csv" in caplog.text


def test_queries_need_no_second_picture_of_a_label() -> None:
    from trainer.jobs.cross_domain import _as_queries

    data = _as_queries(DataConfig(source="csv", root="x"))
    assert (data.selection.min_per_label, data.near_duplicates.enabled) == (1, False)
    assert data.root == "x"
