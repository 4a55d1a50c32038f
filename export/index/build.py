"""From the configuration to an index layer."""

from __future__ import annotations

from export.config import IndexConfig
from export.index.approximate import ApproximateIndex
from export.index.base import Index
from export.index.exact import ExactIndex
from export.index.ivf import IvfIndex
from export.index.rescored import BFloat16Index, Int8Index

__all__ = ["build_index"]


def build_index(settings: IndexConfig) -> Index:
    """The index layer that the configuration asks for, still empty.

    Args:
        settings: the section `index` of the configuration.
    """
    if settings.type == "ivf":
        return IvfIndex(settings.lists, settings.nprobe, recall=settings.recall, seed=settings.seed)
    if settings.type == "approximate":
        return ApproximateIndex(settings.recall)
    if settings.dtype == "bfloat16":
        return BFloat16Index(settings.candidates)
    if settings.dtype == "int8":
        return Int8Index(settings.candidates)
    return ExactIndex()
