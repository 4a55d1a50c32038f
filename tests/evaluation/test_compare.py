"""`python -m trainer compare`: pairs by id, says how sure it is, and holds the gate."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import trainer.__main__ as command_line
from trainer.errors import InputError
from trainer.evaluation.paired_runs import compare_runs, measure_run, significantly_worse, summarise_runs
from trainer.retrieval import EmbeddingTable, measure_queries

COLUMNS = ["metric", "A", "B", "B - A", "95 % interval", "p", "verdict"]
CONFIG = "model: {names: [resnet50]}\nevaluate: {ks: [1, 5, 10]}\n"


def catalogue(noise: float, seed: int = 0, items: int = 240, splits_seed: int = 0) -> EmbeddingTable:
    """Three classes as directions with noise; half of the items are test, and predictions are wrong where noise won."""
    chance = np.random.default_rng(splits_seed)
    labels = chance.integers(0, 3, items)
    split = np.where(chance.random(items) < 0.5, "test", "train")
    draw = np.random.default_rng(seed)
    vectors = np.eye(3)[labels] + noise * draw.normal(size=(items, 3))
    names = np.array(["a", "b", "c"])
    attributes = {"label": names[labels], "split": split, "predicted_label": names[vectors.argmax(axis=1)]}
    return EmbeddingTable(np.array([f"item {at}" for at in range(items)]), vectors, attributes)


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., str]:
    """Writes the folder of a run with one model and answers its path."""

    def make(name: str, table: EmbeddingTable, model: str = "resnet50", config: str = CONFIG) -> str:
        folder = tmp_path / name
        table.write_parquet(folder / "embeddings" / f"{model}.parquet")
        (folder / "config.yaml").write_text(config, encoding="utf-8")
        return str(folder)

    return make


def measured(table: EmbeddingTable, name: str = "run"):
    return measure_run(name, table, "test", "test", (1, 5, 10), {"label": 1.0})


def rows_of(shown: str) -> dict[str, list[str]]:
    """Lines of the printed table by metric."""
    lines = shown.split("\n\n")[1].splitlines()
    return {line.split()[0]: line.split(maxsplit=1)[1].split() for line in lines[2:]}


def test_a_table_of_what_differs(make_run, capsys):
    a, b = make_run("a", catalogue(0.6)), make_run("b", catalogue(0.3, seed=1))
    assert command_line.main(["compare", a, b]) == 0
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert lines[:2] == [f"A: {a}:resnet50", f"B: {b}:resnet50"]
    queries = int((catalogue(0).attributes["split"] == "test").sum())
    assert lines[2] == f"test queries among test items, {queries} pairs"
    assert [part.strip() for part in lines[4].split("  ") if part.strip()] == COLUMNS
    rows = rows_of(shown)
    assert list(rows) == [
        *("accuracy", "hit_rate@1", "hit_rate@5", "hit_rate@10", "precision@10", "ndcg@10"),
        *("r_precision", "map@r", "mrr"),
    ]
    test = [table.select(table.attributes["split"] == "test") for table in (catalogue(0.6), catalogue(0.3, seed=1))]
    means = [measure_queries(table, table, same_table=True).means()["map@r"] for table in test]
    assert rows["map@r"][:3] == [f"{means[0]:.4f}", f"{means[1]:.4f}", f"{means[1] - means[0]:+.4f}"]
    assert rows["map@r"][-2:] == ["0.0001", "better"]
    low, high = (float(end.strip("[],")) for end in rows["map@r"][3:5])
    assert 0 < low < means[1] - means[0] < high


def test_a_run_is_as_good_as_itself(make_run, capsys):
    a = make_run("a", catalogue(0.5))
    assert command_line.main(["compare", a, a, "--gate"]) == 0
    shown = capsys.readouterr().out
    for row in rows_of(shown.partition("gate:")[0]).values():
        assert row[2:] == ["+0.0000", "[+0.0000,", "+0.0000]", "1.0000", "no", "difference", "shown"]
    assert "gate: passed" in shown


@pytest.mark.parametrize(("noise_a", "noise_b", "code"), [(0.3, 0.6, 3), (0.6, 0.3, 0), (0.45, 0.45, 0)])
def test_the_gate_fails_only_where_b_is_worse_beyond_chance(noise_a, noise_b, code, make_run, capsys):
    a, b = make_run("a", catalogue(noise_a)), make_run("b", catalogue(noise_b, seed=1))
    assert command_line.main(["compare", a, b, "--gate"]) == code
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("gate: failed, B is worse in hit_rate@1, precision@10 (" if code else "gate: passed (")
    assert command_line.main(["compare", a, b]) == 0


def test_the_gate_as_another_program_sees_it(make_run, tmp_path):
    a, b = make_run("a", catalogue(0.3)), make_run("b", catalogue(0.6, seed=1))
    program = (
        "import sys; from trainer.__main__ import main\n"
        f"code = main(['compare', {a!r}, {b!r}, '--gate', '--quiet'])\n"
        "assert 'tensorflow' not in sys.modules\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (3, "")


def test_what_the_gate_goes_by_can_be_chosen(make_run, capsys):
    a = catalogue(0.3)
    labels = a.attributes["predicted_label"].copy()
    labels[:60] = "a"
    b = EmbeddingTable(a.ids, a.vectors, {**a.attributes, "predicted_label": labels})
    sides = ["compare", make_run("a", a), make_run("b", b), "--gate"]
    assert command_line.main(sides) == 0
    assert command_line.main([*sides, "--gate-metrics", "mrr,accuracy", "--metrics", "hit_rate@3"]) == 3
    shown = capsys.readouterr().out.rpartition("A: ")[2]
    assert list(rows_of(shown.partition("gate:")[0])) == ["hit_rate@3"]
    assert shown.splitlines()[-1].startswith(
        "gate: failed, B is worse in accuracy (mrr p = 1.0000, accuracy p = 0.0002"
    )


def test_several_gate_metrics_are_corrected_for():
    a, b = measured(catalogue(0.40)), measured(catalogue(0.43, seed=1))
    names = ["hit_rate@1", "precision@10", "map@r", "accuracy"]
    comparison = compare_runs([a], [b], names)
    p_values = {row.metric: row.test.p_value for row in comparison.metrics}
    corrected, _ = significantly_worse(comparison, names)
    smallest = min(p_values, key=p_values.__getitem__)
    assert corrected[smallest] == pytest.approx(min(1.0, 4 * p_values[smallest]))


def test_figures_go_to_a_file(make_run, tmp_path):
    a, b = make_run("a", catalogue(0.3)), make_run("b", catalogue(0.6, seed=1))
    path = tmp_path / "deep" / "figures.json"
    assert command_line.main(["compare", a, b, "--gate", "--json", str(path), "--gallery", "train"]) == 3
    record = json.loads(path.read_text(encoding="utf-8"))
    assert (record["split"], record["gallery"], record["only_a"]) == ("test", "train", 0)
    assert record["a"] == [f"{a}:resnet50"]
    first = record["metrics"][0]
    assert set(first) == {"metric", "a", "b", "test", "verdict"}
    assert first["test"]["difference"] == pytest.approx(first["b"] - first["a"])
    assert set(first["test"]) == {"difference", "interval", "p_value", "queries"}
    assert set(record["gate"]["p_values"]) == set(record["gate"]["worse"]) == {"hit_rate@1", "precision@10"}


def test_queries_are_paired_by_id_in_whatever_order():
    a, b = catalogue(0.4), catalogue(0.5, seed=1)
    order = np.random.default_rng(2).permutation(len(b))
    plain = compare_runs([measured(a, "a")], [measured(b, "b")], ["map@r"])
    mixed = compare_runs([measured(a, "a")], [measured(b.select(order), "b")], ["map@r"])
    assert mixed.metrics[0].test.difference == pytest.approx(plain.metrics[0].test.difference, abs=1e-12)
    assert mixed.metrics[0].test.interval == pytest.approx(plain.metrics[0].test.interval, abs=1e-9)
    assert mixed.other_galleries == 0


def test_queries_that_only_one_run_has_are_left_out_and_told(make_run, capsys):
    a, b = catalogue(0.4), catalogue(0.4, seed=1)
    test = np.flatnonzero(a.attributes["split"] == "test")
    fewer_a, fewer_b = (
        table.select(np.setdiff1d(np.arange(len(table)), lost)) for table, lost in ((a, test[:3]), (b, test[3:10]))
    )
    assert command_line.main(["compare", make_run("a", fewer_a), make_run("b", fewer_b)]) == 0
    shown = capsys.readouterr().out
    assert f"{len(test) - 10} pairs" in shown
    assert "left out: 7 queries that only A has, 3 that only B has" in shown
    assert "A and B searched different items" in shown
    comparison = compare_runs([measured(fewer_a, "a")], [measured(fewer_b, "b")], ["mrr"])
    [row] = comparison.metrics
    assert row.b - row.a == pytest.approx(row.test.difference)
    assert row.test.queries == len(test) - 10


def test_a_query_without_anything_to_find_in_one_run_is_no_pair():
    a = catalogue(0.4)
    labels = a.labels.copy()
    [first, second] = np.flatnonzero(a.attributes["split"] == "test")[:2]
    labels[[first, second]] = "rare"
    a = EmbeddingTable(a.ids, a.vectors, {**a.attributes, "label": labels})
    b = a.select(np.setdiff1d(np.arange(len(a)), [second]))
    [row] = compare_runs([measured(a, "a")], [measured(b, "b")], ["mrr"]).metrics
    queries = int((b.attributes["split"] == "test").sum())
    assert row.test.queries == queries - 1
    assert row.b - row.a == pytest.approx(row.test.difference)


def test_seeds_are_paired_in_order(make_run, capsys):
    a = [make_run(f"a{seed}", catalogue(0.4, seed, splits_seed=seed)) for seed in range(3)]
    b = [make_run(f"b{seed}", catalogue(0.3, seed + 9, splits_seed=seed), model="fused") for seed in range(3)]
    assert command_line.main(["compare", ",".join(a), ",".join(f"{run}:fused" for run in b)]) == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[1] == "B: " + ", ".join(f"{run}:fused" for run in b)
    runs = [
        [measured(catalogue(*made), str(made)) for made in side]
        for side in ([(0.4, seed, 240, seed) for seed in range(3)], [(0.3, seed + 9, 240, seed) for seed in range(3)])
    ]
    means = [np.mean([run.values["mrr"].mean() for run in side]) for side in runs]
    assert rows_of(shown)["mrr"][:2] == [f"{mean:.4f}" for mean in means]
    # In another order an item of one split meets itself in another.
    with pytest.raises(InputError, match="the same labels in both runs"):
        compare_runs(runs[0], runs[1][::-1], ["mrr"])


def test_one_side_alone_is_summarised(make_run, capsys, tmp_path):
    tables = [catalogue(0.4, seed, splits_seed=seed) for seed in range(3)]
    names = [make_run(f"a{seed}", table) for seed, table in enumerate(tables)]
    path = tmp_path / "summary.json"
    assert command_line.main(["compare", ",".join(names), "--json", str(path), "--metrics", "mrr,accuracy"]) == 0
    shown = capsys.readouterr().out
    runs = [measured(table, str(at)) for at, table in enumerate(tables)]
    assert f"test queries among test items, {sum(len(run.queries) for run in runs)} in all" in shown
    means = [run.values["mrr"].mean() for run in runs]
    row = rows_of(shown)["mrr"]
    assert (row[0], row[-1]) == (f"{np.mean(means):.4f}", f"{np.std(means, ddof=1):.4f}")
    [summary] = summarise_runs(runs, ["mrr"], resamples=10_000)
    assert summary.runs == pytest.approx(means)
    assert summary.interval[0] < np.mean(means) < summary.interval[1]
    record = json.loads(path.read_text(encoding="utf-8"))["metrics"]
    assert [row["metric"] for row in record] == ["mrr", "accuracy"]
    assert record[0]["deviation"] == pytest.approx(np.std(means, ddof=1))
    assert command_line.main(["compare", names[0]]) == 0
    assert rows_of(capsys.readouterr().out)["mrr"][-1] == "-"


def test_the_model_is_the_fused_one_the_named_one_or_the_last(make_run, capsys):
    config = "model: {names: [resnet50, fused, concatenated], hub_vit: {handle: x}}\n"
    for model in ("resnet50", "fused", "concatenated", "raw_pixels"):
        run = make_run("a", catalogue(0.4), model, config)
    last = make_run("b", catalogue(0.4), "resnet50", "model: {names: [resnet50]}\n")
    for arguments, model in (
        ([run], "fused"),
        ([run, "--model", "resnet50"], "resnet50"),
        ([f"{run}:concatenated", "--model", "fused"], "concatenated"),
        ([last], "resnet50"),
    ):
        assert command_line.main(["compare", *arguments, "--resamples", "10"]) == 0
        assert capsys.readouterr().out.splitlines()[0].endswith(f":{model}")


def test_a_baseline_has_no_accuracy(make_run, capsys):
    table = catalogue(0.4)
    plain = EmbeddingTable(table.ids, table.vectors, {name: table.attributes[name] for name in ("label", "split")})
    a = make_run("a", table)
    make_run("a", plain, "raw_pixels")
    assert command_line.main(["compare", f"{a}:raw_pixels", a]) == 0
    assert "accuracy" not in capsys.readouterr().out
    assert command_line.main(["compare", f"{a}:raw_pixels", a, "--metrics", "accuracy"]) == 2
    assert "a:raw_pixels: expected metrics among hit_rate@1" in capsys.readouterr().err


def test_runs_that_weigh_relevance_otherwise_are_measured_alike(make_run, capsys):
    table = catalogue(0.4)
    a, b = make_run("a", table), make_run("b", table, config=CONFIG + "relevance: {label: 1.0, predicted_label: 1.0}\n")
    assert command_line.main(["compare", a, b]) == 0
    shown = capsys.readouterr().out
    assert f"relevance differs among the runs; all are measured by that of {a}:resnet50" in shown
    assert rows_of(shown)["ndcg@10"][2] == "+0.0000"


def test_where_nothing_can_be_found_nothing_is_compared(make_run, capsys):
    table = catalogue(0.4, items=20)
    attributes = {"label": table.ids, "split": table.attributes["split"]}
    alone = make_run("a", EmbeddingTable(table.ids, table.vectors, attributes), "raw_pixels")
    sides = ["compare", f"{alone}:raw_pixels", f"{alone}:raw_pixels"]
    assert command_line.main(sides) == 0
    assert rows_of(capsys.readouterr().out) == {}
    assert command_line.main([*sides, "--gate"]) == 2
    assert "expected queries that count in hit_rate@1, precision@10, received none" in capsys.readouterr().err


def error(capsys) -> str:
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{a}", "{a}x"], "expected the folder of a run"),
        (["{a}", "{a}:vit"], "expected embeddings of 'vit'"),
        (["{a}", "{a},{b}"], "received 1 and 2"),
        (["{a},{a}", "{b},{b}"], "each run of a side once"),
        (["{a}", "{a},"], "expected names with a comma between them"),
        (["{a}", "--gate"], "received one side alone"),
        (
            ["{a}", "{b}", "--split", "validation"],
            "expected items of the split validation, received a table of test, train",
        ),
        (["{a}", "{b}", "--metrics", "hits@3"], "expected metrics among accuracy, hit_rate@1"),
        (["{a}", "{b}", "--gate", "--gate-metrics", "precision@0"], "at least 1"),
        (["{a}", "{b}", "--resamples", "0"], "--resamples: expected at least 1"),
        (["{a}", "{narrow}"], "none in common"),
        (["{a}", "{moved}"], "the same splits in both runs, received 1 that differ, such as item 0"),
        (["{a}", "{renamed}"], "the same labels in both runs"),
        (["{broken}", "{a}"], "expected an embedding table"),
        (["{odd}", "{a}"], "config.yaml"),
    ],
)
def test_a_mistake_is_one_line(arguments, said, make_run, tmp_path, capsys):
    table = catalogue(0.4)
    split, labels = table.attributes["split"].copy(), table.labels.copy()
    split[0], labels[0] = {"test": "train", "train": "test"}[split[0]], "other"
    other_ids = np.char.add(table.ids, "'")
    places = {
        "a": make_run("a", table),
        "b": make_run("b", catalogue(0.4, seed=1)),
        "narrow": make_run("narrow", EmbeddingTable(other_ids, table.vectors, table.attributes)),
        "moved": make_run("moved", EmbeddingTable(table.ids, table.vectors, {**table.attributes, "split": split})),
        "renamed": make_run("renamed", EmbeddingTable(table.ids, table.vectors, {**table.attributes, "label": labels})),
        "broken": make_run("broken", table),
        "odd": make_run("odd", table, config="modle: {}\n"),
    }
    (tmp_path / "broken" / "embeddings" / "resnet50.parquet").write_text("not a table", encoding="utf-8")
    assert command_line.main(["compare", *(argument.format(**places) for argument in arguments)]) == 2
    assert said in error(capsys)
