"""Imports TensorFlow without its start-up messages, which say nothing that a user can act on.

TensorFlow 2.21 writes some of them before its own log level counts, straight to the file descriptor; so that
descriptor is put aside during the import and put back after it. If the import fails, what was held back is shown.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator

__all__: list[str] = []

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# tensorflow-hub 0.16 asks pkg_resources for one version comparison.
warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=UserWarning)


@contextlib.contextmanager
def _stderr_held_back() -> Iterator[None]:
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


if "tensorflow" not in sys.modules:
    with _stderr_held_back():
        import tensorflow
        import tensorflow_hub

        del tensorflow, tensorflow_hub
