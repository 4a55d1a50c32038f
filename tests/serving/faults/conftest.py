"""A server whose process the faults may happen to."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from embedded_process import embedded_process, run_program


@pytest.fixture(scope="session")
def two_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with fused_lookup/1 and fused_lookup/2, which answer differently; see two_tables_program.py."""
    out = tmp_path_factory.mktemp("exports") / "two_tables"
    run_program(Path(__file__).with_name("two_tables_program.py"), str(out))
    return out


@pytest.fixture(scope="session")
def server(two_tables: Path) -> Iterator[Any]:
    """An embedded server of them, shared: each test leaves it running."""
    with embedded_process(two_tables) as running:
        yield running
