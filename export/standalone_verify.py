"""Verifies exported versions with nothing but TensorFlow, NumPy and the standard library.

    python -I standalone_verify.py [--pictures FILE.json] FOLDER...

It stands alone on purpose: what it can load and ask, any process can that has never heard of this project. To standard
output it writes one JSON object a folder: `difference` (null, or the first one found, in one line) and `checks`, what
was looked at with its result. FILE.json maps ids of items to their pictures, so that an encoder or a search can be
asked with every picture of the evaluation.
"""

from __future__ import annotations

import hashlib
import importlib.abc
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from google.protobuf import empty_pb2, unknown_fields
from tensorflow.core.framework import tensor_pb2

__all__: list[str] = []

EXTRA = "assets.extra"
MANIFEST = f"{EXTRA}/manifest.json"
WARMUP = f"{EXTRA}/tf_serving_warmup_requests"
GOLDEN = f"{EXTRA}/golden.json"
EVALUATION = f"{EXTRA}/evaluation.npz"
BATCHING = "batching_params.pbtxt"
KS = (1, 5, 10)
NEAR_TIE = 5e-6
"""Scores that differ by less may change places: they do when the same sums of float32 are added in another order."""
BESIDE = {"ids", "scores", "fingerprint", "table_fingerprint", "no_match_threshold"}  # outputs beside items' attributes
WIDTHS = {"ids": "top_k", "labels": "top_k", "embedding": "embedding_dim"}  # to what the manifest says of their columns
EVALUATED = {"ids", "scores", "label", "labels", "embedding"}  # outputs that the evaluation looks at
FINE, COARSE = 1e-5, 2e-2  # how far answers may be from what was recorded, in float32 and in any other precision


class Difference(Exception):  # noqa: N818 (what is looked for, not an error of this program)
    """What a version holds is not what it promises."""

    @classmethod
    def between(cls, where: str, expected: Any, received: Any) -> Difference:
        return cls(f"{where}: expected {expected}, received {received}")


