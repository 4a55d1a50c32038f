"""What is measured of a model that has learnt words."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from trainer.config.section import Distinct, Positive, Section, Share

__all__ = ["WordsEvaluateConfig"]


class WordsEvaluateConfig(Section):
    """What is asked is in `words.texts`: its prompts, its titles and its queries.

    Attributes:
        min_matches: a combination of values that fewer of the queried items have is not asked for.
        weights: of the words where they are added to a picture: 0 is the picture alone, 1 the words alone.
    """

    min_matches: Positive = 1
    weights: Annotated[tuple[Share, ...], Field(min_length=1), *Distinct] = (0.0, 0.25, 0.5, 0.75, 1.0)
