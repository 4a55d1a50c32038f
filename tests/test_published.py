"""The published names do what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.preprocessing import StandardScaler

from trainer.errors import InputError
from trainer.published import (
    combine_resnet_vit_embeddings,
    extract_resnet_features,
    initialize_resnet50,
    train_combined_model,
)

RANDOM = np.random.default_rng(0)


def two_clouds(count: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features in which the first part tells a from the rest, the second b from c."""
    labels = np.repeat(["a", "b", "c"], count // 3)
    resnet = RANDOM.normal(size=(count, 24)) + 4.0 * (labels == "a")[:, None]
    vit = RANDOM.normal(size=(count, 6)) + 4.0 * (labels == "b")[:, None]
    return resnet, vit, labels


def test_extraction_from_arrays_equals_extraction_from_files(tmp_path: Path) -> None:
    model = initialize_resnet50("none", image_size=32)
    pictures = RANDOM.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    paths = []
    for number, picture in enumerate(pictures):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(picture).save(paths[-1])
    features = extract_resnet_features(model, pictures, batch_size=2)
    assert features.shape == (3, 2048)
    np.testing.assert_allclose(extract_resnet_features(model, paths), features, rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="uint8 pictures"):
        extract_resnet_features(model, pictures.astype(np.float32))
    with pytest.raises(InputError, match="readable"):
        extract_resnet_features(model, [str(tmp_path / "absent.png")])


def test_combining_standardises_each_part() -> None:
    resnet, vit, _ = two_clouds()
    combined = combine_resnet_vit_embeddings(1000 * resnet, vit)
    expected = StandardScaler().fit_transform(resnet)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(combined[:, :24], expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(combined[:, 24:], axis=1), 1.0, atol=1e-5)
    plain = combine_resnet_vit_embeddings(resnet, vit, standardise=False)
    np.testing.assert_array_equal(plain, np.concatenate([resnet, vit], axis=1).astype(np.float32))
    with pytest.raises(InputError, match="same pictures"):
        combine_resnet_vit_embeddings(resnet[:5], vit)


@pytest.mark.parametrize("epochs", [0, 2])
def test_the_combined_model_uses_both_parts(epochs: int) -> None:
    resnet, vit, labels = two_clouds()
    head, history = train_combined_model(resnet, vit, labels.tolist(), embedding_dim=8, epochs=epochs)
    answer = head({"resnet50": resnet.astype(np.float32), "hub_vit": vit.astype(np.float32)})
    assert len(history) == epochs
    np.testing.assert_allclose(np.linalg.norm(answer["embedding"], axis=1), 1.0, atol=1e-5)
    assert np.mean(np.array(["a", "b", "c"])[np.argmax(answer["logits"], axis=1)] == labels) > 0.95
    with pytest.raises(InputError, match="two labels"):
        train_combined_model(resnet, vit, ["a"] * 60)
