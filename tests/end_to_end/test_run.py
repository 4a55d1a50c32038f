"""From the command to the table: a whole run, a second call, and a run that was stopped and goes on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pandas as pd
import pytest

CONFIG = """
seed: 4
data: {{source: demo, root: {root}/catalogue, demo: {{items_per_type: 6, image_size: 32}}, workers: 1}}
model: {{names: [hub_vit], image_size: 32, embedding_dim: 16, hub_vit: {{handle: {root}/vit}}}}
train: {{start: random, refit: false, head: {{epochs: 1}}, finetune: {{epochs: 1, batch_size: 2, learning_rate: 1e-3}}}}
evaluate: {{tsne: none, gallery: [split, train], baselines: [raw_pixels]}}
"""

# Several commands in one process, since most of the time of a small one goes into importing TensorFlow.
COMMANDS = """
import json, sys, time
from trainer.__main__ import main
ends = []
for arguments in json.loads(sys.argv[1]):
    begun = time.time_ns()
    ends.append([main(arguments), begun, time.time_ns()])
print()
print(json.dumps(ends))
"""


def written(workdir: Path) -> dict[str, int]:
    """When each file of the checkpoints and features was written."""
    files = [path for folder in ("checkpoints", "features") for path in (workdir / folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(workdir)): path.stat().st_mtime_ns for path in files if path.suffix != ".lock"}


def read_until(words: str, stream: IO[bytes]) -> str:
    """What a process writes until these words come."""
    seen = b""
    while words.encode() not in seen:
        character = stream.read(1)
        assert character, seen[-3000:]
        seen += character
    return seen.decode()


@contextlib.contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, *arguments], env=environment, stdout=pipe, stderr=pipe, bufsize=0
    ) as process:
        try:
            yield process
        finally:
            process.kill()


class Runs:
    """What all runs of this file left, and how they ended."""

    def __init__(self, root: Path) -> None:
        from trainer.training.checkpoint import read_progress

        self.whole, self.stopped = root / "whole", root / "stopped"
        common = ["--config", str(root / "small.yaml"), "--workdir"]
        with started("-m", "trainer", "run", *common, str(self.stopped)) as process:
            assert process.stderr is not None
            self.stopped_err = read_until("| 1/22 [", process.stderr)
            process.send_signal(signal.SIGINT)
            _, rest = process.communicate(timeout=200)
            self.stopped_err += rest.decode()
            self.stopped_code = process.returncode
        self.when_stopped = written(self.stopped)
        self.progress_when_stopped = read_progress(self.stopped / "checkpoints" / "hub_vit" / "finetune" / "last.keras")
        commands = [
            ["run", *common, str(self.whole)],
            ["train", *common, str(self.stopped)],
            ["evaluate", *common, str(self.stopped)],
            ["train", *common, str(self.whole)],
        ]
        with started("-c", COMMANDS, json.dumps(commands)) as process:
            out, errors = process.communicate(timeout=280)
        assert process.returncode == 0, errors[-3000:]
        self.out = out.decode()
        ends = json.loads(self.out.splitlines()[-1])
        self.codes = [code for code, _, _ in ends]
        self.first_end, self.second_seconds = ends[0][2], (ends[-1][2] - ends[-1][1]) / 1e9


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    import trainer.tensorflow_quiet  # noqa: F401  isort: skip
    import keras
    import keras_hub

    from trainer.jobs.hub_vit import write_hub_vit

    root = tmp_path_factory.mktemp("runs")
    keras.utils.set_random_seed(0)
    shape = {"image_shape": (32, 32, 3), "patch_size": 8, "num_layers": 1, "num_heads": 2, "hidden_dim": 16}
    backbone = keras_hub.models.ViTBackbone(**shape, mlp_dim=32, dropout_rate=0.0, attention_dropout=0.0)
    write_hub_vit(backbone, root / "vit")
    (root / "small.yaml").write_text(CONFIG.format(root=root), encoding="utf-8")
    return Runs(root)


def metrics(workdir: Path) -> list[dict[str, Any]]:
    return json.loads((workdir / "metrics.json").read_text(encoding="utf-8"))


def test_a_run_ends_well_and_writes_everything(runs: Runs) -> None:
    assert runs.codes == [0, 0, 0, 0]
    files = {str(path.relative_to(runs.whole)) for path in runs.whole.rglob("*") if path.is_file()}
    assert files >= {
        "config.yaml",
        "run.json",
        "items.parquet",
        "items.pkl",
        "prepare_report.json",
        "rejected.csv",
        "checkpoints/hub_vit/best.keras",
        "checkpoints/hub_vit/head/history.csv",
        "checkpoints/hub_vit/finetune/history.csv",
        "embeddings/hub_vit.parquet",
        "embeddings/raw_pixels.parquet",
        "metrics.json",
        "comparison.md",
        "comparison.csv",
        "plots/confusion-hub_vit.png",
        "plots/map-hub_vit-pca-2d.png",
        "plots/neighbours-hub_vit.png",
        "plots/neighbours-raw_pixels.png",
        "plots/training.png",
    }
    assert not [name for name in files if ".partial" in name]
    assert "accuracy" in runs.out
    assert "hub_vit" in runs.out


def test_metrics_say_what_was_measured_how(runs: Runs) -> None:
    rows = metrics(runs.whole)
    splits = [("validation", "validation"), ("validation", "train"), ("test", "test"), ("test", "train")]
    expected = [(model, split, gallery) for model in ("raw_pixels", "hub_vit") for split, gallery in splits]
    assert [(row["model"], row["split"], row["gallery"]) for row in rows] == expected
    items = pd.read_parquet(runs.whole / "items.parquet")
    for row in rows:
        assert row["queries"] == (items["split"] == row["split"]).sum()
        assert ("accuracy" in row) == (row["model"] == "hub_vit")
        for name, value in row.items():
            if name not in ("model", "split", "gallery", "queries", "queries_without_match", "intervals", "macro"):
                assert 0.0 <= value <= 1.0, name
        assert row["intervals"]["hit_rate@1"][0] <= row["hit_rate@1"] <= row["intervals"]["hit_rate@1"][1]
        assert {"hit_rate@1", "hit_rate@5", "hit_rate@10", "precision@1"} <= set(row)
        assert row["hit_rate@1"] <= row["hit_rate@5"] <= row["hit_rate@10"]


def test_embeddings_are_those_of_all_items(runs: Runs) -> None:
    from trainer.retrieval import EmbeddingTable

    items = pd.read_parquet(runs.whole / "items.parquet")
    table = EmbeddingTable.read_parquet(runs.whole / "embeddings" / "hub_vit.parquet")
    assert table.ids.tolist() == items["id"].tolist()
    assert table.vectors.shape == (len(items), 16)
    assert table.attributes["split"].tolist() == items["split"].tolist()
    assert set(table.attributes["predicted_label"]) <= set(items["label"])


def test_an_interrupted_run_says_how_to_go_on(runs: Runs) -> None:
    assert runs.stopped_code == 130
    assert runs.stopped_err.rstrip().endswith("interrupted; the same command goes on from here")
    assert "hub_vit/finetune: interrupted; the same command goes on from" in runs.stopped_err
    assert "Traceback" not in runs.stopped_err
    assert runs.progress_when_stopped is not None
    assert 0 < runs.progress_when_stopped.batch < 22  # 44 pictures, 2 in a batch
    assert "checkpoints/hub_vit/best.keras" not in runs.when_stopped


def test_an_interrupted_run_goes_on_to_the_same_metrics(runs: Runs) -> None:
    assert metrics(runs.stopped) == metrics(runs.whole)
    for stage in ("head", "finetune"):
        histories = [
            pd.read_csv(workdir / "checkpoints" / "hub_vit" / stage / "history.csv").drop(columns="seconds")
            for workdir in (runs.stopped, runs.whole)
        ]
        pd.testing.assert_frame_equal(*histories)
    before, after = runs.when_stopped, written(runs.stopped)
    kept = {name for name in before if before[name] == after[name]}
    assert {name for name in before if name.startswith("checkpoints/hub_vit/head/")} <= kept
    assert "checkpoints/hub_vit/finetune/last.keras" not in kept


def test_a_second_call_trains_nothing_and_is_quick(runs: Runs) -> None:
    files = written(runs.whole)
    assert len(files) > 10
    assert {name for name, when in files.items() if when > runs.first_end} == set()
    assert runs.second_seconds < 20
