"""What can go wrong when asking, in one tree.

Exception
└── ServingError                    catch this for everything
    ├── BadInputError               the question cannot be answered, refused here or by the server (a ValueError)
    │   └── TooLargeError           a message over the limit on its size
    ├── ModelNotFoundError          no such model, version or label, or not loaded (yet)
    ├── UnknownSignatureError       the model has no such signature
    ├── NotReadyError               the server is up and cannot answer yet
    ├── UnreachableError            no connection, or it broke
    ├── OverloadedError             the server's queue is full, or the question waited too long in it
    ├── CircuitOpenError            not even tried: every address failed too often a moment ago
    ├── DeadlineError               no answer in time (a TimeoutError)
    ├── UnauthorizedError           the token or certificate was refused
    ├── MixedFingerprintsError      embeddings of different encoders met
    ├── ShardError                  at least one shard gave no answer
    ├── BadAnswerError              the answer is not what the contract says
    ├── ClosedError                 the client was closed, or belongs to another process or event loop
    └── ServerError                 anything else that the server reports
"""

from __future__ import annotations

from collections.abc import Mapping

import grpc

__all__ = [
    "BadAnswerError",
    "BadInputError",
    "CircuitOpenError",
    "ClosedError",
    "DeadlineError",
    "MixedFingerprintsError",
    "ModelNotFoundError",
    "NotReadyError",
    "OverloadedError",
    "ServerError",
    "ServingError",
    "ShardError",
    "TooLargeError",
    "UnauthorizedError",
    "UnknownSignatureError",
    "UnreachableError",
]


class ServingError(Exception):
    """Something went wrong while asking.

    Attributes:
        message: what was expected, what was received, what to do.
        address: of the server that was asked; empty where none was.
        model: served name of the model that was asked; empty where none was.
        signature: of that model; empty where none was.
        request_id: what was sent as `x-request-id`; empty where nothing was made to send.
        code: gRPC's status code; None where the server did not give one.
    """

    def __init__(
        self,
        message: str,
        *,
        address: str = "",
        model: str = "",
        signature: str = "",
        request_id: str = "",
        code: grpc.StatusCode | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.address = address
        self.model = model
        self.signature = signature
        self.request_id = request_id
        self.code = code

    def __str__(self) -> str:
        about = {
            "address": self.address,
            "model": self.model,
            "signature": self.signature,
            "request": self.request_id,
            "code": self.code.name if self.code else "",
        }
        told = ", ".join(f"{name} {value}" for name, value in about.items() if value)
        return f"{self.message} [{told}]" if told else self.message


class BadInputError(ServingError, ValueError):
    """The question cannot be answered: not a picture, a vector with NaN, k of 0…

    Refused before anything is sent where it can be seen here; its `code` is None then.
    """


class TooLargeError(BadInputError):
    """A message is over the limit on its size, the client's own (`Limits.message_bytes`) or the server's."""


class ModelNotFoundError(ServingError):
    """The server knows no such model, version or label, or has not loaded it yet: it does not tell which."""


class UnknownSignatureError(ServingError):
    """The model has no signature of that name."""


class NotReadyError(ServingError):
    """The server is up and cannot answer yet, or did not become ready within the time that was given."""


class UnreachableError(ServingError):
    """No connection to the server, or it broke or was cancelled there before the answer."""


class OverloadedError(ServingError):
    """The server's queue is full, or the question waited in it until its deadline. Ask less, or later."""


class CircuitOpenError(ServingError):
    """Nothing was sent, since every address failed too often a moment ago; see `Breaker`."""


class DeadlineError(ServingError, TimeoutError):
    """No answer within the call's `timeout`."""


class UnauthorizedError(ServingError):
    """The server refused the token or the certificate."""


class MixedFingerprintsError(ServingError):
    """Embeddings of different encoders met, whose similarities would mean nothing."""


class ShardError(ServingError):
    """At least one shard gave no answer.

    Its address, model and so on are what all failures have in common.

    Attributes:
        failures: name of the shard to its error.
    """

    def __init__(self, message: str, failures: Mapping[str, ServingError]) -> None:
        super().__init__(message)
        self.failures = dict(failures)
        for name in ("address", "model", "signature", "request_id", "code"):
            values = {getattr(failure, name) for failure in failures.values()}
            if len(values) == 1:
                setattr(self, name, values.pop())

    def __reduce__(self) -> tuple[type[ShardError], tuple[str, dict[str, ServingError]]]:
        return ShardError, (self.message, self.failures)


class BadAnswerError(ServingError):
    """The answer is not what the contract says, so the model is probably not one of ours."""


class ClosedError(ServingError):
    """The client was closed, or it belongs to another process or event loop."""


class ServerError(ServingError):
    """Anything else that the server reports."""
