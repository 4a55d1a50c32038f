"""Every model of a run together: heads on frozen backbones, the plain concatenation, and the fused model as a whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from trainer.config import Config, load_config

CONFIG = """
data: {{source: demo, root: {root}/catalogue, demo: {{items_per_type: 5, image_size: 32}}, workers: 1}}
model:
  names: [resnet50, hub_vit, fused, concatenated]
  image_size: 32
  embedding_dim: 16
  resnet50: {{weights: none, batch_norm: train}}
  hub_vit: {{handle: {root}/vit}}
train:
  joint: {{epochs: 1, batch_size: 12, learning_rate: 1e-3, keep: last, layers: [["resnet50/(conv1|conv2)", 0]]}}
evaluate: {{tsne: none, splits: [test]}}
"""


# In a process of its own, since a run sets precision, seeds and determinism for the whole process.
COMMANDS = """
import sys
from trainer.__main__ import main
for arguments in sys.argv[1:]:
    code = main(arguments.split())
    if code:
        sys.exit(code)
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Path]:
    root = tmp_path_factory.mktemp("all")
    (root / "config.yaml").write_text(CONFIG.format(root=root), encoding="utf-8")
    make = f"hub-vit --out {root}/vit --image-size 32 --patch-size 16 --layers 1 --heads 2 --width 16"
    run = f"run --config {root}/config.yaml --workdir {root}/run"
    done = subprocess.run([sys.executable, "-c", COMMANDS, make, run], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return load_config(root / "config.yaml"), root / "run"


def test_every_model_is_measured(finished: tuple[Config, Path]) -> None:
    config, workdir = finished
    rows = json.loads((workdir / "metrics.json").read_text(encoding="utf-8"))
    assert [row["model"] for row in rows] == list(config.model.names)
    for row in rows:
        assert 0.0 <= row["accuracy"] <= 1.0
        # One picture of each label: nothing to find, so nothing is scored.
        assert row["queries"] == row["queries_without_match"] == 12
        assert row["hit_rate@1"] is None


def test_the_joint_stage_moves_the_fused_model_only_and_only_what_is_not_frozen(finished: tuple[Config, Path]) -> None:
    from trainer.training.checkpoint import load_model

    workdir = finished[1]
    models = {name: load_model(workdir / "checkpoints" / name / "best.keras") for name in ("fused", "concatenated")}
    moved = {}
    for part in ("resnet50", "hub_vit"):
        pair = zip(models["fused"].get_layer(part).weights, models["concatenated"].get_layer(part).weights, strict=True)
        moved |= {f"{part}/{a.path}": not np.array_equal(a.numpy(), b.numpy()) for a, b in pair}
    kernels = {path: changed for path, changed in moved.items() if path.endswith("kernel")}
    assert not any(changed for path, changed in kernels.items() if "/conv1" in path or "/conv2" in path)
    assert all(changed for path, changed in kernels.items() if "/conv5" in path)
    assert any(changed for path, changed in kernels.items() if path.startswith("hub_vit/"))


def test_the_plain_concatenation_is_plain(finished: tuple[Config, Path]) -> None:
    from trainer.training.checkpoint import load_model

    model = load_model(finished[1] / "checkpoints" / "concatenated" / "best.keras")
    pictures = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    features = np.concatenate([np.asarray(model.get_layer(part)(pictures)) for part in ("resnet50", "hub_vit")], axis=1)
    expected = features / np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_allclose(model(pictures)["embedding"], expected, rtol=1e-4, atol=1e-6)


def test_evaluating_again_needs_no_backbone(finished: tuple[Config, Path]) -> None:
    workdir = finished[1]
    before = (workdir / "metrics.json").read_text(encoding="utf-8")
    (workdir / "metrics.json").unlink()
    root = workdir.parent
    (root / "vit").rename(root / "moved")  # a model cannot be loaded without its hub module
    try:
        command = f"evaluate --config {root}/config.yaml --workdir {workdir}"
        done = subprocess.run([sys.executable, "-c", COMMANDS, command], capture_output=True, text=True, check=False)
    finally:
        (root / "moved").rename(root / "vit")
    assert done.returncode == 0, done.stderr[-3000:]
    assert (workdir / "metrics.json").read_text(encoding="utf-8") == before
