"""How a model learns words: what texts there are, what reads them, and how both are brought into one space."""

from __future__ import annotations

import re
from string import Formatter
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from trainer.config.model import ModelName
from trainer.config.section import Distinct, Positive, Rate, Section, Share

__all__ = [
    "FullTuningConfig",
    "TextEncoderConfig",
    "TextsConfig",
    "TokenizerConfig",
    "WordsConfig",
    "WordsStageConfig",
    "template_attributes",
]


def template_attributes(template: str) -> tuple[str, ...]:
    """Names of the attributes between the braces of a template, in order.

    Raises:
        ValueError: it is no template: an open brace, a place without a name, or a format.
    """
    names = []
    for _, name, spec, conversion in Formatter().parse(template):
        if name is None:
            continue
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or spec or conversion:
            raise ValueError(f"expected names of attributes in braces, such as {{label}}, received {template!r}")
        names.append(name)
    return tuple(names)


def _filled(template: str) -> str:
    if not template_attributes(template):
        raise ValueError(f"expected a template with at least one attribute, such as {{label}}, received {template!r}")
    return template


Templates = Annotated[tuple[Annotated[str, AfterValidator(_filled)], ...], *Distinct]


class TextsConfig(Section):
    """Attributes:
    title: attribute of the items that holds the product's name, such as `productDisplayName`; null for none.
    templates: texts made of an item's attributes, `{label}` among them; one whose attribute an item lacks is passed
        over for that item.
    title_share: how often training takes the title where an item has both.
    prompts: templates of `{label}` alone, for classifying by words: a label's embedding is the mean over them.
    queries: templates of questions that evaluation asks with every combination of values there is among the queried
        items.
    """

    title: str | None = None
    templates: Templates = ("{label}", "a photo of {label}")
    title_share: Share = 0.5
    prompts: Annotated[Templates, Field(min_length=1)] = ("{label}", "a photo of {label}")
    queries: Templates = ("{label}",)

    @model_validator(mode="after")
    def _something(self) -> TextsConfig:
        if self.title is None and not self.templates:
            raise ValueError("expected a title or at least one template, received neither")
        for prompt in self.prompts:
            if set(template_attributes(prompt)) != {"label"}:
                raise ValueError(f"expected prompts of {{label}} alone, received {prompt!r}")
        return self


class TokenizerConfig(Section):
    """Attributes:
    preset: of a CLIP tokenizer: a keras-hub name, such as `clip_vit_base_patch32`, or a folder; null trains one on
        the texts of the training items.
    vocabulary_size: of the trained one, at most.
    """

    preset: str | None = None
    vocabulary_size: Annotated[int, Field(ge=600)] = 4096


class TextEncoderConfig(Section):
    """The text tower: keras-hub's CLIP text encoder.

    Attributes:
        preset: of a CLIP model whose text tower is taken: a keras-hub name or a folder; null for one from scratch. It
            brings its own tokenizer, and its projection must be as wide as the embedding it is to fit.
        length: tokens of a text that are read, the start and the end among them.
        width, layers, heads: of one from scratch.
        dropout: share of the tokens' embeddings left out in training, from scratch.
    """

    preset: str | None = None
    length: Annotated[int, Field(ge=4, le=256)] = 32
    width: Positive = 192
    layers: Positive = 3
    heads: Positive = 4
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1

    @model_validator(mode="after")
    def _divisible(self) -> TextEncoderConfig:
        if self.width % self.heads:
            raise ValueError(f"expected width as a multiple of heads ({self.heads}), received {self.width}")
        return self


class WordsStageConfig(Section):
    """One stage of contrastive training.

    Attributes:
        epochs: 0 leaves the stage out.
        batch_size: pairs of a picture and a text in one optimiser step over all devices: each is compared with all
            others. No more than there are training items.
        learning_rate: peak; reached after `warmup_epochs`, then `schedule` brings it down.
        weight_decay: AdamW's decoupled decay.
        clip_norm: global norm of the gradients; 0 for no clipping.
        patience: epochs without a better validation result before the stage stops; 0 to never stop early.
    """

    epochs: Annotated[int, Field(ge=0)] = 0
    batch_size: Annotated[int, Field(ge=2)] = 256
    learning_rate: Annotated[float, Field(gt=0.0)] = 1e-3
    weight_decay: Rate = 0.05
    warmup_epochs: Rate = 1.0
    schedule: Literal["cosine", "constant"] = "cosine"
    clip_norm: Rate = 1.0
    patience: Annotated[int, Field(ge=0)] = 0


class FullTuningConfig(WordsStageConfig):
    """Pictures and texts learn together, from where locked-image tuning, or the preset, left them.

    Pictures are mirrored and cropped at random; their colours stay, which the texts name.

    Attributes:
        interpolation: how far to go from the weights before to those after (WiSE-FT), 0 to 1; the one that does best on
            validation is taken.
        classification: weight of the classifier's cross-entropy beside the contrastive loss.
    """

    batch_size: Annotated[int, Field(ge=2)] = 64
    learning_rate: Annotated[float, Field(gt=0.0)] = 1e-5
    interpolation: Annotated[tuple[Share, ...], Field(min_length=1), *Distinct] = (0.0, 0.25, 0.5, 0.75, 1.0)
    classification: Rate = 0.5


class WordsConfig(Section):
    """Which models learn words, and how.

    Attributes:
        models: to be searchable by words; by default the last of `model.names`.
        texts: see `TextsConfig`.
        tokenizer: see `TokenizerConfig`; unused where the text encoder has a preset.
        encoder: see `TextEncoderConfig`.
        loss: `softmax` (InfoNCE, as CLIP) or `sigmoid` (as SigLIP).
        temperature: that learning starts with.
        locked: locked-image tuning: the text encoder learns where the finished model puts the pictures, whose
            embeddings stay as they are.
        full: full tuning of both afterwards.
    """

    models: Annotated[tuple[ModelName, ...], *Distinct] = ()
    texts: TextsConfig = TextsConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    encoder: TextEncoderConfig = TextEncoderConfig()
    loss: Literal["softmax", "sigmoid"] = "softmax"
    temperature: Annotated[float, Field(gt=0.0)] = 0.07
    locked: WordsStageConfig = WordsStageConfig(epochs=20)
    full: FullTuningConfig = FullTuningConfig()

    @model_validator(mode="after")
    def _learnt(self) -> WordsConfig:
        if self.encoder.preset is None and not self.locked.epochs and not self.full.epochs:
            raise ValueError(
                "expected locked.epochs or full.epochs above 0, since a text encoder without a preset knows nothing; "
                "received 0"
            )
        return self
