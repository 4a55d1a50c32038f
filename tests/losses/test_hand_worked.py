"""Every loss on batches small enough to work out by hand."""

from __future__ import annotations

import math
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import pytest

from trainer.losses import (
    ArcFace,
    GradedContrastive,
    MultiSimilarity,
    NormalizedSoftmax,
    ProxyAnchor,
    SupervisedContrastive,
    Triplet,
)

# Four directions in a plane, of any length: anchors at 0, 60, 90 and 180 degrees.
DEGREES = np.array([0.0, 60.0, 90.0, 180.0])
ROWS = np.array([[1.0], [3.0], [0.5], [2.0]]) * np.stack([np.cos(np.radians(DEGREES)), np.sin(np.radians(DEGREES))], 1)
COSINES = np.cos(np.radians(DEGREES[:, None] - DEGREES[None]))
LABELS = [0, 0, 1, 1]
LOG = math.log
EXP = math.exp


def with_proxies(loss: Any, degrees: list[float]) -> Any:
    """The loss with proxies at these angles, of different lengths."""
    loss.build((None,), (None, 2))
    lengths = np.linspace(0.5, 2.0, len(degrees))[:, None]
    loss.proxies.assign(lengths * np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], 1))
    return loss


def test_normalized_softmax(measure: Any) -> None:
    loss = with_proxies(NormalizedSoftmax(2, temperature=0.5), [0.0, 90.0])
    root = math.sqrt(0.75)
    expected = [
        LOG(1 + EXP((0 - 1) / 0.5)),
        LOG(1 + EXP((root - 0.5) / 0.5)),
        LOG(1 + EXP((0 - 1) / 0.5)),
        LOG(1 + EXP((-1 - 0) / 0.5)),
    ]
    assert measure(loss, LABELS, ROWS).losses == pytest.approx(expected, abs=1e-5)


def test_the_nearest_of_a_class_s_proxies_counts(measure: Any) -> None:
    loss = with_proxies(NormalizedSoftmax(2, temperature=0.5, sub_centers=2), [0.0, 60.0, 90.0, 180.0])
    expected = [LOG(1 + EXP(-2.0)), LOG(1 + EXP((math.sqrt(0.75) - 1) / 0.5))]
    assert measure(loss, [0, 0], ROWS[:2]).losses == pytest.approx(expected, abs=1e-5)


def test_arc_face_enlarges_the_angle_to_the_own_class(measure: Any) -> None:
    loss = with_proxies(ArcFace(2, margin=math.pi / 6, scale=2.0), [0.0, 90.0])
    near = LOG(1 + EXP(2 * (math.cos(math.radians(30)) - math.cos(math.radians(90)))))  # 60 + 30 against 30 degrees
    # 180 + 30 degrees would be nearer again: the cosine less margin * sin(margin) stands in.
    beyond = LOG(1 + EXP(2 * (0 - (-1 - math.pi / 6 * 0.5))))
    assert measure(loss, [0, 0], ROWS[[1, 3]]).losses == pytest.approx([near, beyond], abs=1e-3)


def test_proxy_anchor(measure: Any) -> None:
    loss = with_proxies(ProxyAnchor(3, margin=0.1, alpha=2.0), [0.0, 90.0, 180.0])
    root = math.sqrt(0.75)
    # Examples at 0 and 60 degrees are of class 0, the one at 90 of class 1; class 2 has none.
    draw = [LOG(1 + EXP(-2 * 0.9) + EXP(-2 * 0.4)), LOG(1 + EXP(-2 * 0.9))]
    push = [
        LOG(1 + EXP(2 * 0.1)),
        LOG(1 + EXP(2 * 0.1) + EXP(2 * (root + 0.1))),
        LOG(1 + EXP(2 * -0.9) + EXP(2 * -0.4) + EXP(2 * 0.1)),
    ]
    expected = sum(draw) / 2 + sum(push) / 3
    assert measure(loss, [0, 0, 1], ROWS[:3]).losses == pytest.approx([expected] * 3, abs=1e-5)


def log_softmax(row: int, column: int, temperature: float = 0.5) -> float:
    others = [COSINES[row, other] / temperature for other in range(4) if other != row]
    return COSINES[row, column] / temperature - LOG(sum(EXP(value) for value in others))


def test_supervised_contrastive(measure: Any) -> None:
    expected = [-log_softmax(0, 1), -log_softmax(1, 0), -log_softmax(2, 3), -log_softmax(3, 2)]
    assert measure(SupervisedContrastive(0.5), LABELS, ROWS).losses == pytest.approx(expected, abs=1e-5)


def test_the_mean_is_over_those_with_a_positive(measure: Any) -> None:
    expected = [-log_softmax(0, 1) * 2, -log_softmax(1, 0) * 2, 0.0, 0.0]
    found = measure(SupervisedContrastive(0.5), [0, 0, 1, 2], ROWS)
    assert found.losses == pytest.approx(expected, abs=1e-5)
    assert found.value == pytest.approx((expected[0] + expected[1]) / 4, abs=1e-5)


