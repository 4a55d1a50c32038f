"""Which rows become items."""

from __future__ import annotations

import pandas as pd
import pytest

from trainer.config import SampleConfig, SelectionConfig
from trainer.data.selection import draw_sample, drop_rare_labels, keep_labels, keep_most_frequent
from trainer.errors import InputError


def rows(**sizes: int) -> pd.DataFrame:
    labels = [label for label, size in sizes.items() for _ in range(size)]
    return pd.DataFrame({"id": [str(number) for number in range(len(labels))], "label": labels})


def test_labels_by_name() -> None:
    kept = keep_labels(rows(tops=2, shirts=3, shoes=1), ("shoes", "tops"))
    assert kept["label"].tolist() == ["tops", "tops", "shoes"]
    assert kept.index.tolist() == [0, 1, 2]
    assert len(keep_labels(rows(tops=2), ())) == 2


def test_an_unknown_label_is_named_with_the_nearest() -> None:
    with pytest.raises(InputError, match="received 'Shirts', which no selected row has; the nearest is 'shirts'"):
        keep_labels(rows(tops=2, shirts=3), ("tops", "Shirts"))


def test_most_frequent_labels() -> None:
    frame = rows(tops=2, shirts=3, shoes=2)
    assert set(keep_most_frequent(frame, 1)["label"]) == {"shirts"}
    assert set(keep_most_frequent(frame, 2)["label"]) == {"shirts", "shoes"}  # as many as tops, earlier in the alphabet
    assert len(keep_most_frequent(frame, None)) == 7


def test_a_sample_overall() -> None:
    frame = rows(tops=50, shirts=50)
    drawn = draw_sample(frame, SampleConfig(n=10, random_state=1))
    assert len(drawn) == 10
    assert drawn["id"].astype(int).is_monotonic_increasing
    assert drawn.equals(draw_sample(frame, SampleConfig(n=10, random_state=1)))
    assert not drawn.equals(draw_sample(frame, SampleConfig(n=10, random_state=2)))
    assert len(draw_sample(frame, SampleConfig(n=1000))) == 100


def test_a_sample_of_each_label() -> None:
    drawn = draw_sample(rows(tops=50, shirts=3), SampleConfig(n=10, per_label=True))
    assert drawn["label"].value_counts().to_dict() == {"tops": 10, "shirts": 3}
    assert drawn["id"].tolist() != [str(number) for number in range(10)] + ["50", "51", "52"]


def test_rare_labels_are_left_out_and_counted() -> None:
    kept, left_out = drop_rare_labels(rows(tops=5, shirts=4, shoes=1), SelectionConfig(min_per_label=5))
    assert set(kept["label"]) == {"tops"}
    assert left_out == {"shirts": 4, "shoes": 1}


def test_nothing_but_rare_labels() -> None:
    with pytest.raises(InputError, match=r"min_per_label=5 usable pictures; 'shirts' has most, 4"):
        drop_rare_labels(rows(shirts=4, shoes=1), SelectionConfig(min_per_label=5))


def test_a_rare_label_that_was_asked_for_is_told(caplog: pytest.LogCaptureFixture) -> None:
    drop_rare_labels(rows(tops=5, shirts=4), SelectionConfig(labels=("tops", "shirts")))
    assert "shirts" in caplog.text
