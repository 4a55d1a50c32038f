"""Which models and versions the page can ask, and what they can be asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.client.async_client import AsyncClient
from serving.client.calls import CallOptions
from serving.client.errors import ServingError
from serving.client.results import ModelMetadata, SearchResult, Signature
from serving.contract import (
    ATTRIBUTE_NAMES_TAKEN,
    SCORES,
    SEARCH_IMAGES,
    SEARCH_IMAGES_AND_TEXTS,
    SEARCH_IMAGES_FILTERED,
    SEARCH_TEXTS,
    served_name,
)
from serving.web.errors import PageError, in_plain_words

__all__ = ["Choice", "Models"]

_AVAILABLE = "AVAILABLE"
_LONGEST = 100


@dataclass(frozen=True)
class Choice:
    """A model to ask, written `NAME`, `NAME:VERSION` or `NAME:LABEL`.

    Attributes:
        name: of the trained model, such as `fused`.
        version: its number; None for the newest, or where a label says.
        label: of a version; None without.
    """

    name: str
    version: int | None = None
    label: str | None = None

    @classmethod
    def parse(cls, text: str) -> Choice:
        """Reads what `str` writes.

        Raises:
            ValueError: there is no name, or nothing after the colon.
        """
        name, colon, which = text.partition(":")
        if not name or bool(colon) != bool(which):
            raise ValueError(f"expected a model as NAME, NAME:VERSION or NAME:LABEL, received {text!r}")
        if which.isascii() and which.isdigit() and len(which) < 19:
            return cls(name, int(which))
        return cls(name, label=which or None)

    def __str__(self) -> str:
        which = self.label if self.version is None else str(self.version)
        return self.name if which is None else f"{self.name}:{which}"

    @property
    def options(self) -> CallOptions:
        """Of a call to it."""
        if self.version is not None:
            return {"version": self.version}
        return {"label": self.label} if self.label is not None else {}


class Models:
    """The page's models.

    Args:
        choices: what may be asked; the first is asked unless the page says otherwise. Versions of these names may be
            asked for although they are not among them.
        connect: makes the client of a model's name.
    """

    def __init__(self, choices: Sequence[Choice], connect: Callable[[str], AsyncClient]) -> None:
        self._choices = list(dict.fromkeys(choices))
        self._clients = {choice.name: connect(choice.name) for choice in self._choices}

    def choice(self, text: str) -> Choice:
        """What a request means.

        Raises:
            PageError: a model that the page does not have.
        """
        try:
            choice = Choice.parse(text) if text else self._choices[0]
        except ValueError as error:
            raise PageError(400, f"This is no model: {error}.") from error
        if choice.name not in self._clients:
            raise PageError(400, f"This page has no model {choice.name}.", f"It has {', '.join(self._clients)}.")
        return choice

    async def search(self, choice: Choice, k: int, **asked: Any) -> SearchResult:
        """As `AsyncClient.search`, of the model that is meant."""
        return await self._clients[choice.name].search(k=k, **asked, **choice.options)

    async def ready(self) -> bool:
        """Whether the first model's server takes questions."""
        return await self._clients[self._choices[0].name].healthy()

    async def described(self) -> list[dict[str, Any]]:
        """What each model can be asked, the first that can be asked first: see `_described`.

        Raises:
            ServingError: none can be asked.
        """
        found = await asyncio.gather(*map(self._versions, self._clients), return_exceptions=True)
        errors = [each for each in found if isinstance(each, BaseException)]
        for error in errors:
            if not isinstance(error, ServingError) or len(errors) == len(found):
                raise error
        versions = {name: each for name, each in zip(self._clients, found, strict=True) if isinstance(each, list)}
        choices = dict.fromkeys([*self._choices, *(each for listed in versions.values() for each in listed)])
        return list(await asyncio.gather(*map(self._described, choices)))

    async def close(self) -> None:
        """Closes the connections."""
        for client in self._clients.values():
            await client.close()

    async def _versions(self, name: str) -> list[Choice]:
        states = await self._clients[name].status(served_name(name, "search"))
        loaded = sorted((state.version for state in states if state.state == _AVAILABLE), reverse=True)
        return [Choice(name, version) for version in loaded] if len(loaded) > 1 else []

    async def _described(self, choice: Choice) -> dict[str, Any]:
        try:
            served = served_name(choice.name, "search")
            metadata = await self._clients[choice.name].metadata(served, **choice.options)
        except ServingError as error:
            told = in_plain_words(error)
            return {"model": str(choice), "error": told.message, "advice": told.advice}
        return {"model": str(choice), **_abilities(metadata)}


def _abilities(metadata: ModelMetadata) -> dict[str, Any]:
    signatures = metadata.signatures
    plain = signatures.get(SEARCH_IMAGES)
    return {
        "version": metadata.version,
        "attributes": _texts(plain.outputs) if plain else [],
        "filters": _texts(signatures[SEARCH_IMAGES_FILTERED].inputs) if SEARCH_IMAGES_FILTERED in signatures else [],
        "words": SEARCH_TEXTS in signatures,
        "words_with_picture": SEARCH_IMAGES_AND_TEXTS in signatures,
        "most": _most(plain),
    }


def _texts(specs: Mapping[str, Any]) -> list[str]:
    return [name for name, spec in specs.items() if spec.dtype == "string" and name not in ATTRIBUTE_NAMES_TAKEN]


def _most(signature: Signature | None) -> int:
    """K of the answers, where the model declares it; otherwise so many that the table surely has them."""
    spec = signature.outputs.get(SCORES) if signature else None
    width = spec.shape[-1] if spec is not None and spec.shape else None
    return width or _LONGEST
