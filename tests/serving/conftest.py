"""Small exports, and an embedded server of them in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from embedded_process import EmbeddedProcess, embedded_process, run_program


@pytest.fixture(scope="session")
def small_exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with fused_encoder/1, fused_lookup/1 and fused_search/1; read it, copy it to change it.

    16 numbers an embedding, pictures of 8 pixels, 60 items, K = 20, attributes gender (filterable) and colour;
    what is in them stands in small_exports_program.py. Written by a process of its own, without TensorFlow here.
    """
    out = tmp_path_factory.mktemp("exports") / "small"
    run_program(Path(__file__).with_name("small_exports_program.py"), str(out))
    return out


@pytest.fixture(scope="session")
def small_server(small_exports: Path) -> Iterator[EmbeddedProcess]:
    """An embedded server of the small exports, shared: leave its models as they are."""
    with embedded_process(small_exports) as server:
        yield server
