"""Hard negatives are those of brute force, and batches of them are the same after a stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import pytest
import tensorflow as tf

from trainer.data.sampler import MinedSampler, ShuffledEpochs
from trainer.errors import InputError
from trainer.training import hard_negatives
from trainer.training.hard_negatives import HardNegativeBatches, mine_hard_negatives

LABELS = np.random.default_rng(0).permutation(3 * np.repeat(np.arange(8), (2, 3, 5, 8, 8, 10, 12, 12)))
COUNT = len(LABELS)


def vectors(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(COUNT, 6)).astype(np.float32)


def brute_force(given: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All rows of other classes, the most similar first, then minus infinity for those of the own class."""
    unit = given.astype(np.float64) / np.linalg.norm(given.astype(np.float64), axis=1, keepdims=True)
    scores = np.where(labels[:, None] == labels, -np.inf, unit @ unit.T)
    order = np.argsort(-scores, axis=1, kind="stable")
    return order, np.take_along_axis(scores, order, axis=1)


@pytest.mark.parametrize("skip_nearest", [0.0, 0.1])
@pytest.mark.parametrize("cells", [1, 7 * COUNT, 1 << 24])
def test_mining_is_exact(skip_nearest: float, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hard_negatives, "_CELLS", cells)
    given = vectors() * np.linspace(0.1, 9, COUNT, dtype=np.float32)[:, None]
    found = mine_hard_negatives(given, LABELS, per_row=5, skip_nearest=skip_nearest)
    rows, scores = brute_force(given, LABELS)
    skipped = int(skip_nearest * COUNT)
    assert (found.rows.dtype, found.similarities.dtype) == (np.int32, np.float32)
    np.testing.assert_array_equal(found.rows, rows[:, skipped : skipped + 5])
    np.testing.assert_allclose(found.similarities, scores[:, skipped : skipped + 5], atol=1e-6)


def test_by_hand_with_ties_and_a_zero() -> None:
    given = np.array([[1, 0], [1, 0], [0, 2], [2, 0], [0, 0], [1, 0]], np.float32)
    found = mine_hard_negatives(given, np.array([0, 0, 0, 1, 1, 2]), per_row=2)
    assert found.rows.tolist() == [[3, 5], [3, 5], [3, 4], [0, 1], [0, 1], [0, 1]]
    assert found.similarities.tolist() == [[1, 1], [1, 1], [0, 0], [1, 1], [0, 0], [1, 1]]


def test_all_others_may_be_asked_for_and_no_more() -> None:
    found = mine_hard_negatives(vectors(), LABELS, per_row=COUNT - 12)
    np.testing.assert_array_equal(found.rows, brute_force(vectors(), LABELS)[0][:, : COUNT - 12])
    with pytest.raises(InputError, match=r"at least 49 rows of other classes .* received 48; lower one of them"):
        mine_hard_negatives(vectors(), LABELS, per_row=43, skip_nearest=0.1)
    with pytest.raises(InputError, match="expected finite embeddings"):
        mine_hard_negatives(np.full((COUNT, 2), np.nan), LABELS, per_row=1)


def sampler(folder: Path, **options: Any) -> HardNegativeBatches:
    return HardNegativeBatches(LABELS, 4, 4, 3, folder, **{"per_row": 3, **options})


def stream(given: HardNegativeBatches, first: int, last: int) -> np.ndarray:
    rows = tf.data.Dataset.range(first, last).map(given.row, num_parallel_calls=2, deterministic=True)
    return np.fromiter(rows.as_numpy_iterator(), np.int64, last - first)


def test_every_second_group_is_one_that_the_first_is_confused_with(tmp_path: Path) -> None:
    given = sampler(tmp_path)
    assert given.refresh(0, vectors)
    mined = mine_hard_negatives(vectors(), LABELS, per_row=3).rows
    groups = stream(given, 0, 16 * 120).reshape(240, 2, 4)
    assert (LABELS[groups] == LABELS[groups][:, :, :1]).all()
    anchors = LABELS[groups[:, 0, 0]].reshape(-1, 8)
    np.testing.assert_array_equal(np.sort(anchors, axis=1), np.tile(np.unique(LABELS), (30, 1)))
    for first, second in groups:
        hard = [row for row in mined[first].ravel().tolist() if LABELS[row] == LABELS[second[0]]]
        assert second[0] in hard
        assert len(set(second.tolist())) == min(4, LABELS.tolist().count(LABELS[second[0]]))
        assert len(set(second.tolist()) & set(hard)) >= min(4, len(set(hard)))
    assert len({tuple(second) for _, second in groups.tolist()}) > 200


