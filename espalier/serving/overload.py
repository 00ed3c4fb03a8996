"""Why an engine does not take a request now."""

from __future__ import annotations

from espalier.errors import EspalierError, LimitExceeded


class Overloaded(LimitExceeded):
    """The queue is full: the request was not taken; ask again later.

    >>> issubclass(Overloaded, LimitExceeded)
    True
    """


class NotReady(EspalierError):
    """The engine is loading, or ends: it takes no requests.

    >>> issubclass(NotReady, EspalierError)
    True
    """
