"""Bodies of requests as they arrive: bounded in size, in time, and in what JSON they may be."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NoReturn

from starlette.requests import Request

from espalier.serving.http.failure import Failure, wrong
from espalier.serving.http.stream import ClientGone
from espalier.serving.settings import Settings


async def json_body(request: Request, settings: Settings) -> Any:
    """The JSON of a body. Raises `Failure`: 413 for one that is too large, 408 for one that does not come, 400 for no JSON."""
    most = int(settings.max_body_mb * (1 << 20))
    said = request.headers.get("content-length", "")
    if said.isdigit() and int(said) > most:
        raise _large(settings)
    try:
        data = await asyncio.wait_for(_bytes(request, most, settings), settings.body_seconds)
    except TimeoutError:
        raise Failure(408, f"the body did not come within {settings.body_seconds:g} seconds", "request_timeout") from None
    return parsed(data)


async def _bytes(request: Request, most: int, settings: Settings) -> bytes:
    parts, size, more = list[bytes](), 0, True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message.get("body", b""))
        size, more = size + len(parts[-1]), message.get("more_body", False)
        if size > most:
            raise _large(settings)
    return b"".join(parts)


def _large(settings: Settings) -> Failure:
    return Failure(413, f"the body is larger than {settings.max_body_mb:g} MB; send less", "request_too_large")


def parsed(data: bytes) -> Any:
    """The value of JSON text. NaN and infinities are no JSON.

    >>> parsed(b'{"a": [1]}')
    {'a': [1]}
    """
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_refuse)
    except UnicodeDecodeError as error:
        raise wrong(f"the body is not UTF-8 (byte {error.start}); send JSON in UTF-8") from None
    except RecursionError:
        raise wrong("the body holds lists and objects too deep in each other; make it flatter") from None
    except ValueError as error:
        raise wrong(f"the body is no JSON: {str(error)[:200]}") from None


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
