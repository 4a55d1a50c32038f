"""Writes `reference_values.json`: what pytorch-metric-learning answers, to hold our losses against.

Not run by the tests, which need no torch. To make the file anew, in an environment of its own:

    python -m pip install torch pytorch-metric-learning
    python tests/losses/make_reference_values.py

Every value is computed in float64. `embeddings` and `proxies` below a case are the gradients of the value. The inputs
are drawn from `seed` and stored beside it; the embeddings are of different lengths on purpose.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_metric_learning import losses, miners

SEED, CLASSES, SUB_CENTERS, WIDTH = 7, 6, 3, 8
LABELS = [0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 4, 0, 1, 4, 5]  # class 5 has no other; every class but that has one or more
DEGREES = math.degrees(0.5)


def draw() -> dict[str, Any]:
    random = np.random.default_rng(SEED)
    rows = random.normal(size=(len(LABELS), WIDTH)) + 0.8 * random.normal(size=(CLASSES, WIDTH))[LABELS]
    return {
        "embeddings": rows.round(4).tolist(),
        "labels": LABELS,
        "memory_embeddings": random.normal(size=(10, WIDTH)).round(4).tolist(),
        "memory_labels": random.integers(0, CLASSES, 10).tolist(),
        "proxies": random.normal(size=(CLASSES * SUB_CENTERS, WIDTH)).round(4).tolist(),
    }


def answer(loss: Callable[..., Any], inputs: dict[str, Any], name: str | None, **settings: Any) -> dict[str, Any]:
    """The value of a loss on the inputs and its gradients; `name` is that of its proxies."""
    embeddings = torch.tensor(inputs["embeddings"], dtype=torch.float64, requires_grad=True)
    if name is not None:
        weights = getattr(loss, name)
        proxies = torch.tensor(inputs["proxies"], dtype=torch.float64)
        # Ours are rows; theirs are columns where there are as many rows as numbers in an embedding.
        columns = weights.shape[0] == WIDTH
        chosen = proxies[: weights.shape[1 if columns else 0]]
        weights.data = chosen.T.contiguous() if columns else chosen
    value = loss(embeddings, torch.tensor(inputs["labels"]))
    value.backward()
    found = {"settings": settings, "value": value.item(), "embeddings": rounded(embeddings.grad)}
    if name is not None:
        found["proxies"] = rounded(weights.grad.T if columns else weights.grad)
    return found


def rounded(gradient: Any) -> list[Any]:
    return [[float(f"{number:.7g}") for number in row] for row in gradient.tolist()]


def unit(rows: Any) -> Any:
    return torch.nn.functional.normalize(rows)


def semi_hard(embeddings: Any, labels: Any) -> tuple[Any, Any, Any]:
    """Of all triplets whose negative is farther than the positive, the nearest negative for each pair."""
    anchors, positives, negatives = miners.TripletMarginMiner(margin=9.0, type_of_triplets="semihard")(
        embeddings, labels
    )
    distance = torch.cdist(unit(embeddings), unit(embeddings))
    nearest: dict[tuple[int, int], int] = {}
    for a, p, n in zip(anchors.tolist(), positives.tolist(), negatives.tolist(), strict=True):
        known = nearest.get((a, p))
        if known is None or distance[a, n] < distance[a, known]:
            nearest[(a, p)] = n
    rows = [(a, p, n) for (a, p), n in nearest.items()]
    return tuple(torch.tensor(column) for column in zip(*rows, strict=True))  # type: ignore[return-value]


def triplets(margin: float | str, miner: Callable[..., Any] | None) -> Callable[[Any, Any], Any]:
    soft = margin == "soft"
    loss = losses.TripletMarginLoss(margin=0.0 if soft else margin, smooth_loss=soft)
    return lambda embeddings, labels: loss(embeddings, labels, miner and miner(embeddings, labels))


def with_memory(inputs: dict[str, Any]) -> Callable[[Any, Any], Any]:
    """`SupConLoss` against the batch itself, each anchor left out, and what is remembered."""
    loss = losses.SupConLoss(temperature=0.1)

    def call(embeddings: Any, labels: Any) -> Any:
        others = torch.cat([embeddings, torch.tensor(inputs["memory_embeddings"], dtype=torch.float64)])
        classes = torch.cat([labels, torch.tensor(inputs["memory_labels"])])
        same = labels[:, None] == classes[None]
        own = torch.eye(len(labels), len(classes), dtype=torch.bool)
        pairs = (*torch.where(same & ~own), *torch.where(~same))
        return loss(embeddings, labels, pairs, others, classes)

    return call


def main() -> None:
    torch.set_default_dtype(torch.float64)
    inputs = draw()
    miner = miners.MultiSimilarityMiner(epsilon=0.1)
    similar = losses.MultiSimilarityLoss(alpha=2, beta=50, base=0.5)
    center = {"margin": DEGREES, "scale": 64}
    cases = {
        "normalized_softmax": answer(
            losses.NormalizedSoftmaxLoss(CLASSES, WIDTH, temperature=0.05), inputs, "W", temperature=0.05
        ),
        "arc_face": answer(losses.ArcFaceLoss(CLASSES, WIDTH, **center), inputs, "W", margin=0.5, scale=64),
        "arc_face, sub-centres": answer(
            losses.SubCenterArcFaceLoss(num_classes=CLASSES, embedding_size=WIDTH, sub_centers=SUB_CENTERS, **center),
            inputs,
            "W",
            margin=0.5,
            scale=64,
            sub_centers=SUB_CENTERS,
        ),
        "proxy_anchor": answer(
            losses.ProxyAnchorLoss(CLASSES, WIDTH, margin=0.1, alpha=32), inputs, "proxies", margin=0.1, alpha=32
        ),
        "supervised_contrastive": answer(losses.SupConLoss(temperature=0.1), inputs, None, temperature=0.1),
        "supervised_contrastive, memory": answer(with_memory(inputs), inputs, None, temperature=0.1),
        "multi_similarity": answer(
            lambda embeddings, labels: similar(embeddings, labels, miner(embeddings, labels)),
            inputs,
            None,
            alpha=2,
            beta=50,
            base=0.5,
            epsilon=0.1,
        ),
    }
    mining = {"semi_hard": semi_hard, "batch_hard": miners.BatchHardMiner(), "all": None}
    for name, found in mining.items():
        for margin in (0.2, "soft"):
            cases[f"triplet, {name}, {margin}"] = answer(
                triplets(margin, found), inputs, None, mining=name, margin=margin
            )
    packages = {name: version(name) for name in ("pytorch-metric-learning", "torch", "numpy")}
    path = Path(__file__).with_name("reference_values.json")
    content = {"seed": SEED, "versions": packages, "inputs": inputs, "cases": cases}
    path.write_text(json.dumps(content, indent=None) + "\n", encoding="utf-8")
    print(path, *(f"{name}: {case['value']:.6f}" for name, case in cases.items()), sep="\n")


if __name__ == "__main__":
    main()
