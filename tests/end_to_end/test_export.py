"""From a run to served models by the command line: exported, verified, killed, rolled back."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pytest

from export.publish import link_tree, staged_version
from serving.contract import (
    BATCHING_FILE,
    EVALUATION_FILE,
    GOLDEN_FILE,
    MANIFEST_FILE,
    SIGNATURES,
    WARMUP_FILE,
    Manifest,
)

CONFIG = """
seed: 4
data: {{source: demo, root: {root}/catalogue, demo: {{items_per_type: 6, image_size: 32}}, workers: 1}}
model: {{names: [hub_vit], image_size: 32, embedding_dim: 16, hub_vit: {{handle: {root}/vit}}}}
train: {{start: random, refit: false, head: {{epochs: 1}}, finetune: {{epochs: 0}}}}
words: {{encoder: {{length: 12, width: 16, layers: 1, heads: 2}}, locked: {{epochs: 1}}}}
evaluate: {{tsne: none}}
"""
COMMANDS = """
import contextlib, importlib, io, json, sys
ends = []
for room, arguments in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = importlib.import_module(f"{room}.__main__").main(arguments)
    ends.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(ends))
"""
KINDS = ("encoder", "lookup", "search")


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


def read_until(words: str, stream: IO[bytes]) -> None:
    seen = b""
    while words.encode() not in seen:
        character = stream.read(1)
        assert character, seen[-3000:]
        seen += character


class Exports:
    """What the commands left, and how they ended."""

    def __init__(self, root: Path) -> None:
        self.run, self.out = root / "run", root / "exports"
        training = ["run", "--config", str(root / "small.yaml"), "--workdir", str(self.run)]
        place = ["--out", str(self.out), "--model", "hub_vit"]
        export = ["--workdir", str(self.run), *place, "--set", "top_k=12", "batching.allowed_batch_sizes=[1, 2]"]
        self.train, self.export = self.call(["trainer", training], ["export", [*export, "labels=[stable]"]])
        assert self.train[0] == self.export[0] == 0, (self.train, self.export)
        with started("-m", "export", *export, "index.dtype=int8") as process:
            assert process.stderr is not None
            read_until("verifying hub_vit_encoder", process.stderr)
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=60)
        self.after_kill = self.there()
        for kind in KINDS:
            with staged_version(self.out / f"hub_vit_{kind}", 2) as folder:
                link_tree(self.out / f"hub_vit_{kind}" / "1", folder)
        folders = [str(self.out / f"hub_vit_{kind}" / "3") for kind in KINDS]
        self.rollback, self.verify, self.prune, self.unknown = self.call(
            ["export", ["rollback", *place, "--to", "1"]],
            ["export", ["verify", *folders, "--workdir", str(self.run)]],
            ["export", ["prune", *place, "--keep", "1"]],
            ["export", ["--workdir", str(self.run), "--out", str(self.out), "--model", "fused"]],
        )

    def call(self, *commands: Any) -> list[Any]:
        with started("-c", COMMANDS, json.dumps(commands)) as process:
            out, errors = process.communicate(timeout=280)
        assert process.returncode == 0, errors[-3000:]
        return json.loads(out.decode().splitlines()[-1])

    def there(self) -> dict[str, list[str]]:
        return {
            base.name: sorted(path.name for path in base.iterdir() if path.is_dir()) for base in self.out.glob("*_*")
        }

    def manifest(self, kind: str, version: int) -> Manifest:
        return Manifest.from_json((self.out / f"hub_vit_{kind}" / str(version) / MANIFEST_FILE).read_bytes())


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Exports:
    import trainer.tensorflow_quiet  # noqa: F401  isort: skip
    import keras
    import keras_hub

    from trainer.jobs.hub_vit import write_hub_vit

    root = tmp_path_factory.mktemp("exports")
    keras.utils.set_random_seed(0)
    shape = {"image_shape": (32, 32, 3), "patch_size": 8, "num_layers": 1, "num_heads": 2, "hidden_dim": 16}
    backbone = keras_hub.models.ViTBackbone(**shape, mlp_dim=32, dropout_rate=0.0, attention_dropout=0.0)
    write_hub_vit(backbone, root / "vit")
    (root / "small.yaml").write_text(CONFIG.format(root=root), encoding="utf-8")
    return Exports(root)


def test_all_commands_end_well(exports: Exports) -> None:
    for code, out, err in (exports.train, exports.export, exports.rollback, exports.verify, exports.prune):
        assert code == 0, err
        assert "Traceback" not in out + err


def test_killed_while_it_verifies_it_publishes_nothing(exports: Exports) -> None:
    assert set(exports.after_kill) == {f"hub_vit_{kind}" for kind in KINDS}
    for names in exports.after_kill.values():
        assert [name for name in names if name.isdigit()] == ["1"]
        assert len(names) == 2  # what was staged: it was killed in the middle


def test_what_is_left_is_the_newest_and_the_labelled(exports: Exports) -> None:
    # What was killed took no number; version 3 is version 1 again, which is labelled.
    assert exports.there() == {f"hub_vit_{kind}": ["1", "3"] for kind in KINDS}
    for kind in KINDS:
        assert exports.manifest(kind, 3) == exports.manifest(kind, 1)
    assert exports.prune[1].splitlines() == [f"removed {exports.out}/hub_vit_{kind}/2" for kind in KINDS]


def test_a_version_holds_all_that_a_server_needs(exports: Exports) -> None:
    for kind in KINDS:
        folder = exports.out / f"hub_vit_{kind}" / "3"
        for name in ("saved_model.pb", "variables", BATCHING_FILE, WARMUP_FILE, GOLDEN_FILE, EVALUATION_FILE):
            assert (folder / name).exists(), name
    config = (exports.out / "models.config").read_text(encoding="utf-8")
    assert config.count('model_platform: "tensorflow"') == 3


def test_manifests_say_what_is_in_them(exports: Exports) -> None:
    items = pd.read_parquet(exports.run / "items.parquet")
    found = {kind: exports.manifest(kind, 3) for kind in KINDS}
    calibrated = exports.run / "evaluation" / "hub_vit" / "no_match.json"
    for kind, manifest in found.items():
        assert manifest.served_name == f"hub_vit_{kind}"
        assert set(manifest.signatures) == set(SIGNATURES[manifest.kind])
        assert (manifest.embedding_dim, manifest.precision, manifest.target) == (16, "float32", "cpu")
        assert manifest.libraries["tensorflow"].startswith("2.")
        assert manifest.evaluation[0]["model"] == "hub_vit"
        assert manifest.no_match["threshold"] == json.loads(calibrated.read_text())["threshold"]
        assert {"precision", "recall", "calibrated_on"} < set(manifest.no_match)
        assert bool(manifest.words) == (kind != "lookup")
    assert found["encoder"].words == found["search"].words
    assert (found["search"].words["ops"], found["search"].words["length"]) == ("stock", 12)
    assert len({manifest.fingerprint for manifest in found.values()}) == 1
    assert found["lookup"].table_fingerprint == found["search"].table_fingerprint != ""
    assert found["encoder"].table_fingerprint == ""
    assert found["lookup"].item_count == found["search"].item_count == len(items)
    assert set(found["encoder"].labels) == set(items["label"])
    assert {"label", "split"} <= set(found["lookup"].filterable) <= set(found["lookup"].attributes)
    assert not {"image_path", "predicted_label", "confidence"} & set(found["lookup"].attributes)


def test_answers_are_the_trainer_s_and_so_are_the_metrics(exports: Exports) -> None:
    rows = json.loads((exports.run / "metrics.json").read_text())
    [row] = [row for row in rows if (row["model"], row["split"]) == ("hub_vit", "test")]
    shown = exports.verify[1]
    for kind in KINDS:
        assert f"hub_vit_{kind}\n" in shown
    for name in ("hit_rate@1", "hit_rate@5", "hit_rate@10", "precision@5"):
        found = re.findall(rf"{name} +(\S+) \(run: (\S+)\)", shown)
        assert found == [(f"{row[name]:.4f}",) * 2] * 3  # by the encoder, the lookup and the search
    assert shown.count(f"{row['accuracy']:.4f} (run: {row['accuracy']:.4f})") >= 1
    assert "recall@10 against the trainer's" in shown
    queries = int(row["queries"])
    assert shown.count(f"{queries} of {queries} queries with the identical 12 ids, 0 but for near ties") == 2
    assert "drift over 14 pictures: cosine 1.000000" in exports.export[1]
    assert "published" in exports.export[1]


def test_nothing_of_a_version_tells_where_it_was_made(exports: Exports) -> None:
    root = str(exports.run.parent).encode()
    for path in (exports.out / "hub_vit_search" / "3").rglob("*"):
        assert not path.is_file() or root not in path.read_bytes(), path


def test_a_model_that_the_run_does_not_have_is_said(exports: Exports) -> None:
    code, out, err = exports.unknown
    assert (code, out) == (2, "")
    assert "fused/best.keras; there is none" in err
    assert "(hub_vit)" in err
    assert err.count("\n") == 1


def test_a_served_picture_is_embedded_as_in_the_run(exports: Exports) -> None:
    from trainer.retrieval import EmbeddingTable

    table = EmbeddingTable.read_parquet(exports.run / "embeddings" / "hub_vit.parquet")
    with np.load(exports.out / "hub_vit_encoder" / "3" / EVALUATION_FILE) as archive:
        rows = [table.ids.tolist().index(name) for name in archive["query_ids"].tolist()]
        assert np.array_equal(archive["vectors"], table.vectors[rows])
    golden = json.loads((exports.out / "hub_vit_encoder" / "3" / GOLDEN_FILE).read_text(encoding="utf-8"))["requests"]
    embedded = [request for request in golden if request["signature"] == "embed_images"]
    assert len(embedded) == 8
    for request in embedded:
        expected = table.vectors[table.ids.tolist().index(request["id"])]
        np.testing.assert_allclose(request["outputs"]["embedding"][0], expected, atol=1e-5)


def test_a_served_text_is_embedded_as_in_the_run(exports: Exports) -> None:
    requests = json.loads((exports.out / "hub_vit_encoder" / "3" / GOLDEN_FILE).read_text(encoding="utf-8"))["requests"]
    embedded = [request for request in requests if request["signature"] == "embed_texts"]
    assert len({request["inputs"]["text"][0] for request in embedded}) > 1
    for request in embedded:
        np.testing.assert_allclose(request["outputs"]["embedding"], request["trainer"]["embedding"], atol=1e-5)
