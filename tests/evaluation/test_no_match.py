"""The threshold of "no good match": what precision and recall are, how it is chosen, and how it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.config import Config
from trainer.config.no_match import NoMatchConfig
from trainer.errors import ConfigError, InputError
from trainer.evaluation.analyses import Evaluated, analysis_path
from trainer.evaluation.no_match import choose_threshold, no_match, read_no_match
from trainer.evaluation.trials import Trials, ask_twice
from trainer.files import write_json
from trainer.retrieval import EmbeddingTable, measure_queries

NEVER = -np.inf
# Right; another class is nearer, twice; nothing of its class to find.
HAND = Trials(np.array([0.9, 0.8, 0.6, NEVER]), np.array([0.5, 0.85, 0.7, 0.4]), absent=0.5)


def table(ids: list[str], vectors: Any, labels: list[str], **attributes: Any) -> EmbeddingTable:
    return EmbeddingTable(np.array(ids), np.asarray(vectors, np.float32), {"label": np.array(labels), **attributes})


def clusters(seed: int, each: int, classes: int = 4, spread: float = 0.5) -> tuple[np.ndarray, list[str]]:
    draw = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((classes, 8))
    vectors = (centres[:, None] + spread * draw.standard_normal((classes, each, 8))).reshape(-1, 8)
    return vectors, [f"class {c}" for c in range(classes) for _ in range(each)]


def catalogue(each: int = 20, spread: float = 0.5) -> EmbeddingTable:
    parts = [clusters(seed, each, spread=spread) for seed in range(3)]
    labels = [label for _, part in parts for label in part]
    split = np.repeat(["train", "validation", "test"], len(parts[0][1]))
    return table([str(i) for i in range(len(labels))], np.concatenate([v for v, _ in parts]), labels, split=split)


def evaluated(whole: EmbeddingTable, folder: Path, settings: dict[str, Any] | None) -> Evaluated:
    config = Config.model_validate({"model": {"names": ["resnet50"]}, "evaluate": {"no_match": settings}})
    queries = whole.select(whole.attributes["split"] == "test")
    return Evaluated(
        config, folder, "resnet50", whole, "test", queries, measure_queries(queries, queries, same_table=True)
    )


def test_precision_and_recall_by_hand() -> None:
    at = HAND.at(np.array([0.75]))
    # Present: 1 of 3 right and shown, 2 of 3 shown. Absent: 1 of 4 shown.
    assert at["recall"] == pytest.approx(1 / 3)
    assert at["answered"] == pytest.approx(2 / 3)
    assert at["answered_absent"] == pytest.approx(1 / 4)
    assert at["precision"] == pytest.approx((1 / 3) / (2 / 3 + 1 / 4))
    assert at["f1"] == pytest.approx(2 * (4 / 11) * (1 / 3) / (4 / 11 + 1 / 3))


@pytest.mark.parametrize(("absent", "precision"), [(0.0, 1 / 2), (0.2, (0.8 / 3) / (0.8 * 2 / 3 + 0.2 / 4))])
def test_the_more_questions_about_absent_classes_the_lower_the_precision(absent: float, precision: float) -> None:
    assert Trials(HAND.own, HAND.other, absent).at(np.array([0.75]))["precision"] == pytest.approx(precision)


def test_a_threshold_above_all_answers_nothing() -> None:
    at = HAND.at(np.array([0.95]))
    assert {name: value.tolist() for name, value in at.items()} == {name: [0.0] for name in at}


def test_thresholds_lie_half_way_and_the_first_answers_everything() -> None:
    np.testing.assert_allclose(HAND.thresholds(), [0.4, 0.45, 0.6, 0.775, 0.875])
    at = HAND.at(HAND.thresholds()[:1])
    assert (at["answered"], at["answered_absent"]) == (1.0, 1.0)


def test_asked_twice_is_what_a_search_of_everything_finds() -> None:
    vectors, labels = clusters(0, 6)
    gallery = table([str(i) for i in range(len(labels))], vectors, labels)
    strange = table(["x", "5"], vectors[[3, 5]], ["class 9", labels[5]])
    queries = table([*gallery.ids[10:20], *strange.ids], np.vstack([vectors[10:20], strange.vectors]),
                    [*labels[10:20], *strange.labels])  # fmt: skip
    trials = ask_twice(queries, gallery)
    unit = gallery.vectors / np.linalg.norm(gallery.vectors, axis=1, keepdims=True)
    for row, (identity, label) in enumerate(zip(queries.ids, queries.labels, strict=True)):
        scores = queries.vectors[row] / np.linalg.norm(queries.vectors[row]) @ unit.T
        scores[gallery.ids == identity] = NEVER
        own = scores[gallery.labels == label]
        assert trials.own[row] == pytest.approx(own.max() if len(own) else NEVER, abs=1e-6)
        assert trials.other[row] == pytest.approx(scores[gallery.labels != label].max(), abs=1e-6)
    assert trials.own[10] == NEVER


def test_answering_everything_recalls_the_hit_rate_at_1() -> None:
    vectors, labels = clusters(1, 12, spread=1.2)
    queries = table([str(i) for i in range(len(labels))], vectors, labels)
    hits = measure_queries(queries, queries, same_table=True).means()["hit_rate@1"]
    trials = ask_twice(queries, queries)
    assert 0.3 < hits < 1.0
    assert trials.at(trials.thresholds())["recall"].max() == trials.at(trials.thresholds()[:1])["recall"][0] == hits


def test_the_best_f1_is_chosen() -> None:
    assert choose_threshold(HAND, NoMatchConfig(target="f1")) == (pytest.approx(0.875), True)


def many(right: int, wrong: int) -> Trials:
    """Absent queries score 0.1 to 0.2; present ones 0.5 to 0.9: the best `right` are right, those below are not."""
    best = np.linspace(0.9, 0.5, right + wrong)
    is_right = np.arange(right + wrong) < right
    other = np.linspace(0.1, 0.2, right + wrong)
    return Trials(np.where(is_right, best, 0.05), np.where(is_right, other, best), absent=0.5)


def test_the_lowest_threshold_of_the_precision_asked_for_is_chosen() -> None:
    trials = many(right=30, wrong=20)
    # A wrong present query is shown when asked with its class and without: after w of these 30 / (30 + 2 w) >= 0.75.
    threshold, reached = choose_threshold(trials, NoMatchConfig(target="precision", value=0.75))
    assert reached
    at = trials.at(np.array([threshold]))
    assert at["precision"][0] == pytest.approx(30 / 40)
    assert at["recall"][0] == pytest.approx(30 / 50)


def test_a_precision_of_a_few_answers_does_not_count() -> None:
    threshold, reached = choose_threshold(many(right=9, wrong=41), NoMatchConfig(target="precision", value=1.0))
    assert not reached
    at = many(right=9, wrong=41).at(np.array([threshold]))
    assert at["precision"][0] == pytest.approx(9 / 11)  # one wrong one, shown twice: eleven answers
    assert choose_threshold(many(right=10, wrong=40), NoMatchConfig(target="precision", value=1.0))[1]


def test_the_threshold_of_validation_is_measured_on_test_and_read_back(tmp_path: Path) -> None:
    settings = {"target": "precision", "value": 0.8}
    found = no_match(evaluated(catalogue(), tmp_path, settings))
    assert found is not None
    assert found["reached"]
    assert found["calibrated_on"] == "validation"
    assert found["on"]["validation"]["precision"] >= 0.8
    whole = catalogue()
    split = whole.attributes["split"]
    for name, row in found["on"].items():
        gallery = whole.select((split == "train") | (split == name))
        at = ask_twice(whole.select(split == name), gallery).at(np.array([found["threshold"]]))
        assert {key: row[key] for key in at} == {key: value[0] for key, value in at.items()}
        assert (row["queries"], row["queries_without_match"]) == (80, 0)
        for metric, (low, high) in row["intervals"].items():
            assert low <= row[metric] <= high
    thresholds = [point["threshold"] for point in found["curve"]]
    assert thresholds == sorted(thresholds)
    assert found["threshold"] in thresholds
    assert len(thresholds) <= 101
    write_json(analysis_path(tmp_path, "resnet50", "no_match"), found)
    read = read_no_match(tmp_path, "resnet50")
    assert read is not None
    assert (read.threshold, read.target, read.value, read.reached) == (found["threshold"], "precision", 0.8, True)
    assert read.on["test"]["recall"] == found["on"]["test"]["recall"]


def test_test_items_have_no_say_in_the_threshold(tmp_path: Path) -> None:
    whole = catalogue()
    test = whole.attributes["split"] == "test"
    shuffled = whole.vectors.copy()
    shuffled[test] = np.random.default_rng(5).standard_normal(shuffled[test].shape)
    other = EmbeddingTable(whole.ids, shuffled, whole.attributes)
    first, second = (no_match(evaluated(t, tmp_path, {})) for t in (whole, other))
    assert first is not None
    assert second is not None
    assert first["threshold"] == second["threshold"]
    assert first["on"]["test"]["recall"] > second["on"]["test"]["recall"]


def test_a_precision_out_of_reach_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = no_match(evaluated(catalogue(spread=4.0), tmp_path, {"target": "precision", "value": 1.0}))
    assert found is not None
    assert not found["reached"]
    assert "no threshold has precision 1 on validation; the highest is" in caplog.text


def test_nothing_is_calibrated_where_it_cannot_be(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert no_match(evaluated(catalogue(), tmp_path, None)) is None
    assert not caplog.records
    whole = catalogue()
    without = whole.select(whole.attributes["split"] != "validation")
    assert no_match(evaluated(without, tmp_path, {})) is None
    assert "no validation items" in caplog.text
    assert read_no_match(tmp_path, "resnet50") is None


def test_two_labels_are_enough(tmp_path: Path) -> None:
    whole = catalogue()
    found = no_match(evaluated(whole.select(whole.labels < "class 2"), tmp_path, {}))
    assert found is not None
    json.dumps(found, allow_nan=False)


def test_a_damaged_threshold_is_one_line(tmp_path: Path) -> None:
    path = analysis_path(tmp_path, "fused", "no_match")
    path.parent.mkdir(parents=True)
    for text in ("{", "[]", '{"threshold": 1}'):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match="run evaluate again"):
            read_no_match(tmp_path, "fused")


@pytest.mark.parametrize("settings", [{"value": 0.0}, {"value": 1.1}, {"absent": 1.0}, {"target": "recall"}])
def test_an_impossible_target_is_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    from trainer.config import load_section

    changes = [f"evaluate.no_match.{key}={value}" for key, value in settings.items()]
    with pytest.raises(ConfigError, match=r"evaluate\.no_match"):
        load_section(Config, None, ["model.names=[resnet50]", *changes])
