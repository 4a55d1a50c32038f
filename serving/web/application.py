"""The application: its addresses, and what each answers."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from serving.client.errors import ServingError
from serving.client.results import Match
from serving.web.catalogue import SPLIT, Catalogue
from serving.web.errors import PageError, as_response
from serving.web.guard import Guard, Login
from serving.web.models import Models
from serving.web.photos import check_photo, cropped, thumbnail
from serving.web.upload import Query, too_large

__all__ = ["PageSettings", "lens"]

T = TypeVar("T")

PAGE = Path(__file__).with_name("page")
_WIDTHS = (160, 320, 640)
_THUMBNAILS = 2000
_DECODED_AT_ONCE = 4
_GONE = 499  # nobody reads it
_KEPT = {"cache-control": "private, max-age=300"}


@dataclass(frozen=True)
class PageSettings:
    """What the page allows and shows.

    Attributes:
        max_bytes: of a photo.
        max_pixels: of a photo, width times height.
        examples: pictures to try.
        no_match: similarity below which the best match of a search is no good one, words alone included; None for
            what the model says, which holds for pictures.
    """

    max_bytes: int = 10 * 2**20
    max_pixels: int = 50_000_000
    examples: int = 12
    no_match: float | None = None


def lens(
    models: Models,
    catalogue: Catalogue,
    settings: PageSettings | None = None,
    hosts: Collection[str] = (),
    login: Login | None = None,
) -> ASGIApp:
    """The Lens page.

    Args:
        models: whom it asks; closed when the page is.
        catalogue: whose pictures it shows.
        settings: limits.
        hosts: names under which it may be asked; none for any.
        login: name and password; None without.

    Returns:
        An ASGI application.
    """
    page = _Page(models, catalogue, settings or PageSettings())

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await models.close()

    handlers = dict.fromkeys((PageError, ServingError, HTTPException, Exception), as_response)
    routes = [
        Route("/", page.start),
        Mount("/static", StaticFiles(directory=PAGE)),
        Route("/api/model", page.model),
        Route("/api/examples", page.examples),
        Route("/api/search", page.search, methods=["POST"]),
        Route("/pictures/{name:path}", page.picture),
        Route("/health", page.health),
    ]
    return Guard(Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan), hosts, login)  # type: ignore[arg-type]


class _Page:
    """Answers."""

    def __init__(self, models: Models, catalogue: Catalogue, settings: PageSettings) -> None:
        self._models, self._catalogue, self._settings = models, catalogue, settings
        self._decoding = CapacityLimiter(_DECODED_AT_ONCE)
        self._examples: list[str] | None = None
        self._thumbnail = lru_cache(_THUMBNAILS)(self._made_small)

    async def start(self, request: Request) -> Response:
        """The page."""
        return FileResponse(PAGE / "lens.html", headers={"cache-control": "no-cache"})

    async def model(self, request: Request) -> Response:
        """Whom can be asked, what, and under which limits."""
        models = await self._models.described()
        names = dict.fromkeys(name for model in models for name in model.get("filters", ()))
        shown = [name for name in names if not self._catalogue.is_title(name)]
        shown.sort(key=lambda name: name == SPLIT)  # which a shop's customer never asks for
        values = {name: self._catalogue.values(name) for name in shown}
        limits = {"bytes": self._settings.max_bytes, "pixels": self._settings.max_pixels}
        return JSONResponse({"models": models, "values": values, "limits": limits})

    async def examples(self, request: Request) -> Response:
        """Items to try."""
        if self._examples is None:
            self._examples = await to_thread.run_sync(self._catalogue.examples, self._settings.examples)
        return JSONResponse({"examples": [self._item(name, {}) for name in self._examples]})

    async def health(self, request: Request) -> Response:
        """Whether somebody who comes now is answered."""
        ready = await self._models.ready()
        return JSONResponse({"page": "ready", "server": "ready" if ready else "not ready"}, 200 if ready else 503)

    async def search(self, request: Request) -> Response:
        """The matches of a photo, of words, or of both; or of an item's picture, the item itself left out."""
        started = time.perf_counter()
        try:
            query = await Query.read(request, self._settings.max_bytes)
        except ClientDisconnect:
            return Response(status_code=_GONE)
        return await _unless_gone(request, self._found(query, started))

    async def _found(self, query: Query, started: float) -> Response:
        choice = self._models.choice(query.model)
        content = await self._content(query)
        read = time.perf_counter()
        if query.crop is not None and content is not None:
            content = await to_thread.run_sync(
                cropped, content, query.crop, self._settings.max_pixels, limiter=self._decoding
            )
        cut = time.perf_counter()
        asked: dict[str, Any] = {"image": content, "filters": query.filters or None, "text": query.text or None}
        if content is not None and query.text:
            asked["weight"] = query.weight
        result = await self._models.search(choice, query.k, **asked)
        matches = [match for match in result.matches if match.id != query.item]
        ended = time.perf_counter()
        steps = {"read": read - started, "crop": cut - read, "ask": ended - cut, "total": ended - started}
        answer = {
            "matches": [
                {**self._item(match.id, match.attributes), "score": match.score, "attributes": dict(match.attributes)}
                for match in matches
            ],
            "model": result.model,
            "version": result.version,
            **self._judged(matches, result.no_match_threshold),
            "ms": {name: round(1000 * seconds, 1) for name, seconds in steps.items()},
        }
        return JSONResponse(answer)

    async def picture(self, request: Request) -> Response:
        """A picture of the catalogue, or with `?w=` a smaller one."""
        path = await to_thread.run_sync(self._catalogue.picture, request.path_params["name"])
        if path is None:
            raise PageError(404, "There is no such picture.")
        facts = await to_thread.run_sync(path.stat)
        width = _width(request.query_params.get("w"))
        state = f"{path}\0{facts.st_mtime_ns}\0{facts.st_size}\0{width}"
        headers = {"etag": f'"{hashlib.sha256(state.encode()).hexdigest()[:32]}"', **_KEPT}
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        small = None
        if width is not None:
            small = await to_thread.run_sync(
                self._thumbnail, path, facts.st_mtime_ns, facts.st_size, width, limiter=self._decoding
            )
        if small is not None:
            return Response(small, media_type="image/jpeg", headers=headers)
        return FileResponse(path, headers=headers, stat_result=facts)

    def _made_small(self, path: Path, changed: int, size: int, width: int) -> bytes | None:
        """A thumbnail; `changed` and `size` tell a new picture of an old name from the old one."""
        return thumbnail(path, width, self._settings.max_pixels)

    async def _content(self, query: Query) -> bytes | None:
        """The picture's file, checked; None for words alone."""
        content = query.photo
        if query.item:
            path = await to_thread.run_sync(self._catalogue.picture, query.item)
            if path is None:
                advice = "Give an item's id, or the path of a picture below the page's folder of pictures."
                raise PageError(404, "There is no such picture here.", advice)
            if path.stat().st_size > self._settings.max_bytes:
                raise too_large(self._settings.max_bytes)
            content = await to_thread.run_sync(path.read_bytes)
        if content is not None:
            await to_thread.run_sync(check_photo, content, self._settings.max_pixels)
        return content

    def _item(self, name: str, attributes: Any) -> dict[str, str]:
        return {
            "id": name,
            "title": self._catalogue.title(name, attributes),
            "label": self._catalogue.label(name, attributes),
            "picture": f"pictures/{quote(name)}",
        }

    def _judged(self, matches: Sequence[Match], of_model: float | None) -> dict[str, Any]:
        """Whether the best match is good enough, where that is known."""
        threshold = of_model if self._settings.no_match is None else self._settings.no_match
        if threshold is None or not matches:
            return {"no_match": None, "threshold": None}
        return {"no_match": matches[0].score < threshold, "threshold": threshold}


def _width(text: str | None) -> int | None:
    """One of a few widths, so that nobody fills the memory with all of them."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise PageError(400, "A width is a number of pixels.")
    return next((width for width in _WIDTHS if width >= int(text)), None)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, Response]) -> Response:
    """What comes of the work, which is given up when nobody waits for it any more."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    tasks: tuple[asyncio.Task[Any], ...] = asyncio.create_task(work), asyncio.create_task(gone())
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return await tasks[0] if tasks[0] in done else Response(status_code=_GONE)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
