"""Errors as a client sees them: a status and `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

from typing import Any

from espalier.errors import ContextOverflow, EspalierError, InvalidInput, LimitExceeded, Unsatisfiable
from espalier.serving.overload import NotReady, Overloaded

WRONG = "invalid_request_error"


class Failure(Exception):
    """An answer that is an error.

    >>> Failure(404, "no such model", "model_not_found", "model").body["error"]["code"]
    'model_not_found'
    """

    def __init__(
        self, status: int, message: str, code: str, param: str | None = None, kind: str | None = None, retry: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param, self.retry = status, message, code, param, retry
        self.kind = kind or (WRONG if status < 422 else code)

    @property
    def body(self) -> dict[str, Any]:
        """What is sent."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}

    @property
    def headers(self) -> dict[str, str]:
        """The headers that go with it."""
        found = {} if self.retry is None else {"Retry-After": str(self.retry)}
        return found | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})


def wrong(message: str, param: str | None = None) -> Failure:
    """The failure of a request that cannot be."""
    return Failure(400, message, WRONG, param)


def failure(error: BaseException, request_id: str = "") -> Failure:
    """The failure that an error is for a client; what is no error of this library is a bug, of which only the id is told.

    >>> failure(InvalidInput("temperature=-1")).status, failure(KeyError("x"), "r1").status
    (400, 500)
    """
    if isinstance(error, Failure):
        return error
    message = str(error)
    if isinstance(error, Overloaded):
        return Failure(429, message, "overloaded", kind="overloaded", retry=1)
    if isinstance(error, NotReady):
        return Failure(503, message, "unavailable", retry=5)
    if isinstance(error, ContextOverflow):
        return Failure(400, message, "context_length_exceeded", "messages")
    if isinstance(error, InvalidInput | Unsatisfiable):
        return wrong(message)
    if isinstance(error, LimitExceeded):
        return Failure(422, message, "limit_exceeded")
    if isinstance(error, EspalierError):
        return Failure(500, message, "internal_error")
    return Failure(500, f"the server failed at this request ({request_id}); its log says where", "internal_error")
