"""What is public, that both clients have the same, and what importing costs."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import serving
from serving import AsyncClient, AsyncShardedClient, Client, ShardedClient
from serving.client import errors

ROOT = Path(__file__).parents[3]

PUBLIC = [
    "TLS",
    "AsyncClient",
    "AsyncShardedClient",
    "BadAnswerError",
    "BadInputError",
    "Breaker",
    "Call",
    "CallOptions",
    "CircuitOpenError",
    "Classification",
    "Client",
    "ClosedError",
    "DeadlineError",
    "Embedding",
    "Hedging",
    "Hook",
    "Keepalive",
    "Label",
    "Limits",
    "Match",
    "MixedFingerprintsError",
    "ModelMetadata",
    "ModelNotFoundError",
    "NotReadyError",
    "OverloadedError",
    "Prediction",
    "Retries",
    "SearchResult",
    "ServerError",
    "ServingError",
    "ShardError",
    "ShardedClient",
    "ShardedResult",
    "Signature",
    "TensorSpec",
    "TooLargeError",
    "UnauthorizedError",
    "UnknownSignatureError",
    "UnreachableError",
    "VersionStatus",
]
METHODS = [
    "addresses",
    "classify",
    "classify_many",
    "close",
    "closed",
    "embed",
    "embed_many",
    "embed_text",
    "embed_texts",
    "healthy",
    "lookup",
    "lookup_many",
    "metadata",
    "models",
    "predict",
    "search",
    "search_many",
    "status",
    "wait_until_ready",
]


def test_the_public_names_are_these() -> None:
    assert serving.__all__ == PUBLIC
    assert all(getattr(serving, name).__name__ == name for name in PUBLIC if name != "Hook")
    assert set(PUBLIC) <= set(dir(serving))
    with pytest.raises(AttributeError, match="nothing"):
        _ = serving.nothing


def public(thing: Any) -> dict[str, Any]:
    return {name: getattr(thing, name, None) for name in dir(thing) if not name.startswith("_")}


def test_a_client_has_these_methods() -> None:
    assert sorted(public(Client("a:1"))) == METHODS


@pytest.mark.parametrize(("threads", "asynchronous"), [(Client, AsyncClient), (ShardedClient, AsyncShardedClient)])
def test_both_kinds_have_the_same_signatures(threads: type, asynchronous: type) -> None:
    assert inspect.signature(threads) == inspect.signature(asynchronous)
    assert public(threads).keys() == public(asynchronous).keys()
    checked = 0
    for name, method in public(threads).items():
        if inspect.isfunction(method):
            other = public(asynchronous)[name]
            assert inspect.signature(method) == inspect.signature(other), name
            assert inspect.iscoroutinefunction(other), name
            checked += 1
    assert checked >= 7


def test_the_shells_have_nothing_else() -> None:
    shared = {name for name in dir(Client) if name in dir(AsyncClient)}
    special = {"__enter__", "__exit__", "_connected"}
    assert set(dir(Client)) - shared == special


def test_the_tree_of_errors_is_the_drawn_one() -> None:
    drawn = [line for line in (errors.__doc__ or "").splitlines() if "──" in line]
    depths = {}
    for line in drawn:
        before, _, after = line.partition("── ")
        depths[after.split()[0]] = len(before) // 4
    assert set(depths) == set(errors.__all__)
    for name, depth in depths.items():
        assert getattr(errors, name).__mro__.index(errors.ServingError) == depth - 0, name
    assert issubclass(errors.BadInputError, ValueError)
    assert issubclass(errors.DeadlineError, TimeoutError)


def child(program: str) -> Any:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_importing_takes_grpc_protobuf_and_numpy_only() -> None:
    early, foreign, mebibytes = child(
        "import json, sys\n"
        "before = set(sys.modules)\n"
        "import serving\n"
        "early = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "from serving import *\n"
        "Client('localhost:1')\n"
        "tops = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "foreign = [n for n in tops - set(sys.stdlib_module_names) if '_cython' not in n and '__' not in n]\n"
        # not ru_maxrss: a child inherits it from its parent
        "peak = next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(json.dumps([sorted(early & {'grpc', 'google', 'numpy'}), sorted(foreign), int(peak) / 1024]))"
    )
    assert early == []
    optional = {"grpc_health", "grpc_reflection", "grpc_tools", "grpc_status", "typing_extensions", "cython_runtime"}
    assert set(foreign) - optional == {"serving", "grpc", "google", "numpy"}
    assert mebibytes <= 60
