"""A Keras 3 layer around a TensorFlow Hub module, to be fine-tuned like any other layer."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import tensorflow as tf

from trainer.errors import InputError
from trainer.models.hub_handle import resolve_hub_handle

__all__ = ["HubLayer"]


@keras.saving.register_keras_serializable("shoppin")
class HubLayer(keras.layers.Layer):
    """A TF2 reusable SavedModel as a Keras 3 layer that trains.

    `tensorflow_hub.KerasLayer` is a Keras 2 layer and cannot be part of a Keras 3 model. This one loads the module with
    `tensorflow_hub.load` and **adopts** its variables: each becomes a `keras.Variable` around the very `tf.Variable`
    that the module computes with. So they are listed in `weights`, trained by `fit`, frozen by `trainable = False`
    (on the layer or on one variable), saved and restored with the model, and written by `export`.

    The module computes in float32 whatever the precision policy, because its graph is fixed.

    Args:
        handle: folder, TF Hub address or Kaggle handle (see `resolve_hub_handle`). A saved model holds the handle and
            its own weights; loading it needs the handle's graph again.
        trainable: whether the module's trainable variables are trained. Default true.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        images: float `[B, H, W, 3]` in the module's value range, of the size the module expects.
        training: passed to the module where it takes it.

    Returns:
        float32 `[B, F]`.

    Raises:
        InputError: the handle leads nowhere, is a TF1 module, is no reusable SavedModel, answers something else than a
            feature vector, or expects pictures of another size.

    Example:
        >>> images = keras.Input((224, 224, 3))
        >>> features = HubLayer("vit_tiny16_imagenet")(images)
        >>> model = keras.Model(images, keras.layers.Dense(10)(features))

    Source: "Reusable SavedModels", https://www.tensorflow.org/hub/reusable_saved_models
    """

    def __init__(self, handle: str, *, trainable: bool = True, **kwargs: Any) -> None:
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.handle = handle
        folder = resolve_hub_handle(handle)
        self.graph_digest = hashlib.sha256((folder / "saved_model.pb").read_bytes()).hexdigest()
        self._module = _load(handle, folder)
        self._takes_training = _takes_training(self._module)
        self._output_dim: int | None = None
        self._adopt()
        self.trainable = trainable

    def _adopt(self) -> None:
        trained = {id(variable) for variable in self._module.trainable_variables}
        for variable in self._module.variables:
            *scopes, name = variable.name.split(":")[0].split("/")
            with contextlib.ExitStack() as stack:
                for scope in (self.name, *scopes):
                    stack.enter_context(keras.name_scope(scope))
                adopted = keras.Variable(initializer=variable, trainable=id(variable) in trained, name=name)
            if adopted.value is not variable:
                raise RuntimeError(f"this version of Keras copies {variable.name} instead of adopting it")
            self._track_variable(adopted)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        shape = tuple(input_shape)
        if len(shape) != 4 or None in shape[1:]:
            raise InputError(f"{self.name}: expected pictures [B, H, W, 3] of a fixed size, received shape {shape}")
        try:
            features = _on_one_replica(lambda: self._run(tf.zeros((1, *shape[1:]), tf.float32), training=False))
        except (ValueError, TypeError, tf.errors.OpError) as error:
            raise InputError(
                f"model.hub_vit.handle: {self.handle!r} cannot take pictures of {shape[1]} x {shape[2]} x {shape[3]}; "
                f"it accepts {_accepted(self._module)}. Set model.image_size to what it expects"
            ) from error
        if not isinstance(features, tf.Tensor) or features.shape.rank != 2:
            answer = getattr(features, "shape", None) or type(features).__name__
            raise InputError(
                f"model.hub_vit.handle: expected a module that answers one feature vector [B, F], "
                f"{self.handle!r} answers {answer}"
            )
        self._output_dim = int(features.shape[1])
        super().build(input_shape)

    def call(self, images: Any, training: bool | None = None) -> Any:
        if training and self.trainable:
            for loss in getattr(self._module, "regularization_losses", ()):
                self.add_loss(loss())
        return self._run(images, training=bool(training))

    def _run(self, images: Any, training: bool) -> Any:
        if self._takes_training:
            return self._module(images, training=training)
        return self._module(images)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, int | None]:
        return (input_shape[0], self._output_dim)

    def compute_output_spec(self, images: Any, training: bool | None = None) -> keras.KerasTensor:
        return keras.KerasTensor(self.compute_output_shape(images.shape), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "handle": self.handle}


def _load(handle: str, folder: Path) -> Any:
    import tensorflow_hub as hub

    where = f"model.hub_vit.handle: {handle!r}"
    try:
        module = hub.load(str(folder))
    except Exception as error:  # parsing, missing ops and missing files all come as different classes
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{where}: expected a TF2 SavedModel, it cannot be loaded ({reason})") from error
    if not callable(module):
        kind = "a TF1 module or a plain serving model" if hasattr(module, "signatures") else "no reusable SavedModel"
        raise InputError(f"{where} is {kind}; expected a TF2 reusable SavedModel, which can be called and trained")
    missing = [name for name in ("variables", "trainable_variables") if not hasattr(module, name)]
    if missing:
        raise InputError(f"{where} lacks {' and '.join(missing)}; expected a TF2 reusable SavedModel")
    return module


def _takes_training(module: Any) -> bool:
    spec = getattr(module.__call__, "function_spec", None)
    return spec is not None and "training" in (*spec.fullargspec.args, *spec.fullargspec.kwonlyargs)


def _on_one_replica(function: Callable[[], Any]) -> Any:
    """Under a strategy's scope a module computes only inside of a replica, elsewhere it can but be traced."""
    if not tf.distribute.in_cross_replica_context():
        return function()
    strategy = tf.distribute.get_strategy()
    return strategy.experimental_local_results(strategy.run(tf.function(function)))[0]


def _accepted(module: Any) -> str:
    functions = getattr(module.__call__, "concrete_functions", ())
    specs = [tf.nest.flatten(f.structured_input_signature) for f in functions]
    shapes = sorted({str(spec.shape) for flat in specs for spec in flat if isinstance(spec, tf.TensorSpec)})
    return ", ".join(shapes) or "another input"
