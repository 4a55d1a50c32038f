"""The job `demo-picture`."""

from __future__ import annotations

import argparse

from trainer.data.demo import query_picture
from trainer.files import atomic_path

__all__ = ["run"]


def run(options: argparse.Namespace) -> None:
    """Draws a product that no demo catalogue holds; prints the file's path.

    Args:
        options: `out` (a path), `label`, `image_size` and `seed`; see `trainer.data.demo.query_picture`.

    Raises:
        InputError: the label is none of the demo catalogue's, another value is impossible, or the file cannot be
            written.
    """
    content = query_picture(options.seed, options.label, options.image_size)
    with atomic_path(options.out) as aside:
        aside.write_bytes(content)
    print(options.out)
