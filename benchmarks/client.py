"""What importing the client costs, and what it adds to a lookup beside the official stubs used bare.

    python -m benchmarks.client
    python -m benchmarks.client --lookups 2000 --table-k 50

Import time and memory are medians over child processes, of `from serving import AsyncClient, Client` and the making of
a client; the peers are `import grpc, numpy` alone and `tensorflow_serving.apis`. The overhead is measured against a
server in a process of its own that answers at once, so that only the wire and the client count; the client and the bare
stubs take turns in the same process, a slice of lookups each; the median of a lookup is taken over all slices. Bare
means: a filled `PredictRequest`, the call with a timeout and a request id as metadata; and ids, attributes, scores of
the k best taken out of the answer, as lists of texts and an array. The exit code is 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
DIMENSION, ADDRESS_LINE = 256, "listening "
ATTRIBUTES = ("gender", "articleType", "baseColour")
IMPORT_BAR_S, MEMORY_BAR_MIB, OVERHEAD_BAR = 0.3, 60.0, 1.3
IMPORTS = {
    "serving": "from serving import AsyncClient, Client; Client('localhost:8500')",
    "grpc, numpy alone": "import grpc, numpy",
    "tensorflow_serving.apis": "from tensorflow_serving.apis import predict_pb2",
}


def import_costs(program: str, runs: int) -> tuple[float, float]:
    """Seconds and peak MiB of a child that runs the program; medians."""
    code = (
        f"import time; started = time.perf_counter()\n{program}\n"
        "seconds = time.perf_counter() - started\n"
        # not ru_maxrss: a child inherits it from its parent
        "peak = next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(seconds, int(peak) / 1024)"
    )
    costs = []
    for _ in range(runs):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
        costs.append([float(value) for value in done.stdout.split()[-2:]])
    seconds, mebibytes = zip(*costs, strict=True)
    return statistics.median(seconds), statistics.median(mebibytes)


def answer(k: int) -> bytes:
    """A lookup's answer of one row, as the exporter's signature has it."""
    from serving import wire

    response = wire.PredictResponse()
    response.model_spec.name, response.model_spec.version.value = "fused_lookup", 1
    response.model_spec.signature_name = "lookup"
    outputs = response.outputs
    wire.fill_strings(outputs["ids"], [f"{10000 + row}" for row in range(k)], (1, k))
    for name in ATTRIBUTES:
        wire.fill_strings(outputs[name], ["Women"] * k, (1, k))
    for name in ("fingerprint", "table_fingerprint"):
        wire.fill_strings(outputs[name], ["0" * 64], (1,))
    scores = outputs["scores"]
    scores.dtype = 1
    scores.tensor_shape.dim.add(size=1)
    scores.tensor_shape.dim.add(size=k)
    scores.float_val.extend(np.linspace(0.9, 0.1, k).tolist())
    return bytes(response.SerializeToString())


def described(k: int) -> bytes:
    """The lookup's metadata."""
    from serving import wire

    defined = wire.SignatureDefMap()
    for infos, name, dtype, width in (
        (defined.signature_def["lookup"].inputs, "embedding", 1, DIMENSION),
        (defined.signature_def["lookup"].outputs, "scores", 1, k),
    ):
        infos[name].dtype = dtype
        for size in (-1, width):
            infos[name].tensor_shape.dim.add(size=size)
    response = wire.GetModelMetadataResponse()
    response.metadata["signature_def"].value = defined.SerializeToString()
    return bytes(response.SerializeToString())


async def serve(k: int) -> None:
    """Answers every lookup with the same bytes."""
    import grpc

    def always(content: bytes) -> Any:
        async def reply(request: bytes, context: Any) -> bytes:
            return content

        return grpc.unary_unary_rpc_method_handler(reply)

    server = grpc.aio.server()
    handlers = {"Predict": always(answer(k)), "GetModelMetadata": always(described(k))}
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", handlers),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"{ADDRESS_LINE}127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


class Bare:
    """A lookup with the official messages and a stub, and nothing else."""

    def __init__(self, channel: Any, k: int) -> None:
        from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

        self.messages, self.k = predict_pb2, k
        self.call = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict

    def request(self, vector: np.ndarray) -> Any:
        """The filled request."""
        request = self.messages.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = "fused_lookup", "lookup"
        tensor = request.inputs["embedding"]
        tensor.dtype = 1
        tensor.tensor_shape.dim.add(size=1)
        tensor.tensor_shape.dim.add(size=DIMENSION)
        tensor.tensor_content = vector.tobytes()
        return request

    @staticmethod
    def options() -> dict[str, Any]:
        """Of the call."""
        return {"timeout": 10.0, "metadata": (("x-request-id", os.urandom(16).hex()),)}

    def read(self, response: Any) -> tuple[dict[str, list[str]], np.ndarray]:
        """Ids, attributes and scores of the k best."""
        outputs, texts = response.outputs, {}
        for name in ("ids", *ATTRIBUTES):
            texts[name] = [value.decode() for value in outputs[name].string_val[: self.k]]
        return texts, np.array(outputs["scores"].float_val[: self.k], np.float32)


