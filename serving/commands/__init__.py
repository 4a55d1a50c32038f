"""What `python -m serving` can do, a module a command: `add_arguments(parser)` and `run(options) -> int`.

A module imports nothing heavy before `run`, so that `--help` is instant.
"""

from __future__ import annotations

__all__: list[str] = []
