"""What the documents show runs: links lead somewhere, commands parse, configurations load."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from export import __main__ as export_command_line
from export.config import ExportConfig
from serving import __main__ as serving_command_line
from trainer.__main__ import _ALONE, JOBS, _parser
from trainer.config import Config, load_config, load_section
from trainer.config.losses import _BY_NAME as LOSSES
from trainer.errors import ConfigError
from trainer.evaluation.analyses import ANALYSES

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(ROOT.glob("*.md"))
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
SERVED = sorted((ROOT / "configs" / "serving").iterdir())
YOURS = ROOT / "configs" / "your_catalogue.yaml"
LEFT_BY_RUNS = {Path("runs/mine/config.yaml"): YOURS}
"""Configurations that a command shown before has left, and of what."""


def commands(text: str, package: str = "trainer") -> list[str]:
    """Commands of our own in fenced blocks and in comments, continued lines joined."""
    joined = re.sub(r"\\\n[# ]*", " ", text)
    found = re.findall(rf"(?:\.venv/bin/)?python -m {package} ([^\n`]*)", joined)
    return [command.split("  #")[0].strip() for command in found]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), f"{document.name} links to {target}"


@pytest.mark.parametrize("document", [*DOCUMENTS, *CONFIGS], ids=lambda path: path.name)
def test_nothing_is_left_to_fill_in(document: Path) -> None:
    assert not re.findall(r"@[A-Z_]+@|TODO|FIXME|FIGURE_", document.read_text(encoding="utf-8"))


@pytest.mark.parametrize("document", [*DOCUMENTS, *CONFIGS], ids=lambda path: path.name)
def test_commands_parse_and_their_keys_are_known(document: Path) -> None:
    for command in commands(document.read_text(encoding="utf-8")):
        words = shlex.split(command)
        if not words or words[0].startswith(("{", "JOB")) or len(words) == 1:
            continue
        options = _parser().parse_args(words)
        if options.job in _ALONE:
            continue
        config = LEFT_BY_RUNS.get(options.config, ROOT / options.config)
        if config.exists():
            load_config(config, options.changes)
        else:
            pytest.fail(f"{document.name} names {options.config}, which is not there")


@pytest.mark.parametrize("document", [*DOCUMENTS, *SERVED], ids=lambda path: path.name)
def test_commands_of_export_and_serving_parse(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for command in commands(text, "export"):
        words = shlex.split(command)
        if len(words) > 1:
            options = export_command_line._parser(words).parse_args(words)
            if options.job == "export":
                load_section(ExportConfig, options.config, options.changes)
    for command in commands(text, "serving"):
        words = shlex.split(command)
        if len(words) > 1:
            serving_command_line._parser(words).parse_args(words)


def test_make_targets_in_documents_exist() -> None:
    targets = set(re.findall(r"^([.\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for document in DOCUMENTS:
        used = re.findall(r"^make ([.\w-]+)|`make ([.\w-]+)`", document.read_text(encoding="utf-8"), re.MULTILINE)
        assert {a or b for a, b in used} <= targets, document.name


def test_benchmarks_in_documents_exist() -> None:
    for document in DOCUMENTS:
        used = re.findall(r"python -m benchmarks\.(\w+)", document.read_text(encoding="utf-8"))
        assert {name for name in used if not (ROOT / "benchmarks" / f"{name}.py").exists()} == set(), document.name


def changes(values: dict[str, Any], before: str = "") -> Iterator[str]:
    """Nested settings as `a.b=value`, so that what stands beside them in a configuration is kept."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from changes(value, f"{before}{key}.")
        else:
            yield f"{before}{key}={json.dumps(value)}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_settings_shown_load(document: Path) -> None:
    for block in re.findall(r"^```yaml\n(.*?)^```", document.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
        load_config(YOURS, list(changes(yaml.safe_load(block))))


def test_settings_in_comments_load() -> None:
    """Every line that has a key behind its `#`, all at once."""
    shown = re.sub(
        r"^( *)# ((?! *\w+ -m )\s*[\w]+:.*)$", r"\1\2", YOURS.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    config = load_config(None, list(changes(yaml.safe_load(shown))))
    assert config.relevance != load_config(YOURS).relevance
    assert config.train.finetune.objective.losses
    assert config.evaluate.ablations == "last"


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md"])
def test_keys_named_are_known(name: str) -> None:
    keys = re.findall(r"`((?:model|train|evaluate)\.[a-z_0-9.*]+)", (ROOT / name).read_text(encoding="utf-8"))
    assert keys
    for key in keys:
        try:
            load_section(Config, YOURS, [f"{key.replace('train.*.', 'train.head.')}=1"])
        except ConfigError as error:
            # 1 may well be no value of a key that is known.
            assert "expected a known key" not in str(error), f"{name} names {key}"


def test_what_there_is_is_told() -> None:
    readme, architecture = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "ARCHITECTURE.md"))
    assert {job for job in JOBS.keys() | _ALONE.keys() - {"demo-picture"} if f"`{job}`" not in readme} == set()
    assert {loss for loss in LOSSES if f"`{loss}`" not in readme} == set()
    assert {name for name in ANALYSES if name not in architecture} == set()


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.name)
def test_configurations_load(config: Path) -> None:
    assert load_config(config).model.names
