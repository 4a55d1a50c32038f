"""The sections of one model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from trainer.data.items import IMAGE_PATH
from trainer.report.blocks import Block, Drawing, Gallery, Section, Table
from trainer.report.charts import curve_chart, dimensions_chart, no_match_chart
from trainer.report.class_charts import confusion_chart, map_chart
from trainer.report.metric_names import as_number, headline, main_metrics, metrics_in
from trainer.report.products import Products
from trainer.report.queries import query_grids
from trainer.report.results import Findings, ModelResults, NoMatch, Row, RunResults
from trainer.report.tables import metric_table, plain_table, shown_number
from trainer.report.word_section import words_section

__all__ = ["model_sections"]

_EVALUATE = "evaluate"
_LABEL_ERRORS = 24


def model_sections(run: RunResults, results: ModelResults, products: Products) -> tuple[Section, ...]:
    """All sections of a model, also those whose data is not there, which then say how to get it.

    Args:
        run: whose configuration and items hold.
        results: of the model.
        products: takes note of the pictures that the sections show.
    """
    makers: tuple[Callable[[RunResults, ModelResults, Products], Section], ...] = (
        _queries,
        words_section,
        _curve,
        _map,
        _classes,
        _slices,
        _findings,
        _robustness,
        _no_match,
        _dimensions,
        _ablations,
    )
    return tuple(make(run, results, products) for make in makers)


def _queries(run: RunResults, results: ModelResults, products: Products) -> Section:
    return Section(
        f"{results.name}-queries",
        "What queries find",
        f"Every picture of {run.split} looks among the others, itself left out. Below a picture: its label and the "
        "cosine similarity.",
        query_grids(results, products, run.config.seed),
        "There are no embeddings of this model yet.",
        _EVALUATE,
    )


def _curve(run: RunResults, results: ModelResults, products: Products) -> Section:
    chart = curve_chart(results.name, results.curve or ())
    return Section(
        f"{results.name}-depth",
        "How deep to look",
        "Hit rate rises with K, since one right item is enough; precision falls as the class runs out.",
        _present(chart),
        "Quality by K has not been measured.",
        _EVALUATE,
    )


def _map(run: RunResults, results: ModelResults, products: Products) -> Section:
    chart = None
    table = results.table
    if table is not None:
        chart = map_chart(results.name, table, tsne=run.config.evaluate.tsne != "none", seed=run.config.seed)
    if chart is not None and table is not None and IMAGE_PATH in table.attributes:
        shown = {point[0] for trace in chart.figure["data"] for point in trace.get("customdata", ())}
        for product, label, path in zip(
            table.ids.tolist(), table.labels.tolist(), table.attributes[IMAGE_PATH].tolist(), strict=True
        ):
            if product in shown:
                products.add(product, label, path)
    missing = "There are no embeddings of this model yet, or too few for a map."
    return Section(f"{results.name}-map-section", "Map", "", _present(chart), missing, _EVALUATE)


def _classes(run: RunResults, results: ModelResults, products: Products) -> Section:
    chart = confusion_chart(results.name, results.table) if results.table is not None else None
    table = None
    if results.per_class:
        metrics = headline(metrics_in(results.per_class))
        rows = _hardest_first(results.per_class, metrics)
        table = metric_table(rows, {"label": "class", "queries": "queries"}, metrics, "Metrics by class, hardest first")
    return Section(
        f"{results.name}-classes",
        "Classes",
        "Click or tap a cell of the matrix to see its pictures." if chart else "",
        _present(chart, table),
        "There are no predictions of this model yet.",
        _EVALUATE,
    )


def _hardest_first(rows: Sequence[Row], metrics: Sequence[str]) -> list[Row]:
    leading = [name for name in main_metrics(metrics) if name != "accuracy"][-1:] or list(metrics[:1])

    def quality(row: Row) -> float:
        value = as_number(row.get(leading[0])) if leading else None
        return float("inf") if value is None else value

    return sorted(rows, key=quality)


def _slices(run: RunResults, results: ModelResults, products: Products) -> Section:
    tables = []
    rows = results.slices or ()
    for attribute in dict.fromkeys(str(row.get("attribute", "")) for row in rows):
        chosen = [_with_count(row) for row in rows if str(row.get("attribute", "")) == attribute]
        title = f"By {attribute}" if attribute else "By attribute"
        leading = {"value": attribute or "value", "queries": "queries"}
        tables.append(metric_table(chosen, leading, headline(metrics_in(chosen)), title))
    return Section(
        f"{results.name}-slices",
        "Slices",
        "The same metrics for some of the queries; the gallery stays whole.",
        tuple(tables),
        "No slices have been measured: name attributes in evaluate.slices.",
        _EVALUATE,
    )


def _with_count(row: Row) -> Row:
    """A row of several values says of how many."""
    return {**row, "value": f"{row.get('value')}, {row['values']} values"} if row.get("values") else row


def _findings(run: RunResults, results: ModelResults, products: Products) -> Section:
    return Section(
        f"{results.name}-findings",
        "Findings",
        "Shares are of all queries with the label.",
        tuple(_finding_blocks(results.findings, products)) if results.findings else (),
        "No confusions or label errors have been looked for, or none were found.",
        _EVALUATE,
    )


def _finding_blocks(findings: Findings, products: Products) -> Iterator[Block]:
    if findings.confused_pairs:
        columns = {"label": "label", "found": "found", "count": "queries", "share": "share"}
        yield plain_table(findings.confused_pairs, columns, "Labels of wrong nearest items", half=True)
    if findings.confused_predictions:
        columns = {"label": "label", "predicted": "predicted", "count": "pictures", "share": "share"}
        yield plain_table(findings.confused_predictions, columns, "Wrong predictions", half=True)
    suspects = findings.label_errors[:_LABEL_ERRORS]
    if suspects:
        yield Gallery(
            "Labels that are probably wrong",
            tuple(
                products.picture(
                    item.id,
                    item.label,
                    item.image_path,
                    lines=(
                        f"labelled {item.label}",
                        f"looks like {item.suggested}",
                        " · ".join([item.split, f"score {shown_number(item.score)}"]).strip(" ·"),
                    ),
                )
                for item in suspects
            ),
            "Classifier and most similar items agree on another label than the given one, the surest first"
            f" ({len(suspects)} of {len(findings.label_errors)}).",
        )


def _robustness(run: RunResults, results: ModelResults, products: Products) -> Section:
    blocks: list[Block] = []
    rows = [{**row, "corruption": str(row.get("corruption", "")).replace("_", " ")} for row in results.robustness or ()]
    if rows:
        strength = "setting" if any(row.get("setting") for row in rows) else "strength"
        leading = {"corruption": "corruption", strength: "strength", "queries": "queries"}
        caption = "The same queries, spoilt; the gallery stays clean"
        blocks.append(metric_table(rows, leading, main_metrics(metrics_in(rows)), caption, changes=True))
        sheet = run.workdir / "plots" / "robustness.png"
        if sheet.is_file():
            picture = products.drawing(str(sheet), "One product under every corruption, at both strengths")
            blocks.append(Drawing("One product under every corruption", picture))
    return Section(
        f"{results.name}-robustness",
        "Robustness",
        "What it costs when the query is not as clean as the catalogue. Changes are paired differences to the clean "
        "query.",
        tuple(blocks),
        "Robustness has not been measured.",
        "robustness",
    )


def _no_match(run: RunResults, results: ModelResults, products: Products) -> Section:
    blocks: list[Block] = []
    intro = "Below some similarity it is better to say that nothing matches."
    found = results.no_match
    if found is not None:
        intro += _threshold(found)
        rows = [{"split": split, **values} for split, values in found.on.items()]
        if rows:
            leading = {"split": "split", "queries": "queries", "queries_without_match": "without match"}
            keys = dict.fromkeys(key for row in rows for key in row if key not in leading)
            blocks.append(metric_table(rows, leading, [*keys], "At the threshold"))
        chart = no_match_chart(results.name, found)
        blocks += _present(chart)
    return Section(
        f"{results.name}-no-match-section",
        "No match",
        intro,
        tuple(blocks),
        "No threshold has been calibrated.",
        _EVALUATE,
    )


def _threshold(found: NoMatch) -> str:
    if found.threshold is None:
        return ""
    aim = "the highest F1" if found.target == "f1" else f"{found.target or 'a target'} {shown_number(found.value)}"
    where = f" on {found.calibrated_on}" if found.calibrated_on else ""
    said = f" The threshold is {found.threshold:.4f}, for {aim}{where}"
    if not found.reached:
        return f"{said}, which was not reached."
    if found.absent is None:
        return f"{said}."
    return (
        f"{said}. Precision: of what is answered, how much is right, if a share of {found.absent:g} of the questions "
        "has no match. Recall: of what could be found, how much is."
    )


def _dimensions(run: RunResults, results: ModelResults, products: Products) -> Section:
    blocks: list[Block] = []
    if results.dimensions:
        rows = results.dimensions
        leading = {"dimension": "dimensions", "method": "method", "bytes": "bytes a row"}
        blocks += _present(dimensions_chart(results.name, rows))
        blocks.append(metric_table(rows, leading, headline(metrics_in(rows)), "Quality by dimension"))
    return Section(
        f"{results.name}-dimensions-section",
        "Dimensions",
        "What shorter embeddings cost.",
        tuple(blocks),
        "Shorter embeddings have not been measured.",
        _EVALUATE,
    )


def _ablations(run: RunResults, results: ModelResults, products: Products) -> Section:
    blocks: tuple[Table, ...] = ()
    if results.ablations:
        rows = results.ablations
        leading = {
            "method": "method",
            "settings": "settings",
            "chosen_on": "chosen on",
            "milliseconds": "ms a query",
            "bytes": "bytes a row",
        }
        metrics = (
            main_metrics(metrics_in(rows)) if any(row.get("change") for row in rows) else headline(metrics_in(rows))
        )
        blocks = (metric_table(rows, leading, metrics, "Post-processing of the search", best=True, changes=True),)
    return Section(
        f"{results.name}-ablations",
        "Ablations",
        "What a step more in the search brings, and what it costs.",
        blocks,
        "No ablations have been measured: set evaluate.ablations to last or all.",
        _EVALUATE,
    )


def _present(*blocks: Block | None) -> tuple[Block, ...]:
    return tuple(block for block in blocks if block is not None)
