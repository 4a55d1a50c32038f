"""Catalogues, their pictures, and how both reach a model."""

from __future__ import annotations

__all__: list[str] = []
