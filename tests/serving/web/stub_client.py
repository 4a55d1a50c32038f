"""A client that answers as told."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from serving.client.results import Match, ModelMetadata, SearchResult, Signature, TensorSpec, VersionStatus

__all__ = ["ITEMS", "StubClient"]

ITEMS, MOST = 60, 20
TEXT, SCORES = TensorSpec("string", (None,)), TensorSpec("float32", (None, MOST))
ATTRIBUTES = {"gender": TEXT, "colour": TEXT}


@dataclass
class StubClient:
    """An `AsyncClient` that finds the first items; `asked` holds what it was asked for."""

    words: bool = True
    error: Exception | None = None
    seconds: float = 0.0
    threshold: float | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    cancelled: int = 0

    async def search(self, **asked: Any) -> Any:
        self.asked.append(asked)
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        count = min(asked["k"], ITEMS)
        scores = np.linspace(0.9, 0.1, count, dtype=np.float32)
        matches = tuple(
            Match(f"item-{row}", float(scores[row]), MappingProxyType({"gender": "Women", "colour": "Black"}))
            for row in range(count)
        )
        about = "fused_search", asked.get("version", 7), "encoder", "table"
        return SearchResult(matches, *about, scores, no_match_threshold=self.threshold)

    async def metadata(self, model: str, **options: Any) -> ModelMetadata:
        if self.error is not None:
            raise self.error
        outputs = {"ids": TEXT, "scores": SCORES, **ATTRIBUTES}
        names = ["search_images", *(["search_texts", "search_images_and_texts"] if self.words else [])]
        signatures = {name: Signature({"image_bytes": TEXT}, outputs) for name in names}
        signatures["search_images_filtered"] = Signature({"image_bytes": TEXT, "gender": TEXT}, outputs)
        return ModelMetadata(model, options.get("version", 7), signatures)

    async def status(self, model: str, **options: Any) -> tuple[VersionStatus, ...]:
        if self.error is not None:
            raise self.error
        return VersionStatus(6, "AVAILABLE"), VersionStatus(7, "AVAILABLE"), VersionStatus(5, "END")

    async def healthy(self) -> bool:
        return self.error is None

    async def close(self) -> None:
        pass
