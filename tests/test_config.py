"""The configuration: what it accepts, and one helpful line for everything that it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from trainer.config import Config, Section, as_yaml, load_config, load_section
from trainer.errors import ConfigError, InputError

SMALLEST = "model: {hub_vit: {handle: somewhere}}\n"


def load(tmp_path: Path, text: str = "", *changes: str) -> Config:
    path = tmp_path / "config.yaml"
    path.write_text(SMALLEST + text, encoding="utf-8")
    return load_config(path, changes)


def refusal(tmp_path: Path, text: str = "", *changes: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, *changes)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_defaults_are_whole(tmp_path: Path) -> None:
    config = load(tmp_path)
    assert config.seed == 0
    assert config.model.names == ("resnet50", "hub_vit", "fused")
    assert config.model.backbones == ("resnet50", "hub_vit")
    assert config.data.source == "demo"


@pytest.mark.parametrize(
    ("names", "backbones"),
    [
        (["resnet50"], ("resnet50",)),
        (["hub_vit", "resnet50"], ("resnet50", "hub_vit")),
        (["concatenated"], ("resnet50", "hub_vit")),
    ],
)
def test_backbones_are_those_that_the_models_need(names: list[str], backbones: tuple[str, ...]) -> None:
    assert Config.model_validate({"model": {"names": names, "hub_vit": {"handle": "x"}}}).model.backbones == backbones


def test_a_run_without_hub_vit_needs_no_handle() -> None:
    assert load_config(None, ["model.names=[resnet50]"]).model.hub_vit.handle is None


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "1.0e-3", "0.001", "+1e-3", ".001"])
def test_a_number_may_be_written_as_people_write_it(text: str, tmp_path: Path) -> None:
    config = load(tmp_path, f"train: {{head: {{learning_rate: {text}}}}}", f"train.finetune.learning_rate={text}")
    assert config.train.head.learning_rate == pytest.approx(1e-3)
    assert config.train.finetune.learning_rate == pytest.approx(1e-3)


def test_whole_numbers_stand_for_fractions_but_not_the_other_way(tmp_path: Path) -> None:
    assert load(tmp_path, "train: {head: {warmup_epochs: 2}}").train.head.warmup_epochs == 2.0
    assert "train.head.epochs: expected a valid integer" in refusal(tmp_path, "train: {head: {epochs: 2.0}}")


UNKNOWN = [
    ("train: {finetune: {lerning_rate: 1}}", "train.finetune.lerning_rate", "train.finetune.learning_rate"),
    ("sed: 1", "sed", "seed"),
    ("train: {distribution_: none}", "train.distribution_", "train.distribution"),
    ("data: {selection: {sample: {per_labels: true}}}", "data.selection.sample.per_labels", "per_label"),
    ("image_size: 96", "image_size", "model.image_size"),
    ("train: {learning_rate: 1e-3}", "train.learning_rate", "train.head.learning_rate"),
    ("evaluate: {k: [1]}", "evaluate.k", "evaluate.ks"),
    ('"two\\nlines": 1', "two\\nlines", ""),
    ("1: 2", "1", ""),
]


@pytest.mark.parametrize(("text", "key", "near"), UNKNOWN)
def test_an_unknown_key_is_named_with_its_nearest_neighbour(text: str, key: str, near: str, tmp_path: Path) -> None:
    message = refusal(tmp_path, text)
    assert message.startswith(f"'{key}': expected a known key, received an unknown one (")
    assert message.partition("the nearest known key is ")[2].endswith(near)


WRONG = [
    # text, key, part of what is expected, part of what is shown as received
    ("seed: -1", "seed", "greater than or equal to 0", "-1 (int)"),
    ("seed: 2147483648", "seed", "less than 2147483648", "2147483648"),
    ("seed: yes", "seed", "integer", "True (bool)"),
    ("seed: '1'", "seed", "integer", "'1' (str)"),
    ("seed:", "seed", "integer", "None"),
    ("seed: {a: 1}", "seed", "integer", "a section"),
    ("seed: 2024-05-06", "seed", "integer", "date"),
    ("data:", "data", "a section of keys", "None"),
    ("data: demo", "data", "a section of keys", "'demo' (str)"),
    ("data: {source: zip}", "data.source", "'fashion_products', 'csv', 'folder', 'tfds' or 'demo'", "'zip' (str)"),
    ("data: {source: csv}", "data", "root, the catalogue's folder, for source 'csv'", "null"),
    ("data: {source: folder}", "data", "root", "null"),
    ("data: {source: fashion_products}", "data", "root", "null"),
    ("data: {source: tfds}", "data", "tfds.name", "null"),
    ("data: {root: 3}", "data.root", "string", "3 (int)"),
    ("data: {workers: -1}", "data.workers", "greater than or equal to 0", "-1"),
    ("data: {max_rejected_share: 1.5}", "data.max_rejected_share", "less than or equal to 1", "1.5 (float)"),
    ("data: {max_rejected_share: .nan}", "data.max_rejected_share", "finite", "nan"),
    ("data: {max_pixels: 0}", "data.max_pixels", "greater than or equal to 1", "0"),
    ("data: {csv: {separator: ''}}", "data.csv.separator", "at least 1 character", "''"),
    ("data: {csv: {separator: ab}}", "data.csv.separator", "at most 1 character", "'ab'"),
    ("data: {csv: {attributes: colour}}", "data.csv.attributes", "a list", "'colour' (str)"),
    ("data: {csv: {attributes: [1]}}", "data.csv.attributes.0", "string", "1 (int)"),
    ("data: {tfds: {download: 1}}", "data.tfds.download", "boolean", "1 (int)"),
    ("data: {demo: {items_per_type: 1}}", "data.demo.items_per_type", "greater than or equal to 2", "1"),
    ("data: {demo: {image_size: 16}}", "data.demo.image_size", "greater than or equal to 32", "16"),
    ("data: {demo: {seed: -3}}", "data.demo.seed", "greater than or equal to 0", "-3"),
    ("data: {selection: {first_rows: 0}}", "data.selection.first_rows", "greater than or equal to 1", "0"),
    ("data: {selection: {labels: Shirts}}", "data.selection.labels", "a list", "'Shirts'"),
    ("data: {selection: {labels: [No]}}", "data.selection.labels.0", "string", "False (bool)"),
    ("data: {selection: {labels: [a], most_frequent: 2}}", "data.selection", "labels or most_frequent", "both"),
    ("data: {selection: {min_per_label: 0}}", "data.selection.min_per_label", "greater than or equal to 1", "0"),
    ("data: {selection: {sample: {n: 0}}}", "data.selection.sample.n", "greater than or equal to 1", "0"),
    ("data: {selection: {sample: {random_state: -1}}}", "data.selection.sample.random_state", "equal to 0", "-1"),
    ("data: {splits: {by: date}}", "data.splits.by", "'ratio' or 'source'", "'date'"),
    ("data: {splits: {train: 0.7}}", "data.splits", "add up to 1", "0.7, 0.2, 0.2, together 1.1"),
    ("data: {splits: {train: 1, validation: 0, test: 0}}", "data.splits", "above 0", "1, 0, 0"),
    ("data: {splits: {train: 0, validation: 0, test: 1}}", "data.splits", "above 0", "0, 0, 1"),
    ("data: {splits: {test: -0.2}}", "data.splits.test", "greater than or equal to 0", "-0.2"),
    ("data: {splits: {seed: a}}", "data.splits.seed", "integer", "'a'"),
    ("data: {near_duplicates: {max_distance: 65}}", "data.near_duplicates.max_distance", "less than or equal", "65"),
    ("data: {near_duplicates: false}", "data.near_duplicates", "a section of keys", "False (bool)"),
    ("train: {start: warm}", "train.start", "'discriminant' or 'random'", "'warm'"),
    ("train: {views: 3}", "train.views", "1 or 2", "3"),
    ("train: {precision: float16}", "train.precision", "'float32', 'mixed_bfloat16' or 'mixed_float16'", "'float16'"),
    ("train: {distribution: gpu}", "train.distribution", "'none', 'mirrored', 'multi_worker' or 'tpu'", "'gpu'"),
    ("train: {extraction_batch_size: 0}", "train.extraction_batch_size", "greater than or equal to 1", "0"),
    ("train: {head: {epochs: -1}}", "train.head.epochs", "greater than or equal to 0", "-1"),
    ("train: {head: {batch_size: 0}}", "train.head.batch_size", "greater than or equal to 1", "0"),
    ("train: {head: {learning_rate: 0}}", "train.head.learning_rate", "greater than 0", "0"),
    ("train: {head: {learning_rate: -1e-3}}", "train.head.learning_rate", "greater than 0", "-0.001"),
    ("train: {head: {learning_rate: .inf}}", "train.head.learning_rate", "finite", "inf"),
    ("train: {head: {learning_rate: fast}}", "train.head.learning_rate", "number", "'fast'"),
    ("train: {head: {weight_decay: -0.1}}", "train.head.weight_decay", "greater than or equal to 0", "-0.1"),
    ("train: {head: {warmup_epochs: -1}}", "train.head.warmup_epochs", "greater than or equal to 0", "-1"),
    ("train: {head: {schedule: linear}}", "train.head.schedule", "'cosine' or 'constant'", "'linear'"),
    (
        "train: {head: {objective: {cross_entropy: {label_smoothing: 1}}}}",
        "train.head.objective.cross_entropy.label_smoothing",
        "less than 1",
        "1",
    ),
    ("train: {head: {clip_norm: -1}}", "train.head.clip_norm", "greater than or equal to 0", "-1"),
    ("train: {head: {accumulate: 0}}", "train.head.accumulate", "greater than or equal to 1", "0"),
    ("train: {head: {ema: 1.0}}", "train.head.ema", "less than 1", "1.0"),
    ("train: {head: {patience: -1}}", "train.head.patience", "greater than or equal to 0", "-1"),
    ("train: {head: {class_weights: 'on'}}", "train.head.class_weights", "boolean", "'on'"),
    ("train: {joint: {layers: [a, 1]}}", "train.joint.layers", "a list of [regular expression, multiplier]", "'a'"),
    ("train: {joint: {layers: {a: 1}}}", "train.joint.layers", "a list of", "{'a': 1}"),
    ("train: {joint: {layers: [[a]]}}", "train.joint.layers", "a list of", "[['a']]"),
    ("train: {joint: {layers: [['(', 1]]}}", "train.joint.layers", "a regular expression", "'('"),
    ("train: {joint: {layers: [[3, 1]]}}", "train.joint.layers", "a regular expression", "3"),
    ("train: {joint: {layers: [[a, -1]]}}", "train.joint.layers", "a multiplier >= 0 for 'a'", "-1"),
    ("train: {joint: {layers: [[a, true]]}}", "train.joint.layers", "a multiplier >= 0 for 'a'", "True"),
    ("train: {joint: {layers: [[a, .nan]]}}", "train.joint.layers", "a multiplier >= 0 for 'a'", "nan"),
    ("train: {joint: {layers: [[a, .inf]]}}", "train.joint.layers", "a multiplier >= 0 for 'a'", "inf"),
    ("train: {joint: {augmentation: {crop: 0}}}", "train.joint.augmentation.crop", "greater than 0", "0"),
    ("train: {joint: {augmentation: {crop: 1.1}}}", "train.joint.augmentation.crop", "less than or equal to 1", "1.1"),
    ("train: {joint: {augmentation: {colour: 2}}}", "train.joint.augmentation.colour", "less than or equal to 1", "2"),
    ("train: {joint: {augmentation: {rand_augment: -1}}}", "train.joint.augmentation.rand_augment", "equal to 0", "-1"),
    ("train: {joint: {augmentation: {cut_mix: -1}}}", "train.joint.augmentation.cut_mix", "equal to 0", "-1"),
    ("train: {joint: {augmentation: {flip: 1}}}", "train.joint.augmentation.flip", "boolean", "1"),
    ("evaluate: {splits: []}", "evaluate.splits", "at least 1 item", "[]"),
    ("evaluate: {splits: [dev]}", "evaluate.splits.0", "'train', 'validation' or 'test'", "'dev'"),
    ("evaluate: {splits: [test, test]}", "evaluate.splits", "each of them once", "['test', 'test']"),
    ("evaluate: {gallery: [all]}", "evaluate.gallery.0", "'split' or 'train'", "'all'"),
    ("evaluate: {ks: [0]}", "evaluate.ks.0", "greater than or equal to 1", "0"),
    ("evaluate: {ks: [1.5]}", "evaluate.ks.0", "integer", "1.5"),
    ("evaluate: {ks: [5, 5]}", "evaluate.ks", "each of them once", "[5, 5]"),
    ("evaluate: {ks: 5}", "evaluate.ks", "a list", "5 (int)"),
    ("evaluate: {baselines: [pixels]}", "evaluate.baselines.0", "'raw_pixels'", "'pixels'"),
]


@pytest.mark.parametrize(("text", "key", "expected", "received"), WRONG, ids=[row[0] for row in WRONG])
def test_an_impossible_value_is_refused_in_one_line(
    text: str, key: str, expected: str, received: str, tmp_path: Path
) -> None:
    message = refusal(tmp_path, text)
    assert message.startswith(f"{key}: expected ")
    assert expected in message
    assert received in message.partition("received ")[2]


MODEL = [
    ("{names: [resnet50, clap], hub_vit: {handle: x}}", "model.names.1", "'hub_vit', 'clip', 'fused'", "'clap'"),
    ("{names: [], hub_vit: {handle: x}}", "model.names", "at least 1 item", "[]"),
    ("{names: [fused, fused], hub_vit: {handle: x}}", "model.names", "each of them once", "['fused', 'fused']"),
    ("{names: fused, hub_vit: {handle: x}}", "model.names", "a list", "'fused'"),
    ("{names: [hub_vit]}", "model", "hub_vit.handle", "null"),
    ("{names: [fused]}", "model", "hub_vit.handle", "null"),
    ("{image_size: 31, hub_vit: {handle: x}}", "model.image_size", "greater than or equal to 32", "31"),
    ("{embedding_dim: 0, hub_vit: {handle: x}}", "model.embedding_dim", "greater than or equal to 1", "0"),
    ("{resnet50: {weights: none}, hub_vit: {handle: x}}", "model.resnet50", "batch_norm: train", "frozen"),
    ("{resnet50: {batch_norm: on}, hub_vit: {handle: x}}", "model.resnet50.batch_norm", "'frozen' or 'train'", "True"),
    ("{hub_vit: {handle: x, value_range: [1, 0]}}", "model.hub_vit.value_range", "the lower one first", "[1.0, 0.0]"),
    ("{hub_vit: {handle: x, value_range: [0]}}", "model.hub_vit.value_range.1", "a value", "none"),
    ("{hub_vit: {handle: x, value_range: [0, .inf]}}", "model.hub_vit.value_range.1", "finite", "inf"),
    ("{fused: {parts: [hub_vit]}, hub_vit: {handle: x}}", "model.fused.parts", "at least 2 items", "['hub_vit']"),
    ("{fused: {parts: [hub_vit, hub_vit]}, hub_vit: {handle: x}}", "model.fused.parts", "each of them once", "hub_vit"),
]


@pytest.mark.parametrize(("text", "key", "expected", "received"), MODEL, ids=[row[0] for row in MODEL])
def test_an_impossible_model_is_refused_in_one_line(
    text: str, key: str, expected: str, received: str, tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"model: {text}", encoding="utf-8")
    with pytest.raises(ConfigError, match=f"^{key}: ") as caught:
        load_config(path)
    assert expected in str(caught.value).partition("expected ")[2]
    assert received in str(caught.value).partition("received ")[2]


def test_the_only_required_key_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^model: expected a value, received none; the key is required$"):
        load_config(None)


def test_further_errors_are_counted(tmp_path: Path) -> None:
    assert refusal(tmp_path, "seed: -1\ntrain: {views: 9}").endswith("(and 1 more)")


def test_a_long_value_is_shortened(tmp_path: Path) -> None:
    assert len(refusal(tmp_path, f"seed: {'x' * 5000}")) < 400
    assert len(refusal(tmp_path, f"sead: {'x' * 5000}")) < 400


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: 1\nseed: 2\n", "key given twice: seed"),
        ("train: {head: {epochs: 1, epochs: 2}}", "key given twice: epochs"),
        ("seed: [1", "expected YAML"),
        ("seed: !!python/object:os.system {}", "expected YAML"),
        ("seed: 2024-13-45", "expected YAML"),
        ("? [a]\n: 1", "expected YAML"),
    ],
)
def test_what_is_no_yaml_is_refused_in_one_line(text: str, said: str, tmp_path: Path) -> None:
    message = refusal(tmp_path, text)
    assert message.startswith(f"--config {tmp_path / 'config.yaml'}: ")
    assert said in message


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"- a\n- b\n", b"just text"])
def test_a_file_of_another_kind_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"^--config.*expected .*, received [^\n]*$"):
        load_config(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.yaml"):
        with pytest.raises(ConfigError, match=r"^--config: expected a readable YAML file, received [^\n]*$"):
            load_config(path)


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("# nothing but a note\n", encoding="utf-8")
    assert load_config(path, ["model.names=[resnet50]"]).model.names == ("resnet50",)


def test_changes_are_yaml_and_come_in_order(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        "data: {selection: {first_rows: 10, labels: [a]}}\n",
        "data.selection.first_rows=null",
        "data.selection.labels=[Shirts, 'Casual Shoes']",
        "data.root=a=b",
        "train.head={epochs: 3, batch_size: 7}",
        "train.head.batch_size=8",
        "train.finetune.layers=[[conv1, 0], [conv2, 0.5]]",
        " seed =5",
    )
    assert config.data.selection.first_rows is None
    assert config.data.selection.labels == ("Shirts", "Casual Shoes")
    assert config.data.root == "a=b"
    assert (config.train.head.epochs, config.train.head.batch_size) == (3, 8)
    assert config.train.finetune.layers == (("conv1", 0.0), ("conv2", 0.5))
    assert config.seed == 5


def test_a_change_may_fill_an_empty_section(tmp_path: Path) -> None:
    assert load(tmp_path, "train:\n", "train.head.epochs=2").train.head.epochs == 2


def test_a_change_of_one_of_two_sections_that_share_a_text_leaves_the_other(tmp_path: Path) -> None:
    config = load(tmp_path, "train: {finetune: &same {epochs: 3}, joint: *same}", "train.joint.epochs=0")
    assert (config.train.finetune.epochs, config.train.joint.epochs) == (3, 0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("seed", "--set: expected key=value such as section.key=20, received 'seed'"),
        ("=3", "--set: expected key=value"),
        ("train..epochs=3", "--set: expected key=value"),
        ("seed.a.b=3", "--set seed.a.b=3: expected a section at seed, received 1"),
        ("seed=[1", "--set seed: expected YAML"),
        ("train.hed.epochs=3", "'train.hed': expected a known key, received an unknown one (a section)"),
        ("train.head.epoch=3", "the nearest known key is train.head.epochs"),
        ("train.head=null", "train.head: expected a section of keys, received None"),
        ("train.head.epochs=many", "train.head.epochs: expected a valid integer"),
    ],
)
def test_an_impossible_change_is_refused_in_one_line(change: str, said: str, tmp_path: Path) -> None:
    assert said in refusal(tmp_path, "seed: 1", change)


FULL = {
    "seed": 3,
    "data": {
        "source": "csv",
        "root": "Kätalog/1e3",
        "csv": {"id": None, "attributes": ["1e3", "no", "2024-05-06", "a: b", "", "null", "1_0e-2", "ä\nö"]},
        "selection": {"labels": ["1e-3", "on", "3", "~"]},
        "splits": {"train": 0.7, "validation": 0.1, "test": 0.2},
    },
    "model": {"hub_vit": {"handle": "google/vit/tensorflow2/base/1", "value_range": [-1, 1]}},
    "train": {"finetune": {"learning_rate": 1e-7, "layers": [["^resnet50/conv[12]_", 0], [r"\d+", 1e-3]]}},
    "words": {
        "models": ["fused"],
        "texts": {"title": "name", "templates": ["{label} in {colour}"], "queries": ["{colour} {label}"]},
        "tokenizer": {"vocabulary_size": 700},
        "encoder": {"width": 64, "heads": 2},
        "loss": "sigmoid",
        "full": {"epochs": 1, "interpolation": [0.0, 1.0]},
    },
    "evaluate": {"ks": [1, 7], "gallery": ["split", "train"], "baselines": ["raw_pixels"]},
}


@pytest.mark.parametrize("values", [{"model": {"names": ["resnet50"]}}, FULL], ids=["defaults", "everything"])
def test_the_written_configuration_reads_back_as_the_same(values: dict[str, Any], tmp_path: Path) -> None:
    config = Config.model_validate(values)
    path = tmp_path / "config.yaml"
    path.write_text(as_yaml(config), encoding="utf-8")
    assert load_config(path) == config
    assert list(yaml.safe_load(as_yaml(config))) == ["seed", "relevance", "data", "model", "train", "words", "evaluate"]


def test_a_configuration_cannot_be_changed(tmp_path: Path) -> None:
    config = load(tmp_path)
    for section, name in ((config, "seed"), (config.train.head, "epochs"), (config.data.selection.sample, "n")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(section, name, 1)


def test_a_configuration_error_is_an_input_error() -> None:
    assert issubclass(ConfigError, InputError)


def test_the_configurations_that_come_along_are_valid() -> None:
    paths = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))
    assert paths
    for path in paths:
        load_config(path, ["model.hub_vit.handle=somewhere"])


class Wheel(Section):
    spokes: int = 12


class Bicycle(Section):
    """A configuration of another kind."""

    colour: str = "red"
    wheel: Wheel = Wheel()


def test_other_configurations_are_read_the_same_way(tmp_path: Path) -> None:
    path = tmp_path / "bicycle.yaml"
    path.write_text("colour: blue\n", encoding="utf-8")
    bicycle = load_section(Bicycle, path, ["wheel.spokes=8"])
    assert bicycle == Bicycle(colour="blue", wheel=Wheel(spokes=8))
    path.write_text(as_yaml(bicycle), encoding="utf-8")
    assert load_section(Bicycle, path) == bicycle
    assert load_section(Bicycle) == Bicycle()


def test_the_nearest_key_is_one_of_the_configuration_at_hand() -> None:
    with pytest.raises(ConfigError, match=r"'spoke': expected a known key.*nearest known key is wheel\.spokes$"):
        load_section(Bicycle, None, ["spoke=8"])
