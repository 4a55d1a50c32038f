"""The section of what a model makes of words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trainer.report.blocks import Block, Grid, Picture, QueryRow, Section
from trainer.report.charts import composed_chart
from trainer.report.products import Products
from trainer.report.results import (
    ModelResults,
    Row,
    RunResults,
    WordExample,
    WordNeighbour,
    Words,
    WordTitles,
    ZeroShot,
)
from trainer.report.tables import metric_table, plain_table, shown_number

__all__ = ["words_section"]

_NEIGHBOURS = 8
_CONFUSED = 10
_KINDS = {"random": "By chance", "worst": "Worst", "best": "Best"}


def words_section(run: RunResults, results: ModelResults, products: Products) -> Section:
    """Classifying and searching by words; where the model has learnt none, how it would."""
    words = results.words
    return Section(
        f"{results.name}-words",
        "Words",
        f"Words are put where the pictures are: the pictures of {run.split} nearest to them are what they find.",
        () if words is None else tuple(_blocks(run, results, words, products)),
        "This model has learnt no words (words.models names those that do), or they have not been measured.",
        "evaluate",
    )


def _blocks(run: RunResults, results: ModelResults, words: Words, products: Products) -> Iterator[Block]:
    for kind, title in _KINDS.items():
        rows = [_row(example, products) for example in words.examples if example.kind == kind]
        if rows:
            yield Grid(f"{title}, in words", tuple(rows))
    for template in dict.fromkeys(str(row.get("template", "")) for row in words.queries):
        yield _template_table(template, [row for row in words.queries if str(row.get("template", "")) == template])
    if words.titles and words.titles.rows:
        yield _titles(words.titles)
    if words.zero_shot:
        yield from _zero_shot(run, results.name, words.zero_shot)
    if words.composed:
        chart = composed_chart(results.name, words.composed)
        if chart:
            yield chart
        leading = {"text": "words", "weight": "weight", "queries": "queries"}
        caption = f"A picture and another value in words: shares of the {words.composed[0].get('k', '')} nearest"
        yield metric_table(words.composed, leading, ("label", "asked", "both", "ceiling"), caption, folded=True)


def _row(example: WordExample, products: Products) -> QueryRow:
    return QueryRow(example.text, tuple(_found(item, products) for item in example.neighbours[:_NEIGHBOURS]))


def _found(item: WordNeighbour, products: Products) -> Picture:
    lines = [value or "–" for value in item.values.values()] or [item.label]
    lines += [] if item.score is None else [f"{item.score:.3f}"]
    return products.picture(item.id, item.label, item.image_path, lines=tuple(lines), right=item.right)


def _template_table(template: str, rows: Sequence[Row]) -> Block:
    deepest = _at(rows, "precision")[-1:]
    beside = [name.replace("precision", family) for name in deepest for family in ("ceiling", "by_item")]
    caption = f"“{template}”, for all values there are: what is right"
    return metric_table(
        rows, {"attribute": "attribute", "queries": "queries"}, [*_at(rows, "precision"), *beside], caption
    )


def _titles(titles: WordTitles) -> Block:
    caption = (
        f"Products by {titles.attribute}, among {shown_number(titles.gallery)} pictures; {shown_number(titles.shared)} "
        "of the titles name another product, too"
    )
    rows = [{**row, "queries": titles.queries} for row in titles.rows]
    leading = {"right": "right is", "queries": "titles", "median_rank": "median rank"}
    return metric_table(rows, leading, _at(rows, "recall"), caption)


def _zero_shot(run: RunResults, model: str, found: ZeroShot) -> Iterator[Block]:
    rows: list[Row] = [{"by": "words alone", **found.model_dump()}]
    rows += [
        {"by": "the classifier", **row}
        for row in run.metrics or ()
        if row.get("model") == model and row.get("split") == run.split == row.get("gallery", run.split)
    ]
    caption = f"Labels told by words, out of {shown_number(found.labels)}"
    yield metric_table(rows, {"by": "told by", "queries": "pictures"}, ["accuracy", "accuracy_macro"], caption)
    if found.confused:
        columns = {"label": "label", "predicted": "told by words", "count": "pictures", "share": "share"}
        yield plain_table(found.confused[:_CONFUSED], columns, "Labels that words confuse", half=True)


def _at(rows: Sequence[Row], family: str) -> list[str]:
    """The metrics `family@K` of the rows, K rising."""
    depths = {name.removeprefix(f"{family}@") for row in rows for name in row if name.startswith(f"{family}@")}
    return [f"{family}@{k}" for k in sorted(int(depth) for depth in depths if depth.isdecimal())]