class NoProjectCode(importlib.abc.MetaPathFinder):
    """Makes the project's packages impossible to import, wherever they are installed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] in ("trainer", "export", "serving"):
            raise ImportError(f"{name}: project code is not to be used here")


class Version:
    """One exported version: its files, its loaded signatures, and what was found out about it."""

    def __init__(self, folder: Path, pictures: Mapping[str, str]) -> None:
        self.folder, self.pictures = folder, pictures
        self.checks: list[tuple[str, str]] = []
        self.all_asked = True
        self.manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        self.tolerance = FINE if self.manifest["precision"] == "float32" else COARSE
        index = self.manifest["index"]
        self.exact = not index or (index.get("type") == "exact" and index.get("dtype") == "float32")

    def verify(self) -> None:
        """Everything, in the order of cost; the first difference is raised."""
        self._check_files()
        self.loaded = tf.saved_model.load(str(self.folder), tags=["serve"])  # keeps the variables alive
        self.signatures = self.loaded.signatures
        expected = {"serving_default", *self.manifest["signatures"]}
        if set(self.signatures) != expected:
            raise Difference.between("signatures", sorted(expected), sorted(self.signatures))
        self._replay_golden()
        self._replay_warmup()
        self._evaluate()

    def _check_promises(self, name: str, answer: Mapping[str, np.ndarray]) -> None:
        """Holds one signature's answer against what the manifest tells clients."""
        told, inputs = self.manifest, set(self.signatures[name].structured_input_signature[1])
        facts: list[tuple[str, Any, Any]] = [
            (key, {told[key]}, set(answer[key].tolist()))
            for key in ("fingerprint", "table_fingerprint")
            if key in answer
        ]
        facts += [(fact, (told[fact],), answer[key].shape[1:]) for key, fact in WIDTHS.items() if key in answer]
        if "no_match_threshold" in answer:
            threshold = np.float32(told["no_match"].get("threshold", np.nan))
            facts.append(("no_match.threshold", {threshold}, set(answer["no_match_threshold"])))
        if "ids" in answer:
            facts.append(("attributes", set(told["attributes"]), set(answer) - BESIDE))
            tables = [value for value in self.signatures[name].variables if value.name.partition(":")[0] == "ids"]
            facts += [("item_count", (max(1, told["item_count"]),), value.numpy().shape) for value in tables]
        if name.endswith("_filtered"):
            facts.append(("filterable", set(told["filterable"]) - inputs, set()))
        for what, expected, received in facts:
            if expected != received:
                raise Difference(f"{name}: {what}: the manifest says {expected}, the model {received}")

    def ask(self, name: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """A signature's answer as arrays, strings as text."""
        specs = self.signatures[name].structured_input_signature[1]
        if set(specs) != set(inputs):
            raise Difference.between(name, f"the inputs {sorted(inputs)}", sorted(specs))
        answer = self.signatures[name](**{key: tf.constant(value, specs[key].dtype) for key, value in inputs.items()})
        return {key: as_text(value.numpy()) for key, value in answer.items()}

    def _check_files(self) -> None:
        recorded = self.manifest["files"]
        found = {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()}
        found.discard(MANIFEST)
        for name in sorted(set(recorded) | found):
            if name not in found:
                raise Difference(f"files: {name} is in the manifest, it is not there")
            if name not in recorded:
                raise Difference(f"files: {name} is there, it is not in the manifest")
            with open(self.folder / name, "rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            if digest != (told := recorded[name]):
                raise Difference(f"files: {name} has the SHA-256 {digest[:16]}…, the manifest says {told[:16]}…")
        self.checks.append(("files", f"{len(found)} with the recorded SHA-256"))

    def _replay_golden(self) -> None:
        if not (self.folder / GOLDEN).is_file():
            self.checks.append(("golden requests", "none"))
            return
        record = json.loads((self.folder / GOLDEN).read_text(encoding="utf-8"))
        furthest, ties = 0.0, 0
        for number, request in enumerate(record["requests"]):
            where = f"golden request {number} ({request['signature']})"
            inputs = {name: self._value(value) for name, value in request["inputs"].items()}
            answer = self.ask(request["signature"], inputs)
            expected = {name: np.asarray(value) for name, value in request["outputs"].items()}
            ties += self._compare(where, expected, answer)
            for name, value in request.get("trainer", {}).items():
                furthest = max(furthest, distance(value, answer[name]))
        moved = f", {ties} near ties in another order" if ties else ""
        self.checks.append(("golden requests", f"{len(record['requests'])} answered as recorded{moved}"))
        if furthest:
            self._limit("embedding against the trainer's, golden pictures", furthest)

    def _limit(self, what: str, furthest: float) -> None:
        if not furthest <= self.tolerance:
            raise Difference.between(what, f"at most {self.tolerance:g} apart", f"{furthest:.3g}")
        self.checks.append((what, f"at most {furthest:.2g} apart"))

    def _value(self, value: Any) -> Any:
        if isinstance(value, dict):
            contents = [(self.folder / EXTRA / name).read_bytes() for name in next(iter(value.values()))]
            return contents if "files" in value else [tf.io.decode_png(each, channels=3).numpy() for each in contents]
        return value

    def _compare(self, where: str, expected: Mapping[str, np.ndarray], answer: Mapping[str, np.ndarray]) -> int:
        """Raises the first difference; the number of near ties that changed places."""
        if set(expected) != set(answer):
            raise Difference(f"{where}: expected the outputs {sorted(expected)}, received {sorted(answer)}")
        names = "ids" if "ids" in expected else "labels" if "labels" in expected else None
        ties = 0
        same: Any = slice(None)
        if names is not None:
            rank = (expected[names], expected["scores"], answer[names], answer["scores"])
            ties, _ = ranking(where, *rank, tie=self.tolerance, tolerance=self.tolerance)
            same = expected[names] == answer[names]
        for name, value in expected.items():
            if value.shape != answer[name].shape:
                raise Difference.between(f"{where}: {name}", f"the shape {value.shape}", answer[name].shape)
            if np.issubdtype(answer[name].dtype, np.floating):
                if not (apart := distance(value, answer[name])) <= self.tolerance:
                    raise Difference.between(f"{where}: {name}", f"at most {self.tolerance:g} apart", f"{apart:.3g}")
            elif name != names:
                places = same if names is not None and value.shape == np.shape(same) else slice(None)
                if not np.array_equal(value[places], answer[name][places]):
                    raise Difference(f"{where}: {name}: expected {value.tolist()}, received {answer[name].tolist()}")
        return ties

    def _replay_warmup(self) -> None:
        sizes = [int(n) for n in re.findall(r"allowed_batch_sizes: (\d+)", (self.folder / BATCHING).read_text())]
        missing = {(name, size) for name in self.signatures for size in sizes}
        count = 0
        for record in tf.data.TFRecordDataset(str(self.folder / WARMUP)).as_numpy_iterator():
            name, inputs = predict_request(record)
            values = {key: tf.make_ndarray(value) for key, value in inputs.items()}
            size = len(next(iter(values.values())))
            answer = self.ask(name, values)
            self._check_promises(name, answer)
            for key, value in answer.items():
                if value.ndim < 1 or len(value) != size:
                    raise Difference(f"warm-up of {name}: {key}: expected {size} rows, received shape {value.shape}")
            missing.discard((name, size))
            count += 1
        if missing:
            raise Difference("warm-up: no request for {} with batch size {}".format(*min(missing)))
        self.checks.append(("warm-up requests", f"{count} answered, batch sizes {', '.join(map(str, sizes))}"))

    def _evaluate(self) -> None:
        if not (self.folder / EVALUATION).is_file():
            self.checks.append(("evaluation", "not recorded"))
            return
        with np.load(self.folder / EVALUATION, allow_pickle=False) as archive:
            self.recorded = {name: archive[name] for name in archive.files}
        if self.manifest["kind"] == "lookup":
            self._evaluate_ranking("lookup", "embedding", self.recorded["vectors"])
            return
        ids = self.recorded["query_ids"].tolist()
        rows = [row for row, name in enumerate(ids) if name in self.pictures]
        self.all_asked = len(rows) == len(ids)
        if rows:
            per_query = ("query_ids", "vectors", "labels", "neighbour_ids", "scores")
            self.recorded |= {name: self.recorded[name][rows] for name in per_query}
            paths = [self.pictures[ids[row]] for row in rows]
            self.checks.append(("evaluation", f"{len(rows)} of {len(ids)} pictures"))
            if self.manifest["kind"] == "search":
                self._evaluate_ranking("search_images", "image_bytes", paths)
            else:
                self._evaluate_encoder(paths)
        if not self.all_asked:
            self.checks.append(("metrics", "not recomputed: give --workdir RUN for all pictures"))

    def _evaluate_ranking(self, signature: str, argument: str, queries: Any) -> None:
        recorded, answers = self.recorded, self._ask_all(signature, argument, queries)
        k = min(answers["ids"].shape[1], recorded["neighbour_ids"].shape[1])
        ids, scores = recorded["neighbour_ids"][:, :k], recorded["scores"][:, :k]
        ties = 0
        if self.exact and self.manifest["precision"] == "float32":
            tie = NEAR_TIE if argument == "embedding" else 2 * self.tolerance
            rank = (ids, scores, answers["ids"][:, :k], answers["scores"][:, :k])
            ties, rows = ranking(f"evaluation ({signature})", *rank, tie=tie, tolerance=2 * self.tolerance)
            text = f"{len(ids) - rows} of {len(ids)} queries with the identical {k} ids, {rows} but for near ties"
            self.checks.append(("top-K against the trainer's", text))
        for depth in sorted({min(10, k), k}):
            right = np.array([np.isin(b, a) for a, b in zip(ids[:, :depth], answers["ids"][:, :depth], strict=True)])
            if argument == "embedding":  # as near as the last of the true ones, as copies of one picture are
                right |= answers["scores"][:, :depth] >= scores[:, depth - 1 : depth] - NEAR_TIE
            recall = float(right.mean())
            self.checks.append((f"recall@{depth} against the trainer's", f"{recall:.4f}"))
            if argument == "embedding" and depth <= 10 and not recall >= self.manifest["index"].get("min_recall", 0.0):
                least = self.manifest["index"]["min_recall"]
                raise Difference(f"recall@{depth}: expected at least {least}, received {recall:.4f}")
        if not self.all_asked or not json.loads(str(recorded["metrics"])):  # those of a table that no run evaluated
            return
        if "split" not in self.manifest["filterable"] or "label" not in self.manifest["attributes"]:
            self.checks.append(("metrics", "not recomputed: they need `split` filterable and `label` answered"))
            return
        asked = self._ask_all(f"{signature}_filtered", argument, queries, {"split": "test"})
        own = asked["ids"] == recorded["query_ids"][:, None]
        order = np.argsort(own, axis=1, kind="stable")[:, : max(1, asked["ids"].shape[1] - 1)]
        labels = np.take_along_axis(np.where(own, "", asked["label"]), order, axis=1)  # its own row comes last
        # Ranks past K can hold near ties too, which nobody counted.
        self._metrics(labels == recorded["labels"][:, None], slack=max(ties, 1 + len(ids) // 1000) / len(ids))

    def _evaluate_encoder(self, paths: list[str]) -> None:
        answers = self._ask_all("embed_images", "image_bytes", paths)["embedding"]
        vectors, labels = self.recorded["vectors"], self.recorded["labels"]
        units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        cosines = (answers * units).sum(axis=1)
        cosine = f"mean {cosines.mean():.7f}, least {cosines.min():.7f}"
        self.checks.append(("cosine to the trainer's embedding", cosine))
        if self.manifest["precision"] == "float32":
            self._limit("embedding against the trainer's, test pictures", distance(answers, vectors))
        if not self.all_asked:
            return
        predicted = self._ask_all("classify_images", "image_bytes", paths)["labels"][:, 0]
        self._report("accuracy", float((predicted == labels).mean()))
        if self.recorded["whole"] and len(labels) > 1:
            scores = answers @ answers.T
            np.fill_diagonal(scores, -np.inf)
            order = np.argsort(-scores, axis=1, kind="stable")[:, : max(KS)]
            self._metrics(labels[order] == labels[:, None], slack=np.inf)

    def _ask_all(self, signature: str, argument: str, queries: Any, filters: Mapping[str, str] = {}) -> Any:
        """Answers to many queries, in batches, as far as they are looked at; pictures are read from their paths."""
        names = [name for name in self.signatures[signature].structured_input_signature[1] if name != argument]
        parts: list[dict[str, np.ndarray]] = []
        size = 64 if argument == "embedding" else 16
        for start in range(0, len(queries), size):
            batch = queries[start : start + size]
            if argument == "image_bytes":
                batch = [Path(path).read_bytes() for path in batch]
            others = {name: [filters.get(name, "")] * len(batch) for name in names}
            answer = self.ask(signature, {argument: batch, **others})
            parts.append({name: value for name, value in answer.items() if name in EVALUATED})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _metrics(self, right: np.ndarray, slack: float) -> None:
        if self.recorded["whole"] and "r_precision" in json.loads(str(self.recorded["metrics"])):
            # Runs since then leave out of their means a query that has no other item of its label to find.
            counted = (self.recorded["labels"][:, None] == self.recorded["labels"]).sum(axis=1) > 1
            right, slack = right[counted], slack * len(counted) / max(1, counted.sum())
        for k in [k for k in KS if k <= right.shape[1] and len(right)]:
            self._report(f"hit_rate@{k}", float(right[:, :k].any(axis=1).mean()), slack)
            self._report(f"precision@{k}", float(right[:, :k].sum(axis=1).mean() / k), slack)

    def _report(self, name: str, value: float, slack: float = np.inf) -> None:
        """A metric beside the run's own; both are over the same queries where all test items are queries."""
        theirs = json.loads(str(self.recorded["metrics"])).get(name) if self.recorded["whole"] else None
        self.checks.append((name, f"{value:.4f}" + ("" if theirs is None else f" (run: {theirs:.4f})")))
        firm = self.exact and self.manifest["precision"] == "float32"
        if firm and theirs is not None and abs(value - theirs) > slack + 1e-9:
            raise Difference.between(f"{name} recomputed from the answers", f"the run's {theirs:.6f}", f"{value:.6f}")


def ranking(
    where: str,
    ids: np.ndarray,
    scores: np.ndarray,
    found: np.ndarray,
    found_scores: np.ndarray,
    *,
    tie: float,
    tolerance: float,
) -> tuple[int, int]:
    """Holds rankings against expected ones; all `[Q, K]`. Scores of one rank may be `tolerance` apart.

    Returns:
        How many places hold another id whose expected score is within `tie` of the one expected there, and in how many
        rows that is so. Anything else is raised as a difference.
    """
    if ids.shape != found.shape:
        raise Difference(f"{where}: expected {ids.shape} names, received {found.shape}")
    with np.errstate(invalid="ignore"):
        apart = np.where(scores == found_scores, 0.0, np.abs(scores - found_scores))
    wrong = np.argwhere(~(apart <= tolerance)).tolist()
    moved = np.argwhere(ids != found)
    for row, place in moved:
        elsewhere = np.flatnonzero(ids[row] == found[row, place])
        # A name that is not among the expected ones can only have tied with the last of them.
        rival = scores[row, elsewhere[0]] if len(elsewhere) else scores[row, -1]
        if not abs(rival - scores[row, place]) <= tie or len(np.unique(found[row])) < len(np.unique(ids[row])):
            wrong.append([row, place])
    for row, place in wrong:
        expected = f"{str(ids[row, place])!r} with score {scores[row, place]:.7f}"
        received = f"{str(found[row, place])!r} with {found_scores[row, place]:.7f}"
        raise Difference.between(f"{where}: query {row}, rank {place}", expected, received)
    return len(moved), len({int(row) for row, _ in moved})


def distance(a: Any, b: Any) -> float:
    """The largest absolute difference; equal infinities are no difference."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    with np.errstate(invalid="ignore"):
        return float(np.where(a == b, 0.0, np.abs(a - b)).max(initial=0.0))


def as_text(values: np.ndarray) -> np.ndarray:
    """Arrays of bytes as arrays of text; others as they are."""
    return np.char.decode(values.astype(bytes), "utf-8") if values.dtype == object else values


def fields(message: bytes) -> list[tuple[int, Any]]:
    """Numbers and contents of the fields of a protocol buffer message whose kind TensorFlow does not have."""
    found = unknown_fields.UnknownFieldSet(empty_pb2.Empty.FromString(message))
    return [(field.field_number, field.data) for field in found]


def predict_request(record: bytes) -> tuple[str, dict[str, Any]]:
    """Signature and inputs out of a `PredictionLog{predict_log{request}}`, whose messages TensorFlow does not have."""
    found: dict[int, Any] = dict(fields(record))
    if 6 not in found:
        raise Difference("warm-up: expected a PredictionLog with a predict_log")
    request = fields(dict(fields(found[6]))[1])
    signature = dict(fields(dict(request)[1])).get(3, b"").decode()
    entries = [dict(fields(value)) for number, value in request if number == 2]
    inputs = {entry[1].decode(): tensor_pb2.TensorProto.FromString(entry[2]) for entry in entries}
    return signature or "serving_default", inputs


def verified(folder: Path, pictures: Mapping[str, str]) -> dict[str, Any]:
    """Verifies one version; whatever goes wrong is a difference too."""
    version, difference = None, None
    try:
        version = Version(folder, pictures)
        version.verify()
    except Difference as found:
        difference = str(found)
    except Exception as error:  # the version is on trial here, so all that it throws is an answer
        difference = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
    return {"folder": str(folder), "difference": difference, "checks": version.checks if version else []}


def main(arguments: list[str]) -> None:
    sys.meta_path.insert(0, NoProjectCode())
    pictures: dict[str, str] = {}
    if arguments[:1] == ["--pictures"]:
        pictures, arguments = json.loads(Path(arguments[1]).read_text(encoding="utf-8")), arguments[2:]
    for folder in arguments:
        print(json.dumps(verified(Path(folder), pictures)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
