"""How much memory another process holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["resident"]

PAGE = 4096


def resident(process: Any) -> int:
    """Bytes of memory that a process holds."""
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * PAGE
