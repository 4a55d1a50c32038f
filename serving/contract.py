"""What the exporter writes and the client and server read: names of models, signatures and tensors, and the manifest.

Standard library only: everybody may import it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

__all__ = [
    "ASSETS_EXTRA",
    "ATTRIBUTE_NAMES_TAKEN",
    "BATCHING_FILE",
    "CLASSIFY_IMAGES",
    "EMBEDDING",
    "EMBED_IMAGES",
    "EMBED_PIXELS",
    "EMBED_TEXTS",
    "EVALUATION_FILE",
    "FILTER_SEPARATOR",
    "FINGERPRINT",
    "FORMAT_VERSION",
    "GOLDEN_FILE",
    "IDS",
    "IMAGE_BYTES",
    "LABELS",
    "LOOKUP",
    "LOOKUP_FILTERED",
    "MANIFEST_FILE",
    "NO_MATCH_THRESHOLD",
    "PIXELS",
    "SCORES",
    "SEARCH_IMAGES",
    "SEARCH_IMAGES_AND_TEXTS",
    "SEARCH_IMAGES_AND_TEXTS_FILTERED",
    "SEARCH_IMAGES_FILTERED",
    "SEARCH_TEXTS",
    "SEARCH_TEXTS_FILTERED",
    "SERVING_DEFAULT",
    "SIGNATURES",
    "TABLE_FINGERPRINT",
    "TEXT",
    "WARMUP_FILE",
    "WEIGHT",
    "Kind",
    "Manifest",
    "ManifestError",
    "served_name",
]

Kind = Literal["encoder", "lookup", "search"]

FORMAT_VERSION = 1
"""Of the manifest. A reader refuses a greater one."""

ASSETS_EXTRA = "assets.extra"
MANIFEST_FILE = f"{ASSETS_EXTRA}/manifest.json"
WARMUP_FILE = f"{ASSETS_EXTRA}/tf_serving_warmup_requests"
GOLDEN_FILE = f"{ASSETS_EXTRA}/golden.json"
"""A few requests with the answers that the exporter got, for whoever wants to know whether a copy answers the same."""
EVALUATION_FILE = f"{ASSETS_EXTRA}/evaluation.npz"
"""The test split's queries with the neighbours that the trainer's evaluation found."""
BATCHING_FILE = "batching_params.pbtxt"

SERVING_DEFAULT = "serving_default"
EMBED_IMAGES = "embed_images"
EMBED_PIXELS = "embed_pixels"
CLASSIFY_IMAGES = "classify_images"
EMBED_TEXTS = "embed_texts"
LOOKUP = "lookup"
LOOKUP_FILTERED = "lookup_filtered"
SEARCH_IMAGES = "search_images"
SEARCH_IMAGES_FILTERED = "search_images_filtered"
SEARCH_TEXTS = "search_texts"
SEARCH_TEXTS_FILTERED = "search_texts_filtered"
SEARCH_IMAGES_AND_TEXTS = "search_images_and_texts"
SEARCH_IMAGES_AND_TEXTS_FILTERED = "search_images_and_texts_filtered"

SIGNATURES: Mapping[Kind, tuple[str, ...]] = {
    "encoder": (EMBED_IMAGES, EMBED_PIXELS, CLASSIFY_IMAGES, EMBED_TEXTS),
    "lookup": (LOOKUP, LOOKUP_FILTERED),
    "search": (
        SEARCH_IMAGES,
        SEARCH_IMAGES_FILTERED,
        SEARCH_TEXTS,
        SEARCH_TEXTS_FILTERED,
        SEARCH_IMAGES_AND_TEXTS,
        SEARCH_IMAGES_AND_TEXTS_FILTERED,
    ),
}
"""Of each kind of model; the first is also its `serving_default`. The filtered ones need a filterable attribute, those
of texts a model that has learnt words."""

IMAGE_BYTES = "image_bytes"
"""Input string `[B]`: the bytes of picture files."""
PIXELS = "pixels"
"""Input uint8 `[B, H, W, 3]`: pictures of the model's size, RGB."""
TEXT = "text"
"""Input string `[B]`: words in UTF-8, in Unicode's normalisation form C; a graph brings them to lower case itself."""
WEIGHT = "weight"
"""Input float32 `[B]`, 0 to 1: how much the words count beside the picture; 0 for the picture alone. What lies beyond
counts as the nearer end, what is no number as a half."""
EMBEDDING = "embedding"
"""float32 `[B, D]`: of unit length when answered; when asked with, of any length but 0."""
LABELS = "labels"
"""Output string `[B, k]`: label names, the likeliest first."""
IDS = "ids"
"""Output string `[B, K]`: ids of items, the most similar first; empty where fewer than K match."""
SCORES = "scores"
"""Output float32 `[B, K]`: cosine similarities, or probabilities of labels; -inf where the id is empty."""
FINGERPRINT = "fingerprint"
"""Output string `[B]`, of every signature: which encoder made, or must make, the embeddings."""
TABLE_FINGERPRINT = "table_fingerprint"
"""Output string `[B]` of lookups and searches: which table answered."""
NO_MATCH_THRESHOLD = "no_match_threshold"
"""Output float32 `[B]` of lookups, and of searches by pictures alone, where the run has calibrated it: a best score
below it is no good match. Words lie elsewhere on the sphere, so it says nothing of them."""

