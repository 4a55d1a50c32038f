"""The configuration of losses: strict about names, and it says which was meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from trainer.config import as_yaml, load_section
from trainer.config.losses import ObjectiveConfig
from trainer.errors import ConfigError


def load(tmp_path: Path, **settings: Any) -> ObjectiveConfig:
    path = tmp_path / "objective.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return load_section(ObjectiveConfig, path)


def test_settings_come_back_from_yaml(tmp_path: Path) -> None:
    losses = [
        {"name": "triplet", "margin": "soft", "weight": 0.5},
        {"name": "arc_face", "sub_centers": 3},
        {"name": "graded_contrastive", "power": 2},
    ]
    config = load(tmp_path, losses=losses, memory=512, memory_start=10, cross_entropy={"weight": 0.0})
    path = tmp_path / "again.yaml"
    path.write_text(as_yaml(config), encoding="utf-8")
    assert load_section(ObjectiveConfig, path) == config
    assert [entry.name for entry in config.losses] == ["triplet", "arc_face", "graded_contrastive"]
    assert ObjectiveConfig().losses == ()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"losses": [{"name": "tripplet"}]},
            r"^losses: expected the name of a loss, received 'tripplet'; the nearest known one is triplet$",
        ),
        (
            {"losses": [{"name": "proxy_anchor"}, {"name": "triplet", "margins": 0.1}]},
            r"^losses: expected a setting of triplet, received 'margins'; the nearest known one is margin$",
        ),
        ({"losses": [{"weight": 1.0}]}, r"^losses: expected the name of a loss among normalized_softmax, .*; received"),
        (
            {"losses": [{"name": "triplet", "margin": "hard"}]},
            r"^losses\.0\.triplet\.margin: expected a number of at least 0, or soft; received 'hard'$",
        ),
        ({"losses": [{"name": "triplet", "margin": True}]}, r"margin: expected a number of at least 0, or soft"),
        ({"losses": [{"name": "triplet", "mining": "hard"}]}, r"^losses\.0\.triplet\.mining: expected 'semi_hard',"),
        (
            {"losses": [{"name": "supervised_contrastive", "temperature": 0}]},
            r"^losses\.0\.supervised_contrastive\.temperature: expected greater than 0, received 0 \(int\)$",
        ),
        ({"losses": ["triplet"]}, r"^losses\.0: "),
        ({"losses": "triplet"}, r"^losses: expected a list, received 'triplet'"),
        ({"losses": [{"name": "triplet"}] * 2}, r"expected each of losses once, received triplet, triplet$"),
        ({"cross_entropy": {"weight": 0.0}}, r"expected losses, or cross_entropy\.weight above 0; received neither$"),
        ({"memory": 8, "losses": [{"name": "arc_face"}]}, r"expected one of supervised_contrastive, .* use the memory"),
        ({"memmory": 8}, r"^'memmory': expected a known key, .* nearest known key is memory$"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(tmp_path, **settings)
    assert "\n" not in str(caught.value)


def test_entries_may_be_sections_already() -> None:
    (entry,) = ObjectiveConfig.model_validate({"losses": [{"name": "triplet"}]}).losses
    assert ObjectiveConfig(losses=(entry,)).losses == (entry,)
    with pytest.raises(ValidationError):
        entry.margin = 0.3  # type: ignore[misc, union-attr]
