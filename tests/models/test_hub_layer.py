"""A hub module as a Keras 3 layer: its variables adopted, trained, frozen, saved, exported; misuse said in one line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub as hub

from trainer.errors import InputError
from trainer.models.hub_layer import HubLayer
from trainer.models.hub_vit import build_hub_vit

SIZE, WIDTH = 32, 16

# Keras 3.15 saves variables with NumPy's former protocol.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def pictures(count: int = 4) -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(count, SIZE, SIZE, 3)).astype(np.float32)


def classifier(folder: Path, **how: Any) -> tuple[keras.Model, HubLayer]:
    images = keras.Input((SIZE, SIZE, 3))
    layer = HubLayer(str(folder), name="module", **how)
    logits = keras.layers.Dense(2, name="top")(layer(images))
    model = keras.Model(images, logits)
    model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model, layer


def fit(model: keras.Model) -> None:
    model.fit(pictures(), np.array([0, 1, 0, 1]), epochs=2, batch_size=2, verbose=0)


def values(layer: HubLayer) -> list[np.ndarray]:
    return [weight.numpy().copy() for weight in layer.weights]


def moved(before: list[np.ndarray], after: list[np.ndarray]) -> list[bool]:
    return [bool((a != b).any()) for a, b in zip(before, after, strict=True)]


def test_the_layer_answers_what_the_module_answers(tiny_vit: Path) -> None:
    expected = hub.load(str(tiny_vit))(tf.constant(pictures()), training=False)
    layer = HubLayer(str(tiny_vit))
    np.testing.assert_allclose(layer(pictures()), expected, atol=1e-6)
    assert layer.compute_output_shape((None, SIZE, SIZE, 3)) == (None, WIDTH)


def test_variables_are_adopted_not_copied(tiny_vit: Path) -> None:
    layer = HubLayer(str(tiny_vit), name="module")
    assert len(layer.weights) == len(layer._module.variables) > 10
    for weight, variable in zip(layer.weights, layer._module.variables, strict=True):
        assert weight.value is variable
    assert len(layer.trainable_weights) == len(layer._module.trainable_variables)
    assert "module/vit_encoder/transformer_block_1/ln_1/gamma" in {weight.path for weight in layer.weights}
    assert len({weight.path for weight in layer.weights}) == len(layer.weights)


def test_plain_fit_trains_it(tiny_vit: Path) -> None:
    model, layer = classifier(tiny_vit)
    before = values(layer)
    fit(model)
    assert sum(moved(before, values(layer))) > len(before) // 2
    np.testing.assert_array_equal(layer.weights[0].numpy(), layer._module.variables[0].numpy())


def test_frozen_it_stays_and_unfrozen_it_moves(tiny_vit: Path) -> None:
    model, layer = classifier(tiny_vit, trainable=False)
    before = values(layer)
    assert layer.trainable_weights == []
    fit(model)
    assert not any(moved(before, values(layer)))
    layer.trainable = True
    model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    fit(model)
    assert any(moved(before, values(layer)))


def test_a_single_variable_can_be_frozen(tiny_vit: Path) -> None:
    model, layer = classifier(tiny_vit)
    kernels = [weight.path.endswith("kernel") for weight in layer.weights]
    for weight, kernel in zip(layer.weights, kernels, strict=True):
        weight.trainable = kernel
    before = values(layer)
    fit(model)
    assert any(kernels)
    assert not any(change and not kernel for change, kernel in zip(moved(before, values(layer)), kernels, strict=True))
    assert any(moved(before, values(layer)))


def test_a_fine_tuned_model_is_saved_and_exported_as_it_is(tiny_vit: Path, tmp_path: Path) -> None:
    model, _ = classifier(tiny_vit)
    fit(model)
    expected = model(pictures()).numpy()
    untouched, _ = classifier(tiny_vit)
    assert np.abs(untouched(pictures()).numpy() - expected).max() > 1e-3
    model.save(tmp_path / "model.keras")  # tests/training/test_checkpoint.py loads one in a fresh process
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_allclose(loaded(pictures()), expected, atol=1e-6)
    model.export(tmp_path / "exported", verbose=False)
    exported = tf.saved_model.load(tmp_path / "exported")
    np.testing.assert_allclose(exported.serve(pictures()), expected, atol=1e-6)


def test_the_configuration_comes_back(tiny_vit: Path) -> None:
    layer = HubLayer(str(tiny_vit), trainable=False, name="module")
    again = HubLayer.from_config(layer.get_config())
    assert (again.handle, again.trainable, again.name) == (str(tiny_vit), False, "module")
    assert again.dtype_policy.name == "float32"


def test_it_computes_in_float32_whatever_the_policy(tiny_vit: Path) -> None:
    layer = HubLayer(str(tiny_vit), dtype="mixed_float16")
    assert layer(pictures().astype(np.float16)).dtype == tf.float32


def test_the_backbone_takes_pictures_as_bytes(tiny_vit: Path) -> None:
    raw = np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    module = hub.load(str(tiny_vit))
    for low, high in ((0.0, 1.0), (-1.0, 1.0)):
        model = build_hub_vit(str(tiny_vit), SIZE, (low, high))
        assert model.input.dtype == "uint8"
        expected = module(tf.constant(raw / 255.0 * (high - low) + low, tf.float32), training=False)
        np.testing.assert_allclose(model(raw), expected, atol=1e-5)


def save(folder: Path, call: Callable[..., Any], *, lists: bool = True, training: bool = True, **extra: Any) -> Path:
    """A SavedModel whose `__call__` is `call(scale, images)` with a variable `scale`."""
    module = tf.train.Checkpoint()
    scale = tf.Variable([2.0, 3.0, 4.0], name="scale")
    unused = tf.Variable(1.0, name="unused")
    spec = tf.TensorSpec((None, SIZE, SIZE, 3), tf.float32)
    if training:
        module.__call__ = tf.function(
            lambda images, *, training=False: call(scale, images) * (2.0 if training else 1.0)
        )
        for mode in (False, True):
            module.__call__.get_concrete_function(spec, training=mode)
    else:
        module.__call__ = tf.function(lambda images: call(scale, images), input_signature=[spec])
    module.kept = scale
    if lists:
        module.variables, module.trainable_variables = [scale, unused], [scale]
    for name, value in extra.items():
        setattr(module, name, value(scale))
    tf.saved_model.save(module, str(folder))
    return folder


def mean(scale: tf.Variable, images: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(images, (1, 2)) * scale


def test_training_is_passed_on_where_the_module_takes_it(tmp_path: Path) -> None:
    layer = HubLayer(str(save(tmp_path / "m", mean)))
    expected = pictures().mean(axis=(1, 2)) * [2, 3, 4]
    np.testing.assert_allclose(layer(pictures()), expected, rtol=1e-4)
    np.testing.assert_allclose(layer(pictures(), training=False), expected, rtol=1e-4)
    np.testing.assert_allclose(layer(pictures(), training=True), 2 * expected, rtol=1e-4)


def test_a_module_without_the_training_argument_works(tmp_path: Path) -> None:
    model, layer = classifier(save(tmp_path / "m", mean, training=False))
    np.testing.assert_allclose(layer(pictures(), training=True), pictures().mean((1, 2)) * [2, 3, 4], rtol=1e-4)
    before = values(layer)
    fit(model)
    assert moved(before, values(layer)) == [True, False]
    assert [weight.trainable for weight in layer.weights] == [True, False]


def test_regularisation_losses_are_added_in_training_only(tmp_path: Path) -> None:
    losses = {"regularization_losses": lambda v: [tf.function(lambda: 0.5 * tf.reduce_sum(v**2), input_signature=[])]}
    layer = HubLayer(str(save(tmp_path / "m", mean, **losses)))
    layer(pictures(), training=False)
    assert layer.losses == []
    layer(pictures(), training=True)
    assert [float(loss) for loss in layer.losses] == [pytest.approx(0.5 * (4 + 9 + 16))]
    layer.trainable = False
    layer(pictures(), training=True)
    assert layer.losses == []


def refusal(handle: Path | str, shape: tuple[int | None, ...] | None = (None, SIZE, SIZE, 3)) -> str:
    with pytest.raises(InputError) as caught:
        layer = HubLayer(str(handle), name="module")
        layer.build(shape)
    message = str(caught.value)
    assert "\n" not in message
    assert "model.hub_vit.handle" in message
    assert "expected" in message or "Set model.image_size" in message
    return message


def test_a_module_that_answers_no_vector_is_refused(tmp_path: Path) -> None:
    four = save(tmp_path / "four", lambda scale, images: images * scale)
    assert f"answers (1, {SIZE}, {SIZE}, 3)" in refusal(four)
    table = save(tmp_path / "map", lambda scale, images: {"features": mean(scale, images)}, training=False)
    assert "answers _DictWrapper" in refusal(table) or "answers dict" in refusal(table)


def test_pictures_of_another_size_are_refused_with_the_right_one(tiny_vit: Path) -> None:
    message = refusal(tiny_vit, (None, 48, 48, 3))
    assert "cannot take pictures of 48 x 48 x 3; it accepts (None, 32, 32, 3). Set model.image_size" in message


def test_pictures_without_a_size_are_refused(tiny_vit: Path) -> None:
    with pytest.raises(InputError, match=r"^module: expected pictures \[B, H, W, 3\] of a fixed size, received shape"):
        HubLayer(str(tiny_vit), name="module").build((None, None, None, 3))


def test_a_module_without_its_variables_is_refused(tmp_path: Path) -> None:
    assert "lacks variables and trainable_variables" in refusal(save(tmp_path / "m", mean, lists=False))


def test_a_plain_serving_model_is_refused(tmp_path: Path) -> None:
    module = tf.Module()
    spec = tf.TensorSpec((None, SIZE, SIZE, 3), tf.float32)
    serve = tf.function(lambda images: {"y": tf.reduce_mean(images, (1, 2))}, input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path / "m"), signatures={"serving_default": serve})
    assert "is a TF1 module or a plain serving model" in refusal(tmp_path / "m")


def test_a_tf1_module_is_refused(tmp_path: Path) -> None:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        images = tf.compat.v1.placeholder(tf.float32, (None, SIZE, SIZE, 3))
        answer = tf.reduce_mean(images, (1, 2))
        builder = tf.compat.v1.saved_model.Builder(str(tmp_path / "m"))
        signature = tf.compat.v1.saved_model.predict_signature_def({"images": images}, {"default": answer})
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()
    assert "is a TF1 module or a plain serving model" in refusal(tmp_path / "m")


@pytest.mark.parametrize("content", [b"", b"not a graph", b"\x08\x01" * 50], ids=["empty", "text", "nothing"])
def test_a_spoilt_graph_is_refused(content: bytes, tiny_vit: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_vit, tmp_path / "m")
    (tmp_path / "m" / "saved_model.pb").write_bytes(content)
    assert "expected a TF2 SavedModel, it cannot be loaded (" in refusal(tmp_path / "m")


def test_a_graph_without_its_weights_is_refused(tiny_vit: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_vit, tmp_path / "m")
    shutil.rmtree(tmp_path / "m" / "variables")
    assert "expected a TF2 SavedModel, it cannot be loaded (" in refusal(tmp_path / "m")


def test_a_changed_graph_is_seen_in_the_digest(tiny_vit: Path, tmp_path: Path) -> None:
    same = HubLayer(str(tiny_vit)).graph_digest
    assert HubLayer(str(tiny_vit)).graph_digest == same
    assert HubLayer(str(save(tmp_path / "m", mean))).graph_digest != same
