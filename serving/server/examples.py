"""Classify and Regress: `tf.Example`s in, classes or numbers out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np

from serving.server.errors import RequestError
from serving.server.servable import Servable
from serving.server.signature import Signature

__all__ = ["CLASSIFY", "REGRESS", "checked_signature", "example_arrays", "fill_classifications", "fill_regressions"]

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
_WORDS = {CLASSIFY: "classification", REGRESS: "regression"}


def checked_signature(servable: Servable, name: str, method: str) -> Signature:
    """The signature of a Classify or Regress request.

    Args:
        servable: the version.
        name: of the signature; empty for the default one.
        method: `CLASSIFY` or `REGRESS`.

    Raises:
        RequestError: INVALID_ARGUMENT: unknown, or of another method; FAILED_PRECONDITION: without the inputs or
            outputs that the method needs.
    """
    key, word = name or "serving_default", _WORDS[method]
    signature = servable.signatures.get(key)
    if signature is None:
        raise RequestError.invalid(f"No signature was found with the name: {key}")
    if signature.definition.method_name != method:
        raise RequestError.invalid(
            f"Expected {word} signature method_name to be {method}. Was: {signature.definition.method_name}"
        )
    if len(signature.inputs) != 1:
        raise RequestError.invalid("Expected one input Tensor.")
    needed = {"classes", "scores"} if method == CLASSIFY else {"outputs"}
    if signature.inputs[0].alias != "inputs":
        raise RequestError.failed_precondition(f"No {word} inputs found in SignatureDef: {key}")
    if not needed & set(signature.output_names):
        raise RequestError.failed_precondition(f"No {word} outputs found in SignatureDef: {key}")
    return signature


def example_arrays(given: Any) -> list[np.ndarray]:
    """An `Input`'s examples, serialised, as a signature takes them: one array of strings.

    Raises:
        RequestError: INVALID_ARGUMENT: there is none.
    """
    kind = given.WhichOneof("kind")
    examples = getattr(given, kind).examples if kind else []
    if not examples:
        raise RequestError.invalid("Input is empty.")
    context = given.example_list_with_context.context.SerializeToString() if kind != "example_list" else b""
    array = np.empty(len(examples), object)
    array[:] = [context + example.SerializeToString() for example in examples]
    return [array]


def fill_classifications(result: Any, outputs: Mapping[str, np.ndarray], count: int) -> None:
    """Writes `classes` and `scores`, of which one may be missing, into a `ClassificationResult`.

    Raises:
        RequestError: INVALID_ARGUMENT: of another shape or type than `[examples, classes]` strings and floats.
    """
    classes, scores = outputs.get("classes"), outputs.get("scores")
    for name, output, kind in (("classes", classes, object), ("scores", scores, np.float32)):
        if output is None:
            continue
        if output.ndim != 2:
            raise RequestError.invalid(
                f"Expected Tensor shape: [batch_size num_classes] but got {list(output.shape)} for {name}"
            )
        if output.dtype != kind:
            wanted = "DT_STRING" if kind is object else "DT_FLOAT"
            raise RequestError.invalid(f"Expected {name} Tensor of {wanted}. Got: {output.dtype}")
        if len(output) != count:
            raise RequestError.invalid(f"Expected {name} output batch size of {count}. Got: {len(output)}")
    if classes is not None and scores is not None and classes.shape != scores.shape:
        raise RequestError.invalid(
            f"Tensors class and score should match in dim_size(1). Got {classes.shape[1]} vs. {scores.shape[1]}"
        )
    for row in range(count):
        found = result.classifications.add()
        for place in range((classes if classes is not None else scores).shape[1]):  # type: ignore[union-attr]
            item = found.classes.add()
            if classes is not None:
                item.label = bytes(classes[row, place]).decode("utf-8", "replace")
            if scores is not None:
                item.score = float(scores[row, place])


def fill_regressions(result: Any, outputs: Mapping[str, np.ndarray], count: int) -> None:
    """Writes `outputs`, `[examples]` or `[examples, 1]` floats, into a `RegressionResult`.

    Raises:
        RequestError: INVALID_ARGUMENT: of another shape or type.
    """
    output = outputs["outputs"]
    if not (output.ndim == 1 or (output.ndim == 2 and output.shape[1] == 1)):
        raise RequestError.invalid(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {list(output.shape)}"
        )
    if len(output) != count:
        raise RequestError.invalid(f"Input batch size did not match output batch size: {count} vs. {len(output)}")
    if output.dtype != np.float32:
        raise RequestError(grpc.StatusCode.INVALID_ARGUMENT, f"Expected output Tensor of DT_FLOAT. Got: {output.dtype}")
    for value in output.ravel().tolist():
        result.regressions.add(value=value)
