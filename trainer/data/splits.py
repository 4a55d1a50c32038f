"""Divides items into train, validation and test so that no picture has a copy on another side."""

from __future__ import annotations

import difflib
import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from trainer.config import SplitsConfig
from trainer.data.items import LABEL, SPLIT, SPLITS, TEST, TRAIN, VALIDATION
from trainer.errors import InputError

__all__ = ["SplitItems", "split_items"]

_log = logging.getLogger(__name__)

_SPELLINGS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("validation", "val", "valid", "dev"), VALIDATION),
    **dict.fromkeys(("test", "testing"), TEST),
}
_TRAIN, _VALIDATION, _TEST = range(3)


@dataclass(frozen=True)
class SplitItems:
    """Where each item goes.

    Attributes:
        split: object `[N]` of `train`, `validation` and `test`.
        moved: items that are on another side than they would be without their copies.
    """

    split: np.ndarray
    moved: int


def split_items(items: pd.DataFrame, groups: np.ndarray, splits: SplitsConfig, seed: int) -> SplitItems:
    """Divides items; the members of a group stay together.

    With `by: ratio` the items are divided by scikit-learn's stratified `train_test_split`, test first, then validation.
    A group that this tears apart is put on the side that then comes nearest to the sizes each label had there, and
    items without copies change sides, drawn by `seed`, until those sizes are restored as far as they can be.

    With `by: source` the source's own split holds. A group that it tears apart goes as a whole to test if a member is
    there, else to validation: what is measured on stays whole, and training never takes from it. A source without a
    validation split has `validation / (train + validation)` of its train items divided off, as above.

    Args:
        items: with `label`, and for `by: source` with `split`.
        groups: int `[N]`, equal for copies (see `duplicate_groups`).
        splits: see `SplitsConfig`.
        seed: for the shuffling.

    Returns:
        The sides, none empty but validation where its share is 0.

    Raises:
        InputError: a label has too few items, a side is empty, or the source's split cannot be read.
    """
    # Sorted, as scikit-learn numbers them: its draws depend on the order.
    labels, names = pd.factorize(items[LABEL], sort=True)
    shares = np.array([splits.train, splits.validation, splits.test])
    if splits.by == "source":
        before = _of_source(items[SPLIT])
        after = _to_the_measured_side(before, groups)
        if not (after == _VALIDATION).any() and splits.validation > 0:
            part = np.flatnonzero(after == _TRAIN)
            within = np.array([splits.train, splits.validation, 0.0]) / (splits.train + splits.validation)
            own, kept = pd.factorize(labels[part], sort=True)
            divided, _ = _by_ratio(own, groups[part], within, names[kept], seed)
            after[part] = divided
            before[part[divided == _VALIDATION]] = _VALIDATION
        moved = int((before != after).sum())
    else:
        after, moved = _by_ratio(labels, groups, shares, names, seed)
    _check(after, labels, names, splits)
    return SplitItems(np.array(SPLITS, dtype=object)[after], moved)


def _by_ratio(
    labels: np.ndarray, groups: np.ndarray, shares: np.ndarray, names: pd.Index, seed: int
) -> tuple[np.ndarray, int]:
    before = _stratified(labels, shares, names, seed)
    after = _keep_groups_whole(before, labels, groups, shares, seed)
    return after, int((before != after).sum())


def _stratified(labels: np.ndarray, shares: np.ndarray, names: pd.Index, seed: int) -> np.ndarray:
    sides = np.full(len(labels), _TRAIN)
    wanted = int((shares > 0).sum())
    sizes = np.bincount(labels, minlength=len(names))
    if sizes.min() < wanted:
        few = int(sizes.argmin())
        raise InputError(
            f"expected at least {wanted} usable pictures of each label to split them, received {sizes[few]} of "
            f"{names[few]!r}; raise data.selection.min_per_label to leave such labels out"
        )
    rest = np.arange(len(labels))
    for side in (_TEST, _VALIDATION):
        size = round(len(labels) * shares[side])
        if shares[side] == 0.0:
            continue
        try:
            rest, drawn = train_test_split(rest, test_size=size, stratify=labels[rest], random_state=seed)
        except ValueError as error:
            raise InputError(
                f"expected enough pictures for each of {len(names)} labels on every side, received {len(labels)} in "
                f"all, of which {SPLITS[side]} would have {size}; raise data.selection.min_per_label or "
                f"data.splits.{SPLITS[side]}"
            ) from error
        sides[drawn] = side
    return sides


