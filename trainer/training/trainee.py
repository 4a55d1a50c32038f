"""What is trained together, as one thing to be saved."""

from __future__ import annotations

from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras

__all__ = ["Trainee", "WordsTrainee"]


@keras.saving.register_keras_serializable("shoppin")
class Trainee(keras.Model):
    """A model and its objective, whose proxies and memories are weights that a checkpoint must hold too.

    Args:
        model: answers `{"embedding", "logits"}`.
        objective: a built `trainer.losses.Objective`.
        **kwargs: of `keras.Model`.

    Call arguments and returns are the model's.
    """

    def __init__(self, model: keras.Model, objective: keras.layers.Layer, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.objective = objective
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.model(inputs, training=training)

    def get_config(self) -> dict[str, Any]:
        serialise = keras.saving.serialize_keras_object
        return {"name": self.name, "model": serialise(self.model), "objective": serialise(self.objective)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Trainee:
        read = keras.saving.deserialize_keras_object
        return cls(read(config["model"]), read(config["objective"]), name=config["name"])


@keras.saving.register_keras_serializable("shoppin")
class WordsTrainee(keras.Model):
    """A text encoder, and the picture model where that learns too. Neither carries the optimiser's state itself.

    Args:
        words: the text encoder.
        pictures: the picture model. Default none.
        **kwargs: of `keras.Model`.

    Call arguments and returns are the text encoder's.
    """

    def __init__(self, words: keras.Model, pictures: keras.Model | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.words = words
        self.pictures = pictures
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.words(inputs, training=training)

    def get_config(self) -> dict[str, Any]:
        serialise = keras.saving.serialize_keras_object
        return {"name": self.name, "words": serialise(self.words), "pictures": serialise(self.pictures)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> WordsTrainee:
        read = keras.saving.deserialize_keras_object
        return cls(read(config["words"]), read(config["pictures"]), name=config["name"])
