"""What the documents show runs: links lead somewhere, commands parse, configurations load."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from export import __main__ as export_command_line
from export.config import ExportConfig
from serving import __main__ as serving_command_line
from trainer.__main__ import _ALONE, _parser
from trainer.config import load_config, load_section

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(ROOT.glob("*.md"))
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
SERVED = sorted((ROOT / "configs" / "serving").iterdir())


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
    assert not re.findall(r"@[A-Z_]+@|TODO|FIXME", document.read_text(encoding="utf-8"))


@pytest.mark.parametrize("document", [*DOCUMENTS, *CONFIGS], ids=lambda path: path.name)
def test_commands_parse_and_their_keys_are_known(document: Path) -> None:
    for command in commands(document.read_text(encoding="utf-8")):
        words = shlex.split(command)
        if not words or words[0].startswith(("{", "JOB")) or len(words) == 1:
            continue
        options = _parser().parse_args(words)
        if options.job in _ALONE:
            continue
        config = ROOT / options.config
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


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.name)
def test_configurations_load(config: Path) -> None:
    assert load_config(config).model.names