def _keep_groups_whole(
    sides: np.ndarray, labels: np.ndarray, groups: np.ndarray, shares: np.ndarray, seed: int
) -> np.ndarray:
    group_sizes = np.bincount(groups)[groups]
    copies = np.flatnonzero(group_sizes > 1)
    copies = copies[np.argsort(groups[copies], kind="stable")]
    members = np.split(copies, np.flatnonzero(np.diff(groups[copies])) + 1)
    torn = [rows for rows in members if len(set(sides[rows])) > 1]
    if not torn:
        return sides
    after = sides.copy()
    allowed = np.flatnonzero(shares > 0)
    shape = (int(labels.max()) + 1, len(SPLITS))
    wanted = _sizes(labels, sides, shape)
    counts = wanted.copy()
    for rows in torn:
        counts -= _sizes(labels[rows], sides[rows], shape)
    for rows in sorted(torn, key=lambda rows: (-len(rows), rows[0])):  # large ones first, while there is room
        own, sizes = np.unique(labels[rows], return_counts=True)
        lack = wanted[own][:, allowed] - counts[own][:, allowed]
        cost = ((lack - sizes[:, None]) ** 2 - lack**2).sum(axis=0)
        stay = np.array([(sides[rows] == side).sum() for side in allowed])
        side = allowed[np.lexsort((-stay, cost))[0]]
        after[rows] = side
        counts[own, side] += sizes
    _restore_sizes(after, labels, np.flatnonzero(group_sizes == 1), wanted, counts, seed)
    return after


def _restore_sizes(
    sides: np.ndarray, labels: np.ndarray, alone: np.ndarray, wanted: np.ndarray, counts: np.ndarray, seed: int
) -> None:
    """Moves items without copies from sides that have too many of a label to those that lack some."""
    alone = np.random.default_rng(seed).permutation(alone)
    for label in np.flatnonzero((wanted != counts).any(axis=1)):
        own = alone[labels[alone] == label]
        surplus = counts[label] - wanted[label]
        for source in np.flatnonzero(surplus > 0):
            movable = own[sides[own] == source]
            for target in np.flatnonzero(surplus < 0):
                rows = movable[: min(surplus[source], -surplus[target])]
                movable = movable[len(rows) :]
                sides[rows] = target
                surplus[source] -= len(rows)
                surplus[target] += len(rows)


def _sizes(labels: np.ndarray, sides: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return np.bincount(labels * shape[1] + sides, minlength=shape[0] * shape[1]).reshape(shape)


def _of_source(split: pd.Series) -> np.ndarray:
    folded = split.str.strip().str.casefold()
    unknown = sorted(set(folded) - set(_SPELLINGS))
    if unknown:
        without = int((folded == unknown[0]).sum())
        near = difflib.get_close_matches(unknown[0], _SPELLINGS, n=1, cutoff=0.0)[0]
        what = f"{unknown[0]!r} (the nearest is {near!r})" if unknown[0] else "none"
        raise InputError(
            f"data.splits.by=source: expected train, validation or test as every item's split, received {what} for "
            f"{without} items; mend the source or set data.splits.by=ratio"
        )
    return np.array([SPLITS.index(_SPELLINGS[name]) for name in folded], np.int64)


def _to_the_measured_side(sides: np.ndarray, groups: np.ndarray) -> np.ndarray:
    strictest = np.zeros(int(groups.max()) + 1, np.int64)
    np.maximum.at(strictest, groups, sides)  # train < validation < test
    return strictest[groups]


def _check(sides: np.ndarray, labels: np.ndarray, names: pd.Index, splits: SplitsConfig) -> None:
    for side, name in enumerate(SPLITS):
        if not (sides == side).any() and (side != _VALIDATION or splits.validation > 0):
            raise InputError(
                f"expected pictures in every split, received none in {name}; select more rows"
                + (", or set data.splits.by=ratio" if splits.by == "source" else f", or raise data.splits.{name}")
            )
    sizes = _sizes(labels, sides, (len(names), len(SPLITS)))
    unlearnable = np.flatnonzero(sizes[:, _TRAIN] == 0)
    if unlearnable.size:
        raise InputError(
            f"expected train pictures of every label, received none of {names[unlearnable[0]]!r}"
            + (f" and {unlearnable.size - 1} more" if unlearnable.size > 1 else "")
            + "; all its pictures are copies of one another or of ones in another split, or the source has none there. "
            "Leave the label out with data.selection.labels"
        )
    for side in (_VALIDATION, _TEST):
        absent = np.flatnonzero(sizes[:, side] == 0)
        if absent.size and (sides == side).any():
            _log.warning("no %s pictures of %s", SPLITS[side], ", ".join(map(str, names[absent[:5]])))