def test_graded_contrastive_shares_out_its_target_by_grade(measure: Any) -> None:
    # Class, then colour; the first has the grades 3/4, 1/4 and 0, the last agrees with nobody: its colour is missing.
    labels = [[0, 5], [0, 6], [1, 5], [2, -1]]
    asked = [
        -(0.75 * log_softmax(0, 1) + 0.25 * log_softmax(0, 2)),
        -log_softmax(1, 0),
        -log_softmax(2, 0),
        0.0,
    ]
    loss = GradedContrastive((3.0, 1.0), 1.0, 0.5)
    assert measure(loss, labels, ROWS).losses == pytest.approx(np.array(asked) * 4 / 3, abs=1e-5)
    # 3/4 squared is nine times 1/4 squared.
    first = -(0.9 * log_softmax(0, 1) + 0.1 * log_softmax(0, 2)) * 4 / 3
    assert measure(GradedContrastive((3.0, 1.0), 2.0, 0.5), labels, ROWS).losses[0] == pytest.approx(first, abs=1e-5)


def test_missing_values_agree_with_nothing(measure: Any) -> None:
    loss = GradedContrastive((1.0, 1.0))
    assert measure(loss, [[0, -1], [1, -1], [-1, 3], [-1, 4]], ROWS).losses == pytest.approx([0.0] * 4, abs=0.0)
    assert measure(SupervisedContrastive(), [-1, -1, 0, 1], ROWS).losses == pytest.approx([0.0] * 4, abs=0.0)


def test_with_one_attribute_graded_is_supervised_contrastive(measure: Any) -> None:
    one, other = measure(GradedContrastive((0.7,)), LABELS, ROWS), measure(SupervisedContrastive(), LABELS, ROWS)
    np.testing.assert_array_equal(one.losses, other.losses)
    np.testing.assert_array_equal(one.embeddings, other.embeddings)


def test_multi_similarity(measure: Any) -> None:
    root = math.sqrt(0.75)

    # Anchor 0: positive 0.5, negatives 0 and -1; 0 + 0.6 > 0.5 is mined, -1 is not; 0.5 - 0.6 < 0 is mined.
    # Anchor 1: positive 0.5, negatives root and -0.5. Anchor 2: positive 0, negatives 0 and root. Anchor 3: positive 0,
    # negatives -1 and -0.5.
    def term(positives: list[float], negatives: list[float]) -> float:
        draw = LOG(1 + sum(EXP(-2 * (s - 0.5)) for s in positives)) / 2
        return draw + LOG(1 + sum(EXP(4 * (s - 0.5)) for s in negatives)) / 4

    expected = [term([0.5], [0.0]), term([0.5], [root]), term([0.0], [0.0, root]), term([0.0], [-0.5])]
    loss = MultiSimilarity(alpha=2, beta=4, base=0.5, epsilon=0.6)
    assert measure(loss, LABELS, ROWS).losses == pytest.approx(expected, abs=1e-5)


def test_easy_pairs_are_not_mined(measure: Any) -> None:
    rows = np.array([[1.0, 0.0], [1.0, 0.1], [-1.0, 0.0], [-1.0, 0.1]])
    assert measure(MultiSimilarity(), LABELS, rows).losses == pytest.approx([0.0] * 4, abs=0.0)


ANGLES = np.radians([0.0, 60.0, 85.0, 180.0])


def chord(one: int, other: int) -> float:
    return 2 * math.sin(abs(ANGLES[one] - ANGLES[other]) / 2)


SOFT = {"margin": "soft"}


@pytest.mark.parametrize(
    ("settings", "chosen"),
    [
        # Anchors 0 and 1 have their positive at 60, anchors 2 and 3 at 95 degrees; negatives at 85 and 180, 25 and 120,
        # 85 and 25, 180 and 120 degrees: for anchor 2 none is semi-hard.
        ({"mining": "semi_hard", **SOFT}, [(0, 1, 2), (1, 0, 3), (3, 2, 1)]),
        ({"mining": "batch_hard", **SOFT}, [(0, 1, 2), (1, 0, 2), (2, 3, 1), (3, 2, 1)]),
        ({"mining": "all", **SOFT}, [(a, 1 - a, n) for a in (0, 1) for n in (2, 3)]
         + [(a, 5 - a, n) for a in (2, 3) for n in (0, 1)]),
        ({"mining": "batch_hard", "margin": 0.3}, [(1, 0, 2), (2, 3, 1), (3, 2, 1)]),
        ({"mining": "semi_hard", "margin": 0.5}, [(0, 1, 2), (3, 2, 1)]),
        ({"mining": "all", "margin": 0.01}, [(1, 0, 2), (2, 3, 1), (2, 3, 0)]),
    ],
)  # fmt: skip
def test_triplets(settings: dict[str, Any], chosen: list[tuple[int, int, int]], measure: Any) -> None:
    expected, margin = np.zeros(4), settings["margin"]
    for anchor, positive, negative in chosen:
        gap = chord(anchor, positive) - chord(anchor, negative)
        term = LOG(1 + EXP(gap)) if margin == "soft" else gap + margin
        assert term > 0
        expected[anchor] += term
    found = measure(Triplet(**settings), LABELS, np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1))
    assert found.losses == pytest.approx(expected * 4 / len(chosen), abs=1e-4)
    assert found.value == pytest.approx(expected.sum() / len(chosen), abs=1e-4)


def test_a_negative_as_far_as_the_positive_is_not_semi_hard(measure: Any) -> None:
    # Seen from the first axis the positive and a negative are one root of two away, the other negative two.
    rows = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]])
    found = measure(Triplet("semi_hard", "soft"), [0, 0, 1, 2], rows)
    assert found.losses == pytest.approx([4 * LOG(1 + EXP(math.sqrt(2) - 2)), 0.0, 0.0, 0.0], abs=1e-5)
