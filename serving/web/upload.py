"""What the page is sent, read into memory under limits and never written anywhere."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from serving.web.errors import PageError
from serving.web.photos import Crop

__all__ = ["Query", "too_large"]

FIELDS = frozenset({"image", "item", "crop", "text", "weight", "k", "filters", "model"})
_FIELD_BYTES = 64 * 2**10
_ENVELOPE = 2 * _FIELD_BYTES
_FEWEST, _SECONDS = 24, 60.0


class _InMemory(MultiPartParser):
    """Starlette's parser puts what is over a megabyte into a file; this one never does."""

    spool_max_size = sys.maxsize


@dataclass(frozen=True)
class Query:
    """What somebody searches for.

    Attributes:
        photo: contents of a file; None without.
        item: an item's id or the path of a picture, whose picture is searched with instead; empty without.
        crop: region of the photo or of the item's picture; None for all of it.
        text: words; empty without.
        weight: how much the words count beside the picture.
        k: matches.
        filters: attribute to admitted values.
        model: whom to ask, as the page's model is called; empty for the first.
    """

    photo: bytes | None = None
    item: str = ""
    crop: Crop | None = None
    text: str = ""
    weight: float = 0.5
    k: int = _FEWEST
    filters: dict[str, list[str]] = field(default_factory=dict)
    model: str = ""

    @property
    def has_picture(self) -> bool:
        """Whether there is more than words."""
        return self.photo is not None or bool(self.item)

    @classmethod
    async def read(cls, request: Request, max_bytes: int) -> Query:
        """Reads a multipart form.

        Args:
            request: of HTTP.
            max_bytes: of the photo.

        Raises:
            PageError: too large, too slow, or not what a form of the page says.
        """
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            raise PageError(400, "A search is sent as multipart/form-data.")
        if int(request.headers.get("content-length") or 0) > max_bytes + _ENVELOPE:
            raise too_large(max_bytes)
        stream = _limited(request, max_bytes)
        parser = _InMemory(request.headers, stream, max_files=1, max_fields=len(FIELDS), max_part_size=_FIELD_BYTES)
        try:
            async with asyncio.timeout(_SECONDS):
                form = await parser.parse()
        except MultiPartException as error:
            raise PageError(400, f"The form cannot be read: {error.message.rstrip('.')}.") from error
        except TimeoutError:
            raise PageError(408, "The upload took too long.", "Use a smaller photo, or a faster connection.") from None
        finally:
            await stream.aclose()
        try:
            return _query(form, await _photo(form, max_bytes))
        finally:
            await form.close()


async def _limited(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes + _ENVELOPE:
            raise too_large(max_bytes)
        yield chunk


def too_large(max_bytes: int) -> PageError:
    """The refusal of a file of too many bytes."""
    return PageError(413, f"The photo is too large: more than {max_bytes / 2**20:g} MB.", "Use a smaller one.")


async def _photo(form: FormData, max_bytes: int) -> bytes | None:
    image = form.get("image")
    if image is None:
        return None
    if not isinstance(image, UploadFile):
        raise PageError(400, "The photo is sent as a file.")
    content = await image.read()
    if len(content) > max_bytes:
        raise too_large(max_bytes)
    return content


def _query(form: FormData, photo: bytes | None) -> Query:
    unknown = sorted(form.keys() - FIELDS)
    if unknown:
        raise PageError(400, f"A search has no field {', '.join(unknown)}.", f"It has {', '.join(sorted(FIELDS))}.")
    fields = {name: value for name, value in form.items() if isinstance(value, str)}
    try:
        query = Query(
            photo=photo,
            item=fields.get("item", ""),
            crop=Crop.parse(fields["crop"]) if fields.get("crop") else None,
            text=fields.get("text", "").strip(),
            weight=float(fields.get("weight") or Query.weight),
            k=int(fields.get("k") or Query.k),
            filters=_filters(fields.get("filters") or "{}"),
            model=fields.get("model", ""),
        )
    except (ValueError, RecursionError) as error:
        raise PageError(400, f"The form cannot be read: {error}.") from error
    if query.photo is not None and query.item:
        raise PageError(400, "There are two pictures to search with.", "Give a photo or an item.")
    if not query.has_picture and not query.text:
        raise PageError(400, "There is nothing to search for.", "Give a photo, an item or words.")
    return query


def _filters(text: str) -> dict[str, list[str]]:
    """`{"gender": ["Women", "Men"]}`."""
    given = json.loads(text)
    if not isinstance(given, dict) or not all(
        isinstance(values, list) and all(isinstance(value, str) for value in values) for values in given.values()
    ):
        raise ValueError("filters are attributes with lists of values")
    return {name: values for name, values in given.items() if values}
