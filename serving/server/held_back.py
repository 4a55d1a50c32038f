"""Keeps what a library writes while it is imported from the terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

__all__ = ["held_back_stderr"]


@contextlib.contextmanager
def held_back_stderr() -> Iterator[None]:
    """Puts the error stream aside: TensorFlow writes to its descriptor before its own log level counts.

    What was held back is shown if the block raises.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
