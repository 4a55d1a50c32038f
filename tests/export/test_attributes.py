"""Which attributes are answered and which are filtered by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.attributes import choose_attributes
from trainer.errors import InputError
from trainer.retrieval import EmbeddingTable

COUNT = 1500


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = np.arange(COUNT)
    attributes = {
        "label": np.where(rows % 2 == 0, "shirt", "shoe"),
        "split": np.where(rows % 3 == 0, "test", "train"),
        "image_path": np.array([f"/pictures/{row}.jpg" for row in rows]),
        "colour": np.where(rows % 5 == 0, "blue", "red"),
        "year": rows % 7 + 2010,
        "title": np.array([f"article {row}" for row in rows]),
        "story": np.where(rows == 1400, "long " * 100, "short"),
        "note": np.where(rows == 3, "one\ntwo", "one"),
        "brand name": np.where(rows % 2 == 0, "a", "b"),
        "scores": np.where(rows % 2 == 0, "a", "b"),
        "predicted_label": np.where(rows % 2 == 0, "shirt", "shoe"),
        "confidence": np.linspace(0, 1, COUNT).astype(np.float32),
    }
    table = EmbeddingTable(np.array([f"id{row}" for row in rows]), np.ones((COUNT, 2), np.float32), attributes)
    path = tmp_path_factory.mktemp("run") / "fused.parquet"
    table.write_parquet(path)
    return path


def test_by_default_all_short_text_is_answered_and_few_values_are_filtered(path: Path) -> None:
    attributes, filterable = choose_attributes(path, None, None)
    assert attributes == ("label", "split", "colour", "year", "title", "note")
    assert filterable == ("label", "split", "colour", "year")


def test_what_is_configured_is_taken(path: Path) -> None:
    assert choose_attributes(path, ("title", "story"), ("title",)) == (("title", "story"), ("title",))
    assert choose_attributes(path, (), None) == ((), ())
    attributes, filterable = choose_attributes(path, None, ("story",))
    assert "story" in attributes
    assert filterable == ("story",)


@pytest.mark.parametrize(
    ("attributes", "filterable", "said"),
    [
        (("coluor",), None, "attributes: expected some of label, split, .*, received 'coluor'"),
        (None, ("coluor",), "filterable: expected some of label, split, .*, received 'coluor'"),
        (None, ("image_path",), "filterable: expected some of the attributes label, .*, received 'image_path'"),
        (("brand name",), None, "attributes: expected names of letters, digits and _, .* received 'brand name'"),
        (("scores",), None, "attributes: expected names of letters, .* received 'scores'"),
        (("note",), ("note",), "filterable: expected values without line feeds, note has one"),
    ],
)
def test_what_cannot_be_is_refused(
    attributes: tuple[str, ...] | None, filterable: tuple[str, ...] | None, said: str, path: Path
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        choose_attributes(path, attributes, filterable)
    assert "\n" not in str(caught.value)


def test_a_table_that_is_damaged_is_refused_in_one_line(path: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"^expected an embedding table \(Parquet\) at [^\n]*$"):
        choose_attributes(damaged, None, None)