def test_other_rows_of_the_class_fill_a_group_up_and_all_of_them_come(tmp_path: Path) -> None:
    """Two classes: each is the other's hard negative, by one row alone."""
    labels = np.repeat([0, 1], (6, 10))
    given = HardNegativeBatches(labels, 2, 4, 0, tmp_path, draw="uniform", per_row=1)
    near = np.zeros((16, 2), np.float32)
    near[:, 0], near[[0, 6], 1] = 1, 1
    near[:6, 0] = -1
    with pytest.raises(
        InputError, match=r"sampler\.classes: expected training items of at least 2 classes, received 1"
    ):
        HardNegativeBatches(labels[:6], 2, 4, 0, tmp_path)
    given.refresh(0, lambda: near)
    groups = stream(given, 0, 8 * 60).reshape(60, 2, 4)
    assert {int(second[0]) for _, second in groups} == {0, 6}
    assert {int(row) for _, second in groups for row in second} == set(range(16))


def test_rows_to_fill_up_with_are_drawn_evenly_and_without_repetition() -> None:
    bits = np.random.Philox(0)
    draws = np.array([hard_negatives._distinct_draws(bits, np.arange(10, 16), 4) for _ in range(3000)])
    assert all(len(set(draw)) == 4 for draw in draws.tolist())
    counts = np.array([np.bincount(draws[:, place], minlength=16)[10:] for place in range(4)])
    assert np.abs(counts - 500).max() < 4 * np.sqrt(500)
    assert sorted(hard_negatives._distinct_draws(bits, np.arange(3), 4)) == [0, 1, 2]


def test_a_stopped_run_goes_on_with_the_same_rows(tmp_path: Path) -> None:
    whole = sampler(tmp_path)
    assert isinstance(whole, MinedSampler)
    assert not isinstance(ShuffledEpochs(3, 0), MinedSampler)
    epochs = []
    for epoch in range(3):
        assert whole.refresh(epoch, lambda seed=epoch: vectors(seed))
        epochs.append(stream(whole, 64 * epoch, 64 * epoch + 64))
        stopped = sampler(tmp_path)
        assert stopped.refresh(epoch)
        np.testing.assert_array_equal(stream(stopped, 64 * epoch + 21, 64 * epoch + 64), epochs[-1][21:])
        assert not stopped.refresh(epoch)
        assert [path.name for path in tmp_path.iterdir()] == [f"negatives-{epoch}.npy"]
    fixed = sampler(tmp_path / "fixed")
    fixed.refresh(0, vectors)
    np.testing.assert_array_equal(epochs[0], stream(fixed, 0, 64))
    assert not np.array_equal(epochs[1], stream(fixed, 64, 128))


def test_a_stream_keeps_the_rows_that_it_began_with(tmp_path: Path) -> None:
    given = sampler(tmp_path)
    given.refresh(0, vectors)
    expected = stream(given, 0, 128)
    begun = iter(tf.data.Dataset.range(128).map(given.row))
    seen = [int(next(begun)) for _ in range(8)]
    given.refresh(1, lambda: vectors(1))
    assert [*seen, *map(int, begun)] == expected.tolist()
    assert stream(given, 0, 128).tolist() != expected.tolist()


def test_it_is_mined_every_few_epochs(tmp_path: Path) -> None:
    asked = []

    def encode() -> np.ndarray:
        asked.append(1)
        return vectors(len(asked))

    given = sampler(tmp_path, refresh_epochs=2)
    assert [given.refresh(epoch, encode) for epoch in range(5)] == [True, False, True, False, True]
    assert len(asked) == 3
    late = sampler(tmp_path, refresh_epochs=2)
    assert late.refresh(5, encode)
    assert len(asked) == 3
    np.testing.assert_array_equal(stream(late, 0, 64), stream(given, 0, 64))
    assert given.refresh(0, encode)  # a stage begun anew in the same folder
    assert [path.name for path in tmp_path.iterdir()] == ["negatives-0.npy"]


@pytest.mark.parametrize(
    "content", [None, b"", b"no array", np.zeros((COUNT, 2), np.int32), np.full((COUNT, 3), COUNT, np.int32)]
)
def test_spoilt_negatives_are_told(content: Any, tmp_path: Path) -> None:
    if isinstance(content, bytes):
        (tmp_path / "negatives-0.npy").write_bytes(content)
    elif content is not None:
        np.save(tmp_path / "negatives-0.npy", content)
    with pytest.raises(InputError, match=r"negatives-0\.npy: expected the hard negatives .* remove .*last\.keras"):
        sampler(tmp_path).refresh(0)


def test_it_must_be_refreshed_first_and_hold_pairs(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="expected refresh"):
        sampler(tmp_path).group(0)
    with pytest.raises(ValueError, match="even number of classes, received 3"):
        HardNegativeBatches(LABELS, 3, 4, 0, tmp_path)
