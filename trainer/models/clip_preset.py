"""Pieces of a published CLIP model, as keras-hub keeps them."""

from __future__ import annotations

from typing import Any

from trainer.errors import InputError

__all__ = ["load_clip_preset"]


def load_clip_preset(kind: Any, preset: str, key: str) -> Any:
    """A piece of a CLIP preset, downloaded where it must be.

    Args:
        kind: class of the piece, `keras_hub.models.CLIPBackbone` or `keras_hub.tokenizers.CLIPTokenizer`.
        preset: a keras-hub name, such as `clip_vit_base_patch32`, an address such as `hf://owner/model`, or a folder
            that `save_to_preset` wrote.
        key: of the configuration, for the message.

    Raises:
        InputError: there is none, it cannot be downloaded, or it is of another model.
    """
    try:
        loaded = kind.from_preset(preset)
    except Exception as error:  # keras-hub lets the errors of its hubs, of JSON and of h5py through
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            f"{key}: cannot load {preset!r} ({reason}); expected one of {', '.join(sorted(kind.presets))}, which are "
            "downloaded, or the folder of a CLIP preset"
        ) from error
    if not isinstance(loaded, kind):
        raise InputError(f"{key}: expected a CLIP model, {preset!r} is a {type(loaded).__name__}")
    return loaded
