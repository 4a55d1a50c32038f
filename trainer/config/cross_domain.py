"""Queries from another catalogue."""

from __future__ import annotations

from typing import Literal

from trainer.config.data import DataConfig
from trainer.config.section import Section

__all__ = ["CrossDomainConfig"]


class CrossDomainConfig(Section):
    """Queries from one catalogue, such as shoppers' photos, and a gallery from the run's own, such as shop pictures.

    Attributes:
        data: the catalogue of the queries. All of its items are queries: `splits`, `near_duplicates` and
            `selection.min_per_label` do not apply to it.
        labels: path of a CSV with the columns `query_label` and `gallery_label`: which of the run's labels are right
            for a query's. Several rows of one query label: any of them is right. Query labels without a row are left
            out, and counted.
        gallery: which of the run's items are searched: a split, or `all`.
    """

    data: DataConfig
    labels: str
    gallery: Literal["test", "train", "all"] = "test"
