"""`prepare`: from a catalogue to the items table that all other jobs read."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainer.config import Config, DataConfig
from trainer.data.candidates import Candidates, clean_rows
from trainer.data.items import (
    ID,
    IMAGE_PATH,
    ITEMS_FILE,
    ITEMS_PICKLE,
    LABEL,
    PICTURE_MTIME_NS,
    PICTURE_SHA256,
    PICTURE_SIZE,
    SOURCE_PATH,
    SPLIT,
    SPLITS,
    TEST,
    attribute_columns,
    read_items,
    write_items,
)
from trainer.data.near_duplicates import duplicate_groups
from trainer.data.picture_checks import PictureChecks, find_pictures
from trainer.data.selection import draw_sample, drop_rare_labels, keep_labels, keep_most_frequent
from trainer.data.sources import read_source
from trainer.data.splits import SplitItems, split_items
from trainer.errors import InputError
from trainer.files import atomic_path, write_json

__all__ = ["REJECTED_FILE", "REPORT_FILE", "run"]

REJECTED_FILE = "rejected.csv"
REPORT_FILE = "prepare_report.json"
_PLOTS = "plots"
_PLOTTED_ATTRIBUTES = ("gender", "colour", "color", "baseColour", "baseColor")
_LINES_NAMED = 100

_log = logging.getLogger(__name__)


def run(config: Config, workdir: Path, *, undivided: bool = False) -> None:
    """Reads the catalogue, opens its pictures, keeps copies together, and divides the items.

    Writes, each in one step:
      - `items.parquet` and `items.pkl`: the items, see `trainer.data.items`;
      - `rejected.csv`: pictures that are there and cannot be used, with the reason;
      - `prepare_report.json`: what was counted;
      - `plots/distribution_*.png`: how labels and a few attributes are spread over the splits;
      - `pictures/`: copies in RGB of those pictures that TensorFlow would read otherwise than meant.

    A second run opens only pictures that are new or changed, also after a kill; if nothing changed, it writes nothing.

    Args:
        config: `data` says what is read and chosen; `seed` fixes the splits unless `data.splits.seed` does.
        workdir: the run's folder, made when missing.
        undivided: whether all items are test: queries for a model that was trained on another catalogue.

    Raises:
        InputError: the catalogue cannot be read, too many of its pictures are broken, or it cannot be split.
    """
    started = time.perf_counter()
    workdir = workdir.absolute()
    candidates = read_source(config.data, workdir)
    rows, report = _choose_rows(candidates, config.data)
    report["matching"] = len(rows)
    rows, report["without_picture"] = _with_picture(rows, config.data)
    report["chosen"] = len(rows)
    _log.info("%d of %d rows chosen", len(rows), len(candidates.rows))
    items, records = _usable(rows, workdir, config.data, report)
    items, report["left_out_labels"] = drop_rare_labels(items, config.data.selection)
    items = _divided(items.reset_index(drop=True), records, config, report, undivided)
    report["usable"] = len(items)
    if _is_as_before(items, report, workdir):
        _log.info("nothing has changed since prepare ran last")
    else:
        _write(items, report | {"seconds": round(time.perf_counter() - started, 2)}, workdir)
    print(_summary(report, workdir))


def _choose_rows(candidates: Candidates, data: DataConfig) -> tuple[pd.DataFrame, dict[str, Any]]:
    rows = candidates.rows
    if data.selection.first_rows is not None:
        rows = rows.head(data.selection.first_rows)
    rows, dropped = clean_rows(rows)
    report = {
        "source": data.source,
        "rows_read": len(candidates.rows),
        "mended_lines": _named(candidates.mended),
        "malformed_lines": _named(candidates.malformed),
        "ignored_files": candidates.ignored_files,
        **dropped,
    }
    if rows.empty:
        raise InputError(
            f"expected rows with an id and a label in the catalogue, received {len(candidates.rows)} rows of which "
            f"none has both, and {len(candidates.malformed)} malformed lines; check data.source and its columns"
        )
    return keep_labels(rows, data.selection.labels), report


def _named(lines: tuple[int, ...]) -> dict[str, Any]:
    return {"count": len(lines), "lines": list(lines[:_LINES_NAMED])}


def _with_picture(rows: pd.DataFrame, data: DataConfig) -> tuple[pd.DataFrame, int]:
    """Rows whose picture is there, sampled, with what `find_pictures` saw; and how many have none."""
    found = find_pictures(rows[IMAGE_PATH].tolist())
    there = ~found["missing"].to_numpy()
    if not there.any():
        raise InputError(
            f"expected the catalogue's pictures, none of {len(rows)} is there; first looked for "
            f"{rows[IMAGE_PATH].iloc[0]}; check data.root, data.images and the column of paths"
        )
    missing = int((~there).sum())
    rows = pd.concat([rows, found[["size", "mtime_ns", "reason"]].add_prefix("found_")], axis=1)[there]
    rows = keep_most_frequent(rows, data.selection.most_frequent)
    return draw_sample(rows, data.selection.sample).reset_index(drop=True), missing


def _usable(
    rows: pd.DataFrame, workdir: Path, data: DataConfig, report: dict[str, Any]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Opens the pictures; writes which are rejected; the other rows, and all records by path."""
    checks = PictureChecks(workdir, max_pixels=data.max_pixels, workers=data.workers)
    found = rows[[IMAGE_PATH, "found_size", "found_mtime_ns", "found_reason"]]
    found.columns = ["source_path", "size", "mtime_ns", "reason"]
    records = checks.check(found).set_index("source_path")
    reasons = records["reason"].reindex(rows[IMAGE_PATH]).to_numpy()
    rows = rows.drop(columns=["found_size", "found_mtime_ns", "found_reason"])
    rejected = rows[[ID, IMAGE_PATH, LABEL]].assign(reason=reasons)[reasons != ""]
    with atomic_path(workdir / REJECTED_FILE) as aside:
        rejected.to_csv(aside, index=False)
    counts = rejected["reason"].value_counts()
    report["rejected"] = {str(reason): int(count) for reason, count in sorted(counts.items())}
    share = len(rejected) / len(rows)
    if share > data.max_rejected_share:
        raise InputError(
            f"{share:.1%} of the pictures ({len(rejected)} of {len(rows)}) cannot be used, most often: "
            f"{counts.index[0]} ({counts.iloc[0]}); expected at most "
            f"data.max_rejected_share={data.max_rejected_share:g}. See {workdir / REJECTED_FILE}; mend those pictures "
            "or raise data.max_rejected_share"
        )
    if len(rejected) == len(rows):
        raise InputError(f"expected usable pictures, all {len(rows)} are rejected; see {workdir / REJECTED_FILE}")
    return rows[reasons == ""], records


