"""Whether pictures are still what `prepare` saw."""

from __future__ import annotations

import hashlib
import logging
import os
from typing import Any

import pandas as pd

from trainer.data.items import IMAGE_PATH, PICTURE_MTIME_NS, PICTURE_SHA256, PICTURE_SIZE, SOURCE_PATH
from trainer.errors import InputError

__all__ = ["with_true_hashes"]

_log = logging.getLogger(__name__)


def with_true_hashes(items: pd.DataFrame) -> pd.DataFrame:
    """The items with `picture_sha256` true to the files as they are now.

    Files whose size and modification time are as `prepare` found them are taken to be unchanged; others are hashed
    again, so that nothing cached for the former picture is used for the new one.

    Args:
        items: see `trainer.data.items`.

    Returns:
        The same rows; `items` itself where nothing changed.

    Raises:
        InputError: a picture is gone, or one that `prepare` had to convert has changed since.
    """
    sources = items[SOURCE_PATH] if SOURCE_PATH in items.columns else items[IMAGE_PATH]
    changed: dict[Any, str] = {}
    columns = (items.index, sources, items[IMAGE_PATH], items[PICTURE_SIZE], items[PICTURE_MTIME_NS])
    for index, source, used, size, mtime in zip(*columns, strict=True):
        try:
            now = os.stat(source)
            if (now.st_size, now.st_mtime_ns) != (size, mtime):
                if source != used:
                    raise InputError(f"{source} has changed since prepare converted it; run prepare again")
                with open(source, "rb") as file:
                    changed[index] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise InputError(
                f"{source} was there when prepare ran and cannot be read now ({error.strerror}); run prepare again"
            ) from error
    if not changed:
        return items
    _log.warning("%d pictures have changed since prepare, such as %s", len(changed), sources[next(iter(changed))])
    items = items.copy()
    items.loc[list(changed), PICTURE_SHA256] = list(changed.values())
    return items