def in_turns(rivals: dict[str, Callable[[], None]], lookups: int, slice_of: int) -> dict[str, float]:
    """Median seconds of one lookup of each rival."""
    taken: dict[str, list[float]] = {name: [] for name in rivals}
    for ask in rivals.values():
        for _ in range(50):
            ask()
    for _ in range(lookups // slice_of):
        for name, ask in rivals.items():
            for _ in range(slice_of):
                started = time.perf_counter()
                ask()
                taken[name].append(time.perf_counter() - started)
    return {name: statistics.median(times) for name, times in taken.items()}


async def in_turns_async(rivals: dict[str, Callable[[], Awaitable[Any]]], lookups: int, size: int) -> dict[str, float]:
    """As `in_turns`, for coroutines."""
    taken: dict[str, list[float]] = {name: [] for name in rivals}
    for ask in rivals.values():
        for _ in range(50):
            await ask()
    for _ in range(lookups // size):
        for name, ask in rivals.items():
            for _ in range(size):
                started = time.perf_counter()
                await ask()
                taken[name].append(time.perf_counter() - started)
    return {name: statistics.median(times) for name, times in taken.items()}


def sync_overhead(address: str, k: int, lookups: int) -> dict[str, float]:
    """Median seconds of a lookup, with `Client` and bare."""
    import grpc

    from serving import Client

    vector = np.random.default_rng(0).normal(size=DIMENSION).astype(np.float32)
    with Client(address) as client, grpc.insecure_channel(address) as channel:
        bare = Bare(channel, k)
        rivals: dict[str, Callable[[], Any]] = {
            "bare": lambda: bare.read(bare.call(bare.request(vector), **bare.options())),
            "client": lambda: client.lookup(vector, k),
        }
        return in_turns(rivals, lookups, 50)


async def async_overhead(address: str, k: int, lookups: int) -> dict[str, float]:
    """Median seconds of a lookup, with `AsyncClient` and bare."""
    import grpc

    from serving import AsyncClient

    vector = np.random.default_rng(0).normal(size=DIMENSION).astype(np.float32)
    async with AsyncClient(address) as client, grpc.aio.insecure_channel(address) as channel:
        bare = Bare(channel, k)

        async def ask_bare() -> Any:
            return bare.read(await bare.call(bare.request(vector), **bare.options()))

        return await in_turns_async({"bare": ask_bare, "client": lambda: client.lookup(vector, k)}, lookups, 50)


def main() -> int:
    """Prints the two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lookups", type=int, default=1000, help="of each rival")
    parser.add_argument("--k", type=int, default=10, help="matches asked for")
    parser.add_argument("--table-k", type=int, default=50, help="matches that the server answers")
    parser.add_argument("--runs", type=int, default=5, help="child processes for each import")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.table_k))
        return 0
    missed = False
    print("| import | seconds | peak MiB |\n| --- | --- | --- |")
    for name, program in IMPORTS.items():
        seconds, mebibytes = import_costs(program, options.runs if name == "serving" else 1)
        print(f"| {name} | {seconds:.3f} | {mebibytes:.1f} |", flush=True)
        missed |= name == "serving" and (seconds > IMPORT_BAR_S or mebibytes > MEMORY_BAR_MIB)
    command = [sys.executable, "-m", "benchmarks.client", "--serve", "--table-k", str(options.table_k)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().removeprefix(ADDRESS_LINE).strip()
        results = {
            "sync": sync_overhead(address, options.k, options.lookups),
            "asyncio": asyncio.run(async_overhead(address, options.k, options.lookups)),
        }
    finally:
        server.terminate()
        server.wait()
    print("\n| lookup | bare stubs, µs | client, µs | ratio |\n| --- | --- | --- | --- |")
    for name, medians in results.items():
        ratio = medians["client"] / medians["bare"]
        print(f"| {name} | {medians['bare'] * 1e6:.0f} | {medians['client'] * 1e6:.0f} | {ratio:.2f} |")
        missed |= ratio > OVERHEAD_BAR
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