def _divided(
    items: pd.DataFrame, records: pd.DataFrame, config: Config, report: dict[str, Any], undivided: bool
) -> pd.DataFrame:
    """The items table: with what was found of each picture, and the split."""
    found = records.loc[items[IMAGE_PATH]]
    near = config.data.near_duplicates
    hashes = found["sha256"].tolist(), _bytes(found["phash"]), _bytes(found["colours"])
    copies = duplicate_groups(*hashes, near.max_distance)
    groups = copies if near.enabled else duplicate_groups(*hashes, None)
    splits = config.data.splits
    if undivided:
        divided = SplitItems(np.full(len(items), TEST, dtype=object), moved=0)
    else:
        divided = split_items(items, groups, splits, config.seed if splits.seed is None else splits.seed)
    converted = found.loc[found["kind"] != "", "kind"].value_counts()
    report["converted"] = {str(kind): int(count) for kind, count in sorted(converted.items())}
    across = int((pd.Series(divided.split).groupby(copies).nunique() > 1).sum())
    if across:
        _log.warning(
            "%d groups of near copies have items in several splits, which flatters every figure; "
            "data.near_duplicates.enabled: true keeps them together",
            across,
        )
    report["near_duplicates"] = {
        **_group_counts(groups, items[LABEL]),
        "items_moved": divided.moved,
        "groups_across_splits": across,
    }
    carried = items.drop(columns=[ID, IMAGE_PATH, LABEL, SPLIT])
    fixed = pd.DataFrame(
        {
            ID: items[ID],
            IMAGE_PATH: found["image_path"].to_numpy(),
            LABEL: items[LABEL],
            SPLIT: divided.split,
            PICTURE_SHA256: found["sha256"].to_numpy(),
            PICTURE_SIZE: found["size"].to_numpy(np.int64),
            PICTURE_MTIME_NS: found["mtime_ns"].to_numpy(np.int64),
            SOURCE_PATH: items[IMAGE_PATH],
        }
    )
    table = pd.crosstab(fixed[LABEL], fixed[SPLIT]).reindex(columns=list(SPLITS), fill_value=0)
    report["splits"] = {split: int(table[split].sum()) for split in SPLITS}
    report["labels"] = {str(label): {split: int(row[split]) for split in SPLITS} for label, row in table.iterrows()}
    return pd.concat([fixed, carried], axis=1)


