"""The demo catalogue on disk: a CSV and its pictures."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path

from joblib import Parallel, delayed
from PIL import Image
from tqdm import tqdm

from trainer.data.demo.facts import QUERY_NUMBERS, ItemFacts, item_facts
from trainer.data.demo.garments import GARMENT_TYPES
from trainer.data.demo.item import check_drawing, draw_item, drawn_as
from trainer.data.items import ID, IMAGE_PATH
from trainer.errors import InputError
from trainer.files import atomic_path, write_text

__all__ = ["CSV_NAME", "draw_catalogue"]

CSV_NAME = "items.csv"
_IMAGES = "images"
_BATCH = 16


def draw_catalogue(
    root: Path, *, items_per_type: int = 60, image_size: int = 96, seed: int = 0, workers: int = 2
) -> Path:
    """Draws a small fashion catalogue, so that every job can be tried without a download.

    Writes `root/items.csv` with the columns id, image_path (relative to `root`), label, gender, colour, pattern,
    season and title, and `root/images/<id>.jpg`. The same arguments give the same bytes, however many workers draw
    and whatever was there before. A whole picture of the same arguments is kept as it is; a torn one, or one of
    another seed, size or version of the drawing, is drawn again. Pictures that the table does not name are left alone.

    Args:
        root: the catalogue's folder, made when missing.
        items_per_type: pictures of each of `GARMENT_TYPES`, 2 to 50,000.
        image_size: pixels a side, at least 32.
        seed: 0 or more; another seed gives another catalogue.
        workers: processes that draw.

    Returns:
        The path of `items.csv`. It is written last: where it is there, its pictures are too.

    Raises:
        InputError: an argument is out of range, or `root` cannot be written.
    """
    _check(items_per_type, image_size, seed, workers)
    root = Path(root)
    # Types take turns, so a catalogue cut short, or read from its head, has them all.
    wanted = [(label, number) for number in range(items_per_type) for label in GARMENT_TYPES]
    rows = [item_facts(label, number, seed=seed) for label, number in wanted]
    missing = [
        (label, number)
        for (label, number), row in zip(wanted, rows, strict=True)
        if not _is_whole(_picture(root, row), drawn_as(label, number, seed=seed, image_size=image_size))
    ]
    if missing:
        _draw_all(root, missing, image_size=image_size, seed=seed, workers=workers)
    table = root / CSV_NAME
    write_text(table, _csv(rows))
    return table


def _check(items_per_type: int, image_size: int, seed: int, workers: int) -> None:
    if not 2 <= items_per_type <= QUERY_NUMBERS:
        raise InputError(
            f"items_per_type must lie between 2 and {QUERY_NUMBERS}, received {items_per_type}; 60 is enough for a demo"
        )
    if workers < 1:
        raise InputError(f"workers must be 1 or more, received {workers}; give the number of cores to draw with")
    check_drawing(image_size=image_size, seed=seed)


def _picture(root: Path, row: ItemFacts) -> Path:
    return root / _IMAGES / f"{row.id}.jpg"


def _is_whole(path: Path, comment: bytes) -> bool:
    """Whether the file is a picture of these very arguments that can be read to its end."""
    try:
        with Image.open(path) as picture:
            picture.load()
            return picture.info.get("comment") == comment
    except OSError:
        return False


def _draw_all(root: Path, missing: list[tuple[str, int]], *, image_size: int, seed: int, workers: int) -> None:
    batches = [missing[at : at + _BATCH] for at in range(0, len(missing), _BATCH)]
    # Threads would take turns at the interpreter lock, and a fork after TensorFlow has started its own may hang.
    pool = Parallel(n_jobs=min(workers, len(batches)), backend="loky", return_as="generator_unordered")
    done: Iterable[int] = pool(delayed(_draw_batch)(root, batch, image_size=image_size, seed=seed) for batch in batches)
    with tqdm(total=len(missing), desc="drawing the demo catalogue", unit="picture") as progress:
        for count in done:
            progress.update(count)


def _draw_batch(root: Path, batch: list[tuple[str, int]], *, image_size: int, seed: int) -> int:
    for label, number in batch:
        with atomic_path(_picture(root, item_facts(label, number, seed=seed))) as aside:
            aside.write_bytes(draw_item(label, number, seed=seed, image_size=image_size))
    return len(batch)


def _csv(rows: list[ItemFacts]) -> str:
    facts = [field.name for field in fields(ItemFacts) if field.name != ID]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=[ID, IMAGE_PATH, *facts], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({**asdict(row), IMAGE_PATH: f"{_IMAGES}/{row.id}.jpg"})
    return text.getvalue()
