"""What a person should look at: the worst queries, confusions, labels that are probably wrong."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.evaluation.findings import confused_pairs, findings, worst_queries
from trainer.evaluation.label_errors import label_errors
from trainer.retrieval import EmbeddingTable


def on_a_circle(degrees: list[float], labels: list[str], **attributes: object) -> EmbeddingTable:
    angles = np.radians(degrees)
    columns = {name: np.asarray(values) for name, values in attributes.items()}
    ids = np.array([f"item {at}" for at in range(len(degrees))])
    return EmbeddingTable(
        ids, np.stack([np.cos(angles), np.sin(angles)], axis=1), {"label": np.array(labels), **columns}
    )


def test_the_worst_queries_come_first_with_what_they_found(evaluated):
    # Two clusters; the b at 1 degree lies in the wrong one, the a at 50 degrees in the other. c is alone.
    table = on_a_circle(
        [0, 3, 5, 1, 40, 41, 43, 50, 90], list("aaabbbbac"), image_path=[f"/{at}.jpg" for at in range(9)]
    )
    rows = worst_queries(evaluated(table), k=3)
    # Both found nothing right; what the first found is more similar, so its error was made with more confidence.
    assert [row["id"] for row in rows[:2]] == ["item 3", "item 7"]
    assert rows[0]["precision"] == 0.0
    assert rows[0]["image_path"] == "/3.jpg"
    assert [near["id"] for near in rows[0]["neighbours"]] == ["item 0", "item 1", "item 2"]
    assert [near["label"] for near in rows[0]["neighbours"]] == ["a", "a", "a"]
    assert [near["score"] for near in rows[0]["neighbours"]] == pytest.approx(np.cos(np.radians([1, 2, 4])), abs=1e-6)
    assert "item 8" not in {row["id"] for row in rows}
    assert [row["precision"] for row in rows] == sorted(row["precision"] for row in rows)
    assert worst_queries(evaluated(table), k=3, most=1) == rows[:1]


def test_a_small_class_is_not_the_worst_only_because_it_is_small(evaluated):
    # Each b finds the other b first: two thirds of their three neighbours are wrong, for there is but one b to find.
    table = on_a_circle([0, 1, 2, 3, 60, 61], list("aaaabb"))
    assert worst_queries(evaluated(table), k=3) == []
    farther = on_a_circle([0, 1, 2, 3, 7, 90], list("aaaabb"))
    assert [row["id"] for row in worst_queries(evaluated(farther), k=3)] == ["item 4"]


def test_a_shallow_gallery_is_looked_at_whole(evaluated):
    table = on_a_circle([0, 1, 90], list("aba"))
    assert [row["precision"] for row in worst_queries(evaluated(table), k=10)] == [0.0, 0.0]


def test_confusions_by_hand():
    labels = np.array(list("aaaabbbcc"))
    other = np.array(list("aabbbaacb"))
    assert confused_pairs(labels, other, "found") == [
        {"label": "b", "found": "a", "count": 2, "share": pytest.approx(2 / 3)},
        {"label": "a", "found": "b", "count": 2, "share": 0.5},
        {"label": "c", "found": "b", "count": 1, "share": 0.5},
    ]
    assert len(confused_pairs(labels, other, "found", most=1)) == 1
    assert confused_pairs(labels, labels, "found") == []
    assert confused_pairs(labels[:0], labels[:0], "found") == []


def test_findings_hold_all_of_it(evaluated):
    degrees, labels = [0, 1, 30, 31, 90], list("ababc")
    found = findings(evaluated(on_a_circle(degrees, labels)))
    assert set(found) == {"worst_queries", "confused_pairs", "label_errors"}
    # c finds a b, but there is nothing else that it could find.
    assert [(pair["label"], pair["found"], pair["count"]) for pair in found["confused_pairs"]] == [
        ("a", "b", 2),
        ("b", "a", 2),
    ]
    assert found["label_errors"] == []
    predicted = on_a_circle(degrees, labels, predicted_label=list("abcbc"), confidence=np.ones(5))
    found = findings(evaluated(predicted))
    assert found["confused_predictions"] == [{"label": "a", "predicted": "c", "count": 1, "share": 0.5}]


class Catalogue:
    """Two clusters of 30 items each, a around 0 degrees and b around 40, with predictions that are right."""

    def __init__(self) -> None:
        draw = np.random.default_rng(0)
        self.labels = np.repeat(["a", "b"], 30)
        self.degrees = np.where(self.labels == "a", 0, 40) + draw.uniform(-5, 5, 60)
        self.predicted = self.labels.copy()
        self.confidence = np.where(self.labels == "a", 0.9, 0.6)
        self.split = np.tile(["train", "validation", "test"], 20)

    def errors(self, **settings: int) -> list[dict]:
        table = on_a_circle(
            self.degrees.tolist(),
            self.labels.tolist(),
            predicted_label=self.predicted,
            confidence=self.confidence,
            split=self.split,
            image_path=[f"/{at}.jpg" for at in range(60)],
        )
        return label_errors(table, **settings)


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue()


def test_right_labels_are_not_suspected(catalogue):
    assert catalogue.errors() == []


def test_a_wrong_label_is_found_with_its_right_one(catalogue):
    catalogue.labels[4], catalogue.confidence[4] = "b", 0.97
    [row] = catalogue.errors()
    assert row == {
        "id": "item 4",
        "label": "b",
        "suggested": "a",
        "score": pytest.approx(0.97),
        "confidence": pytest.approx(0.97),
        "votes": pytest.approx(1.0),
        "image_path": "/4.jpg",
        "split": "validation",
    }


def test_how_sure_is_sure_enough_differs_by_class(catalogue):
    """The classifier never is surer than 0.6 of b: 0.61 is much there, and little for a."""
    catalogue.labels[[4, 40]] = "b", "a"
    catalogue.confidence[[4, 40]] = 0.61, 0.61
    assert [row["id"] for row in catalogue.errors()] == ["item 40"]


def test_the_neighbours_must_agree(catalogue):
    catalogue.labels[4], catalogue.confidence[4], catalogue.degrees[4] = "b", 0.97, 40
    assert catalogue.errors() == []


def test_the_most_certain_come_first(catalogue):
    catalogue.labels[[4, 7, 40]] = "b", "b", "a"
    catalogue.confidence[[4, 7, 40]] = 0.92, 0.98, 0.95
    rows = catalogue.errors()
    assert {row["id"] for row in rows} == {"item 4", "item 7", "item 40"}
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    assert catalogue.errors(most=2) == rows[:2]
    for row in rows:
        assert row["score"] == pytest.approx(row["confidence"] * row["votes"])


def test_votes_are_weighed_by_similarity(catalogue):
    # Of all others 28 are a at 0 degrees and 31 b, one of them at 0 degrees and 30 at 40.
    catalogue.degrees = np.where(catalogue.labels == "a", 0.0, 40.0)
    catalogue.labels[[4, 7]], catalogue.confidence[4] = "b", 0.97
    [row] = [row for row in catalogue.errors(neighbours=59) if row["id"] == "item 4"]
    assert row["votes"] == pytest.approx(28 / (28 + 1 + 30 * np.cos(np.radians(40))))


def test_certainty_about_what_was_learned_does_not_raise_the_bar(catalogue):
    catalogue.confidence[(catalogue.split == "train") & (catalogue.labels == "a")] = 1.0
    catalogue.labels[4], catalogue.confidence[4] = "b", 0.91
    assert [row["id"] for row in catalogue.errors()] == ["item 4"]
    # A class that is in no other split is judged by what there is.
    catalogue.split[:] = "train"
    assert catalogue.errors() == []
    catalogue.confidence[4] = 1.0
    assert [row["split"] for row in catalogue.errors()] == ["train"]


def test_a_label_that_is_never_predicted_rightly_is_not_suggested(catalogue):
    catalogue.predicted[4], catalogue.confidence[4] = "z", 1.0
    assert catalogue.errors() == []


def test_changed_labels_stand_out():
    """In digits with some labels changed at random, what is suspected was changed; and most of what was is found."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    digits = load_digits()
    draw = np.random.default_rng(0)
    order = draw.permutation(len(digits.target))[:1000]
    vectors, truth = digits.data[order], digits.target[order]
    given = truth.copy()
    changed = draw.choice(1000, 40, replace=False)
    given[changed] = (given[changed] + draw.integers(1, 10, 40)) % 10
    split = np.where(np.arange(1000) < 500, "train", "test")
    model = LogisticRegression(max_iter=300).fit(vectors[:500] / 16, given[:500])
    probabilities = model.predict_proba(vectors / 16)
    attributes = {
        "label": given.astype(str),
        "predicted_label": model.classes_[probabilities.argmax(axis=1)].astype(str),
        "confidence": probabilities.max(axis=1),
        "split": split,
    }
    rows = label_errors(EmbeddingTable(np.arange(1000).astype(str), vectors, attributes))
    found = {int(row["id"]) for row in rows}
    unseen = {int(at) for at in changed if split[at] == "test"}
    assert len(found & set(changed)) >= 0.9 * len(found)
    assert len(found & unseen) >= 0.6 * len(unseen)
    right = [row["suggested"] == str(truth[int(row["id"])]) for row in rows if int(row["id"]) in set(changed)]
    assert np.mean(right) > 0.9
