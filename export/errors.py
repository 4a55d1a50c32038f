"""The errors of exporting, beside `trainer.errors`.

Exception
├── InputError              the user's input: exit code 2 (`trainer.errors`)
└── VerificationError       an exported version does not hold what it promises
"""

from __future__ import annotations

__all__ = ["VerificationError"]


class VerificationError(Exception):
    """An exported version does not hold what it promises: the first difference, in one line."""
