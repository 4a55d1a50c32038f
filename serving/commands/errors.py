"""How a command's failure is told: one line, with what to do."""

from __future__ import annotations

__all__ = ["CommandError", "told"]

_ADVICE = {
    "TooLargeError": "send less: fewer or smaller pictures, a shorter text",
    "ModelNotFoundError": "python -m serving status shows what is there; see --name, --version, --label",
    "NotReadyError": "python -m serving status shows what is there",
    "UnreachableError": "see whether a server runs there (python -m serving serve EXPORTS), or give --server HOST:PORT",
    "OverloadedError": "try again in a moment",
    "DeadlineError": "give a longer --timeout",
    "UnauthorizedError": "give --token-file, or for mutual TLS --tls-certificate and --tls-key",
    "MixedFingerprintsError": "embed pictures and texts anew, with the encoder that the table was made with",
    "BadAnswerError": "is it a model that python -m export made?",
}


class CommandError(Exception):
    """The user's input: says what was expected, what was received, what to do."""


def told(error: BaseException) -> str | None:
    """What to tell a user about an error, in one line; None where it is our fault.

    Args:
        error: a `CommandError`, or any of the client's `ServingError`.
    """
    if isinstance(error, CommandError):
        return " ".join(str(error).split())
    from serving.client.errors import ServingError

    if not isinstance(error, ServingError):
        return None
    advice = next((_ADVICE[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in _ADVICE), "")
    message = " ".join(str(error).split())
    return f"{message}; {advice}" if advice else message
