"""Who may know whom, and how large things may grow."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("trainer", "export", "serving")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
ALL_FILES = [*MODULES, *sorted((ROOT / "benchmarks").rglob("*.py")), *sorted((ROOT / "tests").rglob("*.py"))]
SLOW = {"tensorflow", "keras", "keras_cv", "keras_hub", "tensorflow_hub", "tf_keras", "tensorflow_serving"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in the file, as absolute names; names imported from it too."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def tops(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported(path)}


def test_the_walk_sees_imports() -> None:
    names = set(imported(ROOT / "trainer" / "__main__.py"))
    assert {"argparse", "trainer.command_line", "trainer.config", "trainer.workdir.open_workdir"} <= names


@pytest.mark.parametrize(
    ("package", "unknown"), [("trainer", {"export", "serving"}), ("serving", {"trainer", "export"})]
)
def test_a_package_knows_only_whom_it_may(package: str, unknown: set[str]) -> None:
    guilty = {name_of(path): tops(path) & unknown for path in MODULES if path.is_relative_to(ROOT / package)}
    assert guilty
    assert not {name for name, found in guilty.items() if found}


def test_asking_needs_no_tensorflow() -> None:
    server = ROOT / "serving" / "server"
    asking = [path for path in MODULES if path.is_relative_to(ROOT / "serving") and not path.is_relative_to(server)]
    assert asking
    assert not {name_of(path) for path in asking if tops(path) & SLOW}


def test_nobody_imports_tests_or_benchmarks() -> None:
    assert not {name_of(path) for path in MODULES if tops(path) & {"tests", "benchmarks"}}


def test_rooms_of_numpy_and_the_packages_themselves_load_no_tensorflow() -> None:
    rooms = ["trainer.retrieval", "trainer.evaluation", "trainer.plots", "trainer.config", "trainer.workdir"]
    packages = [".".join(path.parent.relative_to(ROOT).parts) for path in MODULES if path.name == "__init__.py"]
    program = (
        "import importlib, sys\n"
        f"for name in {rooms + packages!r}:\n    importlib.import_module(name)\n"
        f"print(sorted({SLOW!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_files_stay_short() -> None:
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in ALL_FILES}
    assert len(lengths) > 80
    assert not {name: length for name, length in lengths.items() if length > 400}


def test_functions_fit_on_a_screen() -> None:
    long = {}
    for path in MODULES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > 70:
                    long[f"{name_of(path)}:{node.name}"] = length
    assert not long


def test_no_file_is_a_drawer_for_anything() -> None:
    drawers = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert not [name_of(path) for path in ALL_FILES if drawers & {path.stem, path.parent.name}]


def public_names(path: Path) -> list[str] | None:
    for node in tree_of(path).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            value = getattr(node, "value", None)
            assert value is not None
            return list(ast.literal_eval(value))
    return None


def test_every_public_name_says_what_it_is_for() -> None:
    silent, checked = [], 0
    for path in MODULES:
        names = public_names(path) or []
        for node in tree_of(path).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in names:
                checked += 1
                if not ast.get_docstring(node):
                    silent.append(f"{name_of(path)}:{node.name}")
    assert checked > 60
    assert not silent


def test_every_module_says_what_it_is_for() -> None:
    full = [path for path in MODULES if path.read_text(encoding="utf-8").strip()]
    assert not [name_of(path) for path in full if not ast.get_docstring(tree_of(path))]


def test_what_a_module_offers_is_there() -> None:
    for path in MODULES:
        defined = {
            target.id
            for node in tree_of(path).body
            for target in [*getattr(node, "targets", []), getattr(node, "target", None)]
            if isinstance(target, ast.Name)
        }
        for node in tree_of(path).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                defined.add(node.name)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                defined |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        missing = set(public_names(path) or []) - defined
        assert not missing or "__getattr__" in defined, (name_of(path), missing)
