"""Splits keep their sizes and their labels' shares, and no copy is on two sides."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import train_test_split

from trainer.config import SplitsConfig
from trainer.data.splits import split_items
from trainer.errors import InputError

SIZES = {"shirts": 120, "tops": 57, "shoes": 23}


def items(sizes: dict[str, int] = SIZES, splits: list[str] | None = None) -> pd.DataFrame:
    labels = np.repeat(list(sizes), list(sizes.values()))
    frame = pd.DataFrame({"label": np.random.default_rng(1).permutation(labels)})
    return frame.assign(split="" if splits is None else splits)


def table(frame: pd.DataFrame, split: np.ndarray) -> pd.DataFrame:
    return pd.crosstab(frame["label"], split)


def alone(frame: pd.DataFrame) -> np.ndarray:
    return np.arange(len(frame))


@pytest.mark.parametrize("seed", [0, 7])
def test_without_copies_it_is_scikit_learns_split(seed: int) -> None:
    frame = items()
    rest, test = train_test_split(np.arange(200), test_size=0.2, stratify=frame["label"], random_state=seed)
    train, validation = train_test_split(
        rest, test_size=0.25, stratify=frame["label"].to_numpy()[rest], random_state=seed
    )
    divided = split_items(frame, alone(frame), SplitsConfig(), seed)
    for name, rows in (("train", train), ("validation", validation), ("test", test)):
        assert np.flatnonzero(divided.split == name).tolist() == sorted(rows.tolist())
    assert divided.moved == 0


def test_the_published_sizes() -> None:
    frame = items({"a": 2000, "b": 630})
    split = split_items(frame, alone(frame), SplitsConfig(), 0).split
    assert pd.Series(split).value_counts().to_dict() == {"train": 1578, "validation": 526, "test": 526}


@pytest.mark.parametrize("group_size", [2, 3, 11])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_copies_stay_together_and_sizes_hold(group_size: int, seed: int) -> None:
    frame = items()
    groups = alone(frame)
    rng = np.random.default_rng(seed)
    for label in SIZES:
        rows = rng.permutation(np.flatnonzero(frame["label"] == label))
        for start in range(0, len(rows) // 3, group_size):
            groups[rows[start : start + group_size]] = rows[start]
    groups = pd.factorize(groups)[0]
    wanted = table(frame, split_items(frame, alone(frame), SplitsConfig(), seed).split)
    divided = split_items(frame, groups, SplitsConfig(), seed)
    assert pd.Series(divided.split).groupby(groups).nunique().max() == 1
    assert table(frame, divided.split).equals(wanted)
    assert 0 < divided.moved < len(frame) / 2
    again = split_items(frame, groups, SplitsConfig(), seed)
    assert (again.split == divided.split).all()


def test_a_group_of_several_labels_and_one_too_large_to_balance() -> None:
    frame = items()
    groups = alone(frame)
    groups[frame.index[frame["label"] == "shoes"][:20]] = 0
    groups[frame.index[frame["label"] == "tops"][:2]] = 0
    divided = split_items(frame, pd.factorize(groups)[0], SplitsConfig(), 0)
    assert len(set(divided.split[groups == 0])) == 1
    counts = table(frame, divided.split)
    assert counts.loc["shirts"].tolist() == [24, 72, 24]
    assert counts.loc["tops"].sum() == 57
    assert counts.loc["shoes", "train"] >= 20


def test_no_validation_when_its_share_is_nought() -> None:
    frame = items()
    groups = alone(frame)
    groups[50:90] = 50
    divided = split_items(frame, pd.factorize(groups)[0], SplitsConfig(train=0.7, validation=0.0, test=0.3), 0)
    assert set(divided.split) == {"train", "test"}
    assert (divided.split == "test").sum() == 60


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"shirts": 50, "tops": 2}, "at least 3 usable pictures of each label .* received 2 of 'tops'.*min_per_label"),
        ({f"label {n}": 3 for n in range(6)}, "of which test would have 4; raise data.selection.min_per_label"),
    ],
)
def test_too_few_to_split(sizes: dict[str, int], message: str) -> None:
    frame = items(sizes)
    with pytest.raises(InputError, match=message):
        split_items(frame, alone(frame), SplitsConfig(), 0)


def test_a_label_of_copies_only_still_trains() -> None:
    frame = items({"shirts": 50, "tops": 5})
    groups = alone(frame)
    groups[frame["label"] == "tops"] = 999
    divided = split_items(frame, pd.factorize(groups)[0], SplitsConfig(), 0)
    assert set(divided.split[frame["label"] == "tops"]) == {"train"}


def by_source(splits: list[str], groups: list[int] | None = None, **settings: float) -> tuple[list[str], int]:
    frame = pd.DataFrame({"label": ["a", "b"] * (len(splits) // 2), "split": splits})
    numbers = np.arange(len(splits)) if groups is None else np.array(groups)
    divided = split_items(frame, numbers, SplitsConfig(by="source", **settings), 0)
    return divided.split.tolist(), divided.moved


def test_the_sources_split_holds_in_any_spelling() -> None:
    spelt = ["train", "Training", "val", "VALID", "dev", "validation", " test", "testing"]
    assert by_source(spelt) == (["train"] * 2 + ["validation"] * 4 + ["test"] * 2, 0)


def test_train_never_takes_from_what_is_measured() -> None:
    splits = ["train"] * 6 + ["validation"] * 2 + ["test"] * 2
    groups = [0, 1, 2, 3, 4, 5, 0, 1, 1, 9]
    expected = ["validation", "test", *["train"] * 4, "validation", "test", "test", "test"]
    assert by_source(splits, pd.factorize(np.array(groups))[0].tolist()) == (expected, 3)


def test_a_source_without_validation_gives_some_of_its_train_items() -> None:
    split, moved = by_source(["train"] * 40 + ["test"] * 10)
    assert split[40:] == ["test"] * 10
    assert split[:40].count("validation") == 10
    assert moved == 0
    split, _ = by_source(["train"] * 40 + ["test"] * 10, train=0.8, validation=0.0)
    assert split == ["train"] * 40 + ["test"] * 10


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (["train", "train", "tset", "tset"], "received 'tset' .the nearest is 'test'. for 2 items"),
        (["train", "train", "", ""], "received none for 2 items"),
        (["train"] * 20, "received none in test; .*data.splits.by=ratio"),
        (["train", "test", "train", "test", "validation", "validation"], "expected train pictures of .*'b'"),
    ],
)
def test_a_split_that_cannot_be_used(splits: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        by_source(splits)
