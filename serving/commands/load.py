"""`python -m serving load`: how much a server answers, and how fast."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from serving.commands.connection import add_connection, client_settings, servers
from serving.commands.errors import CommandError
from serving.commands.questions import add_filters, add_photos, add_texts, add_weight, filters_of, photos_of
from serving.commands.text_table import text_table

if TYPE_CHECKING:
    from serving import AsyncClient
    from serving.commands.load_generator import LoadReport

__all__ = ["add_arguments", "run"]

ASKED = ("search", "embed", "classify", "lookup")
MOST_AT_ONCE, MOST_REQUESTS, LONGEST = 10_000, 10_000_000, 86_400.0
RANDOM_VECTORS = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `load` to a parser."""
    add_photos(parser, nargs="*")
    add_texts(parser, "ask with words; again for more, which take turns as photos do. With photos, search with both")
    add_weight(parser)
    parser.add_argument(
        "--ask",
        choices=ASKED,
        help="default: search with the photos or texts in turn; without any, lookup of random vectors",
    )
    parser.add_argument("--concurrency", type=int, default=16, metavar="N", help="requests at once (default 16)")
    until = parser.add_mutually_exclusive_group()
    until.add_argument("--duration", type=float, metavar="S", help="seconds to send requests (default 10)")
    until.add_argument("--requests", type=int, metavar="N", help="requests to send, instead of a duration")
    parser.add_argument("--k", type=int, help="matches or labels (default 10, of classify 1)")
    add_filters(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the random vectors (default 0)")
    parser.add_argument("--json", action="store_true", help="one line of JSON, instead of a table")
    add_connection(parser)


def run(options: argparse.Namespace) -> int:
    """Sends the load, and prints what came of it; what there is, too, when it is interrupted.

    Args:
        options: as `add_arguments` parses them.

    Returns:
        The exit code: 2 where nothing was answered.
    """
    _check(options)
    photos = photos_of(options.photos)
    report = asyncio.run(_load(options, photos))
    if not report.answered:
        raise CommandError(f"no request was answered: {dict(report.errors)}")
    return 0


def _check(options: argparse.Namespace) -> None:
    for name, most in (("concurrency", MOST_AT_ONCE), ("duration", LONGEST), ("requests", MOST_REQUESTS)):
        value = getattr(options, name)
        if value is not None and not 0 < value <= most:
            raise CommandError(f"expected --{name} over 0 and up to {most:,}, received {value}")
    given = bool(options.photos or options.texts)
    options.ask = options.ask or ("search" if given else "lookup")
    if options.ask == "lookup" and given:
        raise CommandError(
            "expected no PHOTO with --ask lookup, which sends random vectors, and no --text; leave one of them out"
        )
    if options.ask == "classify" and options.texts:
        raise CommandError("expected photos only with --ask classify, received --text; leave it out")
    if options.ask == "embed" and options.photos and options.texts:
        raise CommandError("expected photos or --text with --ask embed, received both; leave one of them out")
    if options.ask != "lookup" and not given:
        raise CommandError(f"expected at least one PHOTO or --text with --ask {options.ask}, received none")
    if options.weight is not None and not (options.ask == "search" and options.photos and options.texts):
        raise CommandError("expected --weight with photos and --text together, which it weighs; leave it out")
    if options.k is not None and options.ask == "embed":
        raise CommandError("expected no --k with --ask embed, which finds nothing; leave it out")
    if options.seed < 0:
        raise CommandError(f"expected --seed of 0 or more, received {options.seed}")
    if options.filters and options.ask not in ("search", "lookup"):
        raise CommandError(f"expected --filter with search or lookup only, received it with {options.ask}")


async def _load(options: argparse.Namespace, photos: Sequence[bytes]) -> LoadReport:
    from serving import AsyncClient
    from serving.commands.load_generator import LoadGenerator

    seconds = options.duration or (None if options.requests else 10.0)
    async with AsyncClient(servers(options), **client_settings(options)) as client:
        ask = await _asker(options, client, photos)
        await ask(0)  # a question that cannot be answered is told at once; and connections are made
        load = LoadGenerator(ask, options.concurrency, seconds=seconds, requests=options.requests)
        try:
            return await load.run()
        finally:
            _print(options, load.report())


async def _asker(
    options: argparse.Namespace, client: AsyncClient, photos: Sequence[bytes]
) -> Callable[[int], Awaitable[Any]]:
    """What sends the request of a number."""
    filters: Mapping[str, Sequence[str]] = filters_of(options.filters)
    k = options.k if options.k is not None else (1 if options.ask == "classify" else 10)
    if options.ask == "lookup":
        vectors = await _random_vectors(options, client)
        return lambda number: client.lookup(vectors[number % len(vectors)], k, filters)
    if options.ask == "classify":
        return lambda number: client.classify(photos[number % len(photos)], k)
    texts = options.texts
    if options.ask == "embed" and texts:
        return lambda number: client.embed_text(texts[number % len(texts)])
    if options.ask == "embed":
        return lambda number: client.embed(photos[number % len(photos)])

    def search(number: int) -> Awaitable[Any]:
        photo = photos[number % len(photos)] if photos else None
        text = texts[number % len(texts)] if texts else None
        return client.search(photo, k, filters, text=text, weight=options.weight)

    return search


async def _random_vectors(options: argparse.Namespace, client: AsyncClient) -> Any:
    import numpy as np

    from serving.contract import EMBEDDING, LOOKUP, served_name

    name = served_name(options.name, "lookup")
    signature = (await client.metadata(name)).signatures.get(LOOKUP)
    shape = signature.inputs[EMBEDDING].shape if signature and EMBEDDING in signature.inputs else None
    if shape is None or len(shape) != 2 or shape[1] is None:
        raise CommandError(f"expected a signature {LOOKUP} of {name} that takes {EMBEDDING} [B, D]; is it one of ours?")
    return np.random.default_rng(options.seed).normal(size=(RANDOM_VECTORS, shape[1])).astype(np.float32)


def _print(options: argparse.Namespace, report: LoadReport) -> None:
    about = {"ask": options.ask, "servers": servers(options), "concurrency": options.concurrency}
    if options.json:
        print(json.dumps({**about, **report.as_dict()}, ensure_ascii=False))
        return
    print(
        f"{options.ask} at {', '.join(servers(options))}, {options.concurrency} at once, {report.seconds:.1f} s: "
        f"{report.answered:,} answers, {report.throughput:,.1f} a second"
    )
    latencies = report.as_dict()["latency_ms"]
    if latencies:
        print(text_table(["latency", "ms"], [[name, f"{value:.2f}"] for name, value in latencies.items()], _RIGHT))
    kinds = ", ".join(f"{name} {count:,}" for name, count in report.errors.items())
    print(f"errors: {sum(report.errors.values()):,}" + (f" ({kinds})" if kinds else ""))


_RIGHT = frozenset({"ms"})
