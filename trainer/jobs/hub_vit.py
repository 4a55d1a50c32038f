"""The job `hub-vit`: makes a Vision Transformer as a TF2 reusable SavedModel."""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from trainer.errors import InputError

__all__ = ["run", "write_hub_vit"]


def run(options: argparse.Namespace) -> None:
    """Writes the module that the command line asks for and prints its folder and the range it expects."""
    scale, offset, backbone = _from_preset(options.preset) if options.preset else (1.0, 0.0, _from_scratch(options))
    write_hub_vit(backbone, options.out, scale=scale, offset=offset)
    height, width, _ = backbone.image_shape
    print(f"{options.out}: takes pictures [B, {height}, {width}, 3] in [0, 1], answers [B, {backbone.hidden_dim}]")


def write_hub_vit(backbone: Any, folder: Path, *, scale: Any = 1.0, offset: Any = 0.0) -> None:
    """Saves a KerasHub `ViTBackbone` as a reusable SavedModel: `module(images, training=False)`.

    The module takes float32 `[B, H, W, 3]` in [0, 1], answers the class token's features `[B, F]`, and lists
    `variables`, `trainable_variables` and `regularization_losses`.

    Args:
        backbone: a `keras_hub.models.ViTBackbone`.
        folder: must not exist yet, or be empty. Written aside and renamed.
        scale, offset: floats, or one for each channel; the backbone sees `images * scale + offset`.

    Raises:
        InputError: the folder is there already or cannot be written.

    Source: "Reusable SavedModels", https://www.tensorflow.org/hub/reusable_saved_models
    """
    import trainer.tensorflow_quiet  # noqa: F401  isort: skip
    import tensorflow as tf

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"--out: {folder} is there already; expected a new folder")
    module = tf.train.Checkpoint()
    spec = tf.TensorSpec((None, *backbone.image_shape), tf.float32, name="images")

    @tf.function
    def call(images: tf.Tensor, training: bool = False) -> tf.Tensor:
        return backbone(images * scale + offset, training=training)[:, 0]

    for training in (False, True):
        call.get_concrete_function(spec, training=training)
    module.__call__ = call
    module.variables = [variable.value for variable in backbone.variables]
    module.trainable_variables = [variable.value for variable in backbone.trainable_variables]
    module.regularization_losses = []
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            tf.saved_model.save(module, str(aside))
            os.chmod(aside, 0o755)  # noqa: S103 (mkdtemp's 0700 would keep a server's user out)
            os.replace(aside, folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except (OSError, tf.errors.OpError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())[:200]
        raise InputError(f"--out: cannot write {folder} ({reason}); give another folder") from error


def _from_preset(preset: str) -> tuple[Any, Any, Any]:
    """Scale and offset that bring [0, 1] to what the preset was trained on, and its backbone."""
    import trainer.tensorflow_quiet  # noqa: F401  isort: skip
    import keras_hub
    import numpy as np

    try:
        backbone = keras_hub.models.ViTBackbone.from_preset(preset)
        converter = keras_hub.layers.ViTImageConverter.from_preset(preset)
    except Exception as error:  # KerasHub lets its download libraries' errors through
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"--preset: cannot load {preset!r} ({reason}); expected a KerasHub ViT preset such as "
            "vit_base_patch16_224_imagenet and the network, or a folder saved with save_to_preset"
        ) from error
    scale = 1.0 if converter.scale is None else converter.scale
    offset = 0.0 if converter.offset is None else converter.offset
    return 255.0 * np.asarray(scale, np.float32), np.asarray(offset, np.float32), backbone


def _from_scratch(options: argparse.Namespace) -> Any:
    import trainer.tensorflow_quiet  # noqa: F401  isort: skip
    import keras
    import keras_hub

    _check(options)
    keras.utils.set_random_seed(options.seed)
    return keras_hub.models.ViTBackbone(
        image_shape=(options.image_size, options.image_size, 3),
        patch_size=options.patch_size,
        num_layers=options.layers,
        num_heads=options.heads,
        hidden_dim=options.width,
        mlp_dim=4 * options.width,
        dropout_rate=0.0,
        attention_dropout=0.0,
    )


def _check(options: argparse.Namespace) -> None:
    for name in ("image_size", "patch_size", "layers", "heads", "width"):
        if getattr(options, name) < 1:
            raise InputError(
                f"--{name.replace('_', '-')}: expected a number above 0, received {getattr(options, name)}"
            )
    if options.image_size % options.patch_size:
        raise InputError(
            f"--image-size: expected a multiple of --patch-size {options.patch_size}, received {options.image_size}"
        )
    if options.width % options.heads:
        raise InputError(f"--width: expected a multiple of --heads {options.heads}, received {options.width}")
