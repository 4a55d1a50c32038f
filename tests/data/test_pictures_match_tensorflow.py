"""What TensorFlow decodes of the file that `prepare` names is what the picture shows, whatever kind it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import tensorflow as tf
from pictures_of_all_kinds import Kind, kinds

from trainer.data.pictures import check_picture

KINDS = kinds()
# Without conversion TensorFlow fails on these or shows something else: the reason why they are converted.
READ_ALIKE = {
    *(
        "png palette",
        "png 1 bit",
        "png 2 bits",
        "webp",
        "webp with a profile",
        "webp animated",
        "gif",
        "gif animated",
        "jpeg cmyk of adobe",
    ),
    "jpeg cmyk plain",
    "png 16 bits",
}


def decoded(content: bytes) -> np.ndarray:
    """As the training pipeline decodes."""
    return tf.io.decode_image(content, channels=3, expand_animations=False).numpy().astype(int)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_tensorflow_reads_what_is_meant(tmp_path: Path, kind: Kind) -> None:
    path = tmp_path / "picture"
    path.write_bytes(kind.content)
    record = check_picture(str(path), tmp_path / "pictures", 100_000)
    pixels = decoded(Path(record.image_path).read_bytes())
    assert pixels.shape == kind.pixels.shape
    assert np.abs(pixels - kind.pixels).max() <= kind.tolerance


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.converted and name not in READ_ALIKE])
def test_what_is_converted_had_to_be(name: str) -> None:
    kind = KINDS[name]
    try:
        pixels = decoded(kind.content)
    except tf.errors.InvalidArgumentError:
        return
    assert pixels.shape != kind.pixels.shape or np.abs(pixels - kind.pixels).max() > kind.tolerance
