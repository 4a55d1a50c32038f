"""The errors a person can mend, apart from the ones that are ours.

Exception
└── InputError          the user's input: exit code 2, one line, no traceback
    └── ConfigError     a key of the configuration
"""

from __future__ import annotations

__all__ = ["ConfigError", "InputError"]


class InputError(ValueError):
    """What the user gave cannot be used.

    The message is one line that says what was expected, what was received and what to do. The command line prints it
    without a traceback and exits with 2.
    """


class ConfigError(InputError):
    """A key of the configuration is unknown, of the wrong type, or has an impossible value."""
