"""What a model that has learnt words makes of them."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import numpy as np

from trainer.config import Config
from trainer.config.words import template_attributes
from trainer.errors import InputError
from trainer.evaluation.analyses import Evaluated
from trainer.evaluation.attribute_queries import attribute_queries, precision_of, query_rows
from trainer.evaluation.classification import classification_metrics
from trainer.evaluation.composed_queries import composed_queries
from trainer.evaluation.findings import confused_pairs
from trainer.evaluation.intervals import bootstrap_intervals
from trainer.evaluation.title_queries import title_queries
from trainer.evaluation.word_examples import word_examples
from trainer.evaluation.zero_shot import EmbedTexts, zero_shot_labels
from trainer.retrieval import EmbeddingTable

__all__ = ["check_words", "words"]


def words(evaluated: Evaluated) -> dict[str, Any] | None:
    """Classifying and searching by words.

    Returns:
        `zero_shot`: `labels` (how many there are to choose from), `prompts`, `queries`, `accuracy`, `accuracy_macro`,
        `intervals`, and `confused` pairs of `label` and `predicted` (see `confused_pairs`). `titles`: see
        `title_queries`; None without titles. `queries`: rows of every template of `words.texts.queries`, see
        `query_rows`. `composed`: see `composed_queries`. `examples`: see `word_examples`. None for a model without
        words.

    Raises:
        InputError: the items do not have an attribute that is asked for.
    """
    config, items, embed_texts = evaluated.config, evaluated.queries, evaluated.embed_texts
    if config.words is None or embed_texts is None:
        return None
    check_words(config, items)
    texts, ks, resamples = config.words.texts, config.evaluate.ks, config.evaluate.resamples
    asked = [
        attribute_queries(items, template, min_matches=config.evaluate.words.min_matches) for template in texts.queries
    ]
    found = [precision_of(queries, ks, embed_texts) for queries in asked if len(queries)]
    return {
        "zero_shot": _zero_shot(evaluated, texts.prompts, embed_texts),
        "titles": title_queries(items, texts.title, ks, embed_texts, resamples=resamples) if texts.title else None,
        "queries": [row for each in found for row in query_rows(each, resamples=resamples)],
        "composed": composed_queries(
            items,
            texts.queries,
            config.evaluate.words.weights,
            max(ks),
            embed_texts,
            seed=config.seed,
            resamples=resamples,
        ),
        "examples": word_examples(found, embed_texts, seed=config.seed),
    }


def check_words(config: Config, table: EmbeddingTable) -> None:
    """Refuses titles and queries of attributes that the items do not have, before anything slow begins.

    Raises:
        InputError: naming the attribute.
    """
    texts = config.words.texts if config.words else None
    if texts is None:
        return
    asked = {"queries": [name for query in texts.queries for name in template_attributes(query)]}
    asked["title"] = [texts.title] if texts.title else []
    known = [name for name, values in table.attributes.items() if values.dtype.kind == "U"]
    for key, names in asked.items():
        for name in names:
            if name not in known:
                close = get_close_matches(name, known, n=1)
                meant = f"did you mean {close[0]}?" if close else f"they have {', '.join(sorted(known))}"
                raise InputError(f"words.texts.{key}: expected attributes of the items, received {name!r}; {meant}")


def _zero_shot(evaluated: Evaluated, prompts: tuple[str, ...], embed_texts: EmbedTexts) -> dict[str, Any]:
    labels = np.unique(evaluated.table.labels).tolist()
    true = evaluated.queries.labels
    predicted = zero_shot_labels(evaluated.queries, labels, prompts, embed_texts)
    row: dict[str, Any] = {"labels": len(labels), "prompts": list(prompts), "queries": len(true)}
    row |= classification_metrics(true, predicted)
    if evaluated.config.evaluate.resamples:
        values = {"accuracy": (true == predicted).astype(np.float64)}
        row["intervals"] = bootstrap_intervals(values, resamples=evaluated.config.evaluate.resamples)
    return row | {"confused": confused_pairs(true, predicted, "predicted")}
