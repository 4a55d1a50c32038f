"""What can go wrong, apart from our own faults.

Exception
├── RequestError     a request that gets an error's code and message instead of an answer
└── SetupError       the server's user asked for what cannot be: exit code 2, one line
"""

from __future__ import annotations

import grpc

__all__ = ["MESSAGE_LIMIT", "RequestError", "SetupError", "limited", "number_of"]

MESSAGE_LIMIT = 1024
"""Characters of an error's message that travel; the real server's limit."""

_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


class RequestError(Exception):
    """A request that cannot be answered.

    Attributes:
        code: gRPC's status code.
        message: as TensorFlow Serving words it, not yet shortened.
    """

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message

    @classmethod
    def of(cls, error: BaseException) -> RequestError:
        """The error of a request for whatever was raised: TensorFlow's errors keep their code and message."""
        if isinstance(error, cls):
            return error
        number, message = getattr(error, "error_code", None), getattr(error, "message", None)
        if isinstance(number, int) and isinstance(message, str):
            return cls(_BY_NUMBER.get(number, grpc.StatusCode.UNKNOWN), message)
        if isinstance(error, MemoryError):
            return cls(grpc.StatusCode.RESOURCE_EXHAUSTED, "out of memory")
        return cls(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}")

    @classmethod
    def invalid(cls, message: str) -> RequestError:
        """INVALID_ARGUMENT."""
        return cls(grpc.StatusCode.INVALID_ARGUMENT, message)

    @classmethod
    def not_found(cls, message: str) -> RequestError:
        """NOT_FOUND."""
        return cls(grpc.StatusCode.NOT_FOUND, message)

    @classmethod
    def failed_precondition(cls, message: str) -> RequestError:
        """FAILED_PRECONDITION."""
        return cls(grpc.StatusCode.FAILED_PRECONDITION, message)

    @classmethod
    def unavailable(cls, message: str) -> RequestError:
        """UNAVAILABLE."""
        return cls(grpc.StatusCode.UNAVAILABLE, message)


class SetupError(ValueError):
    """What the server was started with cannot be used: one line with what was expected, received, and what to do."""


def limited(message: str) -> str:
    """A message as it travels: cut where TensorFlow Serving cuts it, and marked so."""
    return message if len(message) <= MESSAGE_LIMIT else message[:MESSAGE_LIMIT] + "...TRUNCATED"


def number_of(code: grpc.StatusCode) -> int:
    """gRPC's number of a code, which is TensorFlow's as well."""
    return int(code.value[0])