ATTRIBUTE_NAMES_TAKEN = frozenset(
    {IMAGE_BYTES, PIXELS, TEXT, WEIGHT, EMBEDDING, LABELS, IDS, SCORES}
    | {FINGERPRINT, TABLE_FINGERPRINT, NO_MATCH_THRESHOLD, "id"}
)
"""An attribute of items is answered as string `[B, K]` under its own name, and filtered by as string `[B]` under its
own name; so none may have one of these."""

FILTER_SEPARATOR = "\n"
"""Between several admitted values of one attribute in a filter; an empty filter admits all. A line feed, since no
sensible value of an attribute holds one; the exporter refuses a filterable attribute that does."""


class ManifestError(ValueError):
    """A manifest that cannot be read: says what was expected and what was found."""


@dataclass(frozen=True)
class Manifest:
    """What a version's folder holds, in `assets.extra/manifest.json`.

    Attributes:
        kind: of model.
        name: of the trained model, such as `fused`; the served name is `served_name(name, kind)`.
        created: when, ISO 8601 in UTC.
        libraries: name to version of what it was made with.
        target: `cpu`, `gpu` or `tpu`.
        signatures: names of all of them.
        embedding_dim: D.
        metric: `cosine`.
        precision: of the encoder's or the table's arithmetic: `float32`, `bfloat16`, or `int8` for a table.
        fingerprint: of the encoder: its weights and preprocessing.
        preprocessing: how bytes become pixels: `image_size` and how they are decoded, turned upright and resized.
        labels: names of the classes; empty for a lookup.
        table_fingerprint: of ids, vectors and attributes; empty for an encoder.
        item_count: rows of the table; 0 for an encoder.
        top_k: K of the answers; of `classify_images` for an encoder.
        index: type and settings of the index layer; empty for an encoder.
        attributes: names of what is answered beside ids and scores.
        filterable: names of the attributes to filter by.
        no_match: the similarity below which a search's best result is no good match (`threshold`), how it was chosen
            and how it does: `target`, `calibrated_on`, `absent`, `precision`, `recall`; empty where the run calibrated
            none.
        words: how texts are read: `tokenizer`, `length` in tokens, `vocabulary_size`, `normalisation`, the text
            encoder's `fingerprint`, and whose operations do it (`ops`: `stock` or `tensorflow-text`, which a server
            must then load); empty where the model reads none.
        drift: how far the optimised encoder moved from the trained one; empty for a lookup.
        evaluation: the run's own metrics of this model, a mapping a row; for reports.
        files: path, relative to the version's folder, to SHA-256, of every file but the manifest.
        format_version: see `FORMAT_VERSION`.
    """

    kind: Kind
    name: str
    created: str
    libraries: Mapping[str, str]
    target: Literal["cpu", "gpu", "tpu"]
    signatures: tuple[str, ...]
    embedding_dim: int
    precision: str
    fingerprint: str
    metric: str = "cosine"
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    table_fingerprint: str = ""
    item_count: int = 0
    top_k: int = 0
    index: Mapping[str, Any] = field(default_factory=dict)
    attributes: tuple[str, ...] = ()
    filterable: tuple[str, ...] = ()
    no_match: Mapping[str, Any] = field(default_factory=dict)
    words: Mapping[str, Any] = field(default_factory=dict)
    drift: Mapping[str, float] = field(default_factory=dict)
    evaluation: tuple[Mapping[str, Any], ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @property
    def served_name(self) -> str:
        """The name under which TensorFlow Serving knows the model."""
        return served_name(self.name, self.kind)

    def to_json(self) -> str:
        """As indented JSON, keys in a fixed order."""
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False, allow_nan=True) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Reads what `to_json` wrote; keys of later minor versions are ignored.

        Raises:
            ManifestError: it is no manifest, or of a later format.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ManifestError(f"expected a manifest as JSON, it cannot be read: {error}") from error
        if not isinstance(values, dict):
            raise ManifestError(f"expected a manifest as a JSON object, received {type(values).__name__}")
        version = values.get("format_version")
        if not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
            raise ManifestError(
                f"expected a manifest of format 1 to {FORMAT_VERSION}, received {version!r}; update shoppin"
            )
        required = {
            item.name
            for item in dataclasses.fields(cls)
            if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        }
        missing = sorted(required - values.keys())
        if missing:
            raise ManifestError(
                f"expected a manifest with {', '.join(sorted(required))}; it lacks {', '.join(missing)}"
            )
        if values["kind"] not in get_args(Kind):
            raise ManifestError(f"expected kind to be one of {', '.join(get_args(Kind))}, received {values['kind']!r}")
        known = {item.name for item in dataclasses.fields(cls)}
        chosen = {key: _frozen(value) for key, value in values.items() if key in known}
        return cls(**chosen)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def served_name(name: str, kind: Kind) -> str:
    """The name under which TensorFlow Serving knows a model: `fused_search` for `fused` and `search`."""
    return f"{name}_{kind}"
