"""Where the pictures of items lie, by their ids."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from serving.commands.errors import CommandError

__all__ = ["pictures_in_folder", "pictures_in_items"]

# Columns of the items table.
ID, IMAGE_PATH = "id", "image_path"
ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp"})


def pictures_in_folder(root: Path, ids: Collection[str]) -> dict[str, Path]:
    """Pictures below a folder whose path in it, with or without its ending, or whose name without it, is an id.

    Ids come from a server, so they are compared with what is there and never made a path of.

    Args:
        root: the folder.
        ids: of items.

    Returns:
        Id to path, of those that are there; where several fit, the nearest to the root, then the first by name.
    """
    found: dict[str, Path] = {}
    depths: dict[str, int] = {}
    for folder, folders, files in os.walk(root):
        folders.sort()
        inside = Path(folder).relative_to(root)
        depth, prefix = len(inside.parts), "".join(f"{part}/" for part in inside.parts)
        for name in sorted(files):
            stem, ending = os.path.splitext(name)
            if ending.lower() not in ENDINGS:
                continue
            for key in {stem, prefix + name, prefix + stem}:
                if key in ids and depth < depths.get(key, depth + 1):
                    found[key], depths[key] = Path(folder) / name, depth
    return found


def pictures_in_items(items: Path, ids: Collection[str]) -> dict[str, Path]:
    """Pictures that an items table names.

    Args:
        items: `items.parquet`, with columns `id` and `image_path`.
        ids: of items.

    Returns:
        Id to path, of those that it names.

    Raises:
        CommandError: pyarrow is missing, or the file is no such table.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise CommandError(
            "expected pyarrow to read --items, it is missing; pip install pyarrow, or give --pictures DIR"
        ) from error
    try:
        table = pq.read_table(items, columns=[ID, IMAGE_PATH], filters=[(ID, "in", sorted(ids) or [""])])
    except (pa.ArrowException, OSError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise CommandError(f"expected {items} with columns {ID} and {IMAGE_PATH}: {reason}") from error
    if table.column_names != [ID, IMAGE_PATH]:
        raise CommandError(f"expected {items} with columns {ID} and {IMAGE_PATH}, received {table.column_names}")
    base = items.parent
    return {
        str(name): base / path  # an absolute path stays what it is
        for name, path in zip(table[ID].to_pylist(), table[IMAGE_PATH].to_pylist(), strict=True)
        if path
    }
