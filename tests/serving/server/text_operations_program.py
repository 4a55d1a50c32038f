"""Serves models that read texts, in a process of its own, and prints what came of it: `python ... EXPORTS OUT`.

EXPORTS are the small exports, of stock operations. OUT gets three versions of their encoder: theirs; one whose lower
case is tensorflow-text's, as its manifest says; and the same without a manifest.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import grpc
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving import contract
from serving.server import EmbeddedServer, ServerOptions

NAME, PACKAGE = "fused_encoder", "tensorflow_text"


def write(exports: Path, out: Path) -> None:
    """All versions; tensorflow-text's operation takes the stock one's place in the graph."""
    stock, declared, bare = (out / NAME / str(version) for version in (1, 2, 3))
    shutil.copytree(exports / NAME / "1", stock)
    shutil.copytree(stock, declared)
    path = declared / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    graph = model.meta_graphs[0].graph_def
    for node in [*graph.node, *(node for function in graph.library.function for node in function.node_def)]:
        if node.op == "StringLower":
            node.op = "CaseFoldUTF8"
            del node.attr["encoding"]
    path.write_bytes(model.SerializeToString())
    shutil.copytree(declared, bare)
    (bare / contract.MANIFEST_FILE).unlink()
    manifest = json.loads((declared / contract.MANIFEST_FILE).read_text())
    manifest |= {"words": {"ops": "tensorflow-text"}, "files": {}}
    (declared / contract.MANIFEST_FILE).write_text(json.dumps(manifest))


async def served(exports: Path) -> dict[str, Any]:
    """Who answered, with what for three spellings of a text; what each version says; and what was imported."""
    server = EmbeddedServer(ServerOptions(exports=exports, port=0))
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            asked = get_model_status_pb2.GetModelStatusRequest()
            asked.model_spec.name = NAME
            status = await model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(asked)
            request = predict_pb2.PredictRequest()
            request.model_spec.name, request.model_spec.signature_name = NAME, contract.EMBED_TEXTS
            request.inputs[contract.TEXT].CopyFrom(tf.make_tensor_proto(["Straße", "STRASSE", "straße"]))
            answer = await prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request)
    finally:
        await server.stop(0)
    return {
        "version": answer.model_spec.version.value,
        "embeddings": tf.make_ndarray(answer.outputs[contract.EMBEDDING]).tolist(),
        "errors": {each.version: each.status.error_message for each in status.model_version_status},
        "imported": PACKAGE in sys.modules,
    }


def main(exports: Path, out: Path) -> None:
    """Serves the stock encoder, then the others: while the package is missing, and with it."""
    write(exports, out)
    told = {"stock": asyncio.run(served(exports / NAME))}
    sys.modules[PACKAGE] = None  # type: ignore[assignment]
    told["missing"] = asyncio.run(served(out))
    del sys.modules[PACKAGE]
    told["text"] = asyncio.run(served(out))
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
