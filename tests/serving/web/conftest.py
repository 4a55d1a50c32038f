"""A small shop and the page over it; and the page in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette", reason="starlette, of the extra [web], is not installed")

import pyarrow as pa
import pyarrow.parquet as pq
from starlette.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parent))

from drawn_pictures import encoded, quarters
from stub_client import ITEMS, StubClient

from serving.web.application import PageSettings, lens
from serving.web.catalogue import Catalogue
from serving.web.guard import Login
from serving.web.models import Choice, Models

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `pictures/item-N.png`, `pictures/more/deep.jpg`, `items.parquet`, and beside them `secret.jpg`."""
    folder = tmp_path_factory.mktemp("shop")
    pictures = folder / "pictures"
    (pictures / "more").mkdir(parents=True)
    rows = []
    for row in range(ITEMS):
        pixels = np.random.default_rng(row).integers(0, 255, (8, 8, 3), np.uint8).repeat(30, 0).repeat(30, 1)
        (pictures / f"item-{row}.png").write_bytes(encoded(pixels))
        rows.append(
            {
                "id": f"item-{row}",
                "image_path": f"pictures/item-{row}.png",
                "label": ("Shirts", "Shoes", "Watches")[row % 3],
                "split": ("test", "train")[row % 2],
                "gender": ("Women", "Men", "Unisex")[row % 3],
                "title": f"Product number {row}",
            }
        )
    pq.write_table(pa.Table.from_pylist(rows), folder / "items.parquet")
    (pictures / "more" / "deep.jpg").write_bytes(encoded(quarters(), "JPEG"))
    (folder / "secret.jpg").write_bytes(encoded(quarters(), "JPEG"))
    (pictures / "notes.txt").write_text("not a picture")
    (pictures / "link.jpg").symlink_to(folder / "secret.jpg")
    (pictures / "folder").symlink_to(folder)
    (pictures / "circle.jpg").symlink_to(pictures / "circle.jpg")
    return folder


@pytest.fixture
def stub() -> StubClient:
    """What the page asks."""
    return StubClient()


@pytest.fixture
def application(shop: Path, stub: StubClient) -> Callable[..., Any]:
    """Makes the page's application."""

    def make(
        settings: PageSettings | None = None,
        hosts: tuple[str, ...] = (),
        login: Login | None = None,
        items: bool = True,
        choices: tuple[str, ...] = ("fused",),
    ) -> Any:
        models = Models([Choice.parse(each) for each in choices], lambda name: stub)  # type: ignore[arg-type,return-value]
        catalogue = Catalogue(shop / "pictures", shop / "items.parquet" if items else None)
        return lens(models, catalogue, settings, hosts, login)

    return make


@pytest.fixture
def page(application: Callable[..., Any]) -> Iterator[Callable[..., TestClient]]:
    """Makes somebody who asks the page."""
    opened = []

    def make(**given: Any) -> TestClient:
        client = TestClient(application(**given), base_url="http://127.0.0.1", raise_server_exceptions=False)
        client.__enter__()
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture(scope="module")
def address(shop: Path, small_server: Any) -> Iterator[str]:
    """Where the page of the small server is shown, by a process of its own."""
    shown = [
        "--pictures",
        str(shop / "pictures"),
        "--items",
        str(shop / "items.parquet"),
        "--compare",
        "fused:1",
        "--max-upload-mib",
        "1",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "serving", "web", "--port", "0", "--server", small_server.address, *shown],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("Lens http://127.0.0.1:"), line
        yield line.split()[1]
    finally:
        process.terminate()
        code = process.wait(timeout=20)
        process.stdout.close()
    assert code == 0