def _bytes(column: pd.Series) -> np.ndarray:
    return np.frombuffer(bytes.fromhex("".join(column)), np.uint8).reshape(len(column), -1)


def _group_counts(groups: np.ndarray, labels: pd.Series) -> dict[str, int]:
    sizes = np.bincount(groups)
    several = labels.groupby(groups).nunique() > 1
    return {
        "groups": int((sizes > 1).sum()),
        "items": int(sizes[sizes > 1].sum()),
        "largest_group": int(sizes.max()),
        "groups_with_several_labels": int(several.sum()),
    }


def _is_as_before(items: pd.DataFrame, report: dict[str, Any], workdir: Path) -> bool:
    """Whether what lies in the work directory says the same already."""
    try:
        former = json.loads((workdir / REPORT_FILE).read_text(encoding="utf-8"))
        former.pop("seconds")
        written = all((workdir / name).is_file() for name in (ITEMS_PICKLE, ITEMS_FILE)) and all(
            _plot(workdir, column).is_file() for column in _plotted(items)
        )
        return written and former == report and read_items(workdir).equals(items)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # missing, torn, or somebody else's
        return False


def _write(items: pd.DataFrame, report: dict[str, Any], workdir: Path) -> None:
    from trainer.plots.distribution import plot_distribution  # matplotlib takes long to import

    write_items(workdir, items)
    for column in _plotted(items):
        plot_distribution(items, _plot(workdir, column), column=column)
    write_json(workdir / REPORT_FILE, report)


def _plotted(items: pd.DataFrame) -> list[str]:
    return [LABEL, SPLIT, *(column for column in attribute_columns(items) if column in _PLOTTED_ATTRIBUTES)]


def _plot(workdir: Path, column: str) -> Path:
    return workdir / _PLOTS / f"distribution_{column}.png"


def _summary(report: dict[str, Any], workdir: Path) -> str:
    rejected = ", ".join(f"{count} {reason}" for reason, count in report["rejected"].items())
    copies = report["near_duplicates"]
    lines = [
        f"rows read        {report['rows_read']:>9,}  "
        f"(malformed {report['malformed_lines']['count']:,}, duplicate ids {report['duplicate_ids']:,}, "
        f"without id {report['empty_ids']:,}, without label {report['empty_labels']:,})",
        f"matching         {report['matching']:>9,}  (without picture {report['without_picture']:,})",
        f"chosen           {report['chosen']:>9,}",
        f"rejected         {sum(report['rejected'].values()):>9,}  {f'({rejected})' if rejected else ''}",
        f"usable           {report['usable']:>9,}  of {len(report['labels'])} labels, "
        f"{sum(report['converted'].values()):,} converted",
        f"copies           {copies['items']:>9,}  "
        f"in {copies['groups']:,} groups, {copies['items_moved']:,} items moved for them",
        *(f"{split:<17}{count:>9,}" for split, count in report["splits"].items()),
        f"written to {workdir / ITEMS_FILE}",
    ]
    return "\n".join(line.rstrip() for line in lines)
