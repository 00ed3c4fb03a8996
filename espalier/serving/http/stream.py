"""Answers that end when the client goes: server-sent events, and work that is waited for."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from starlette.types import Message, Receive, Scope, Send

from espalier.serving.http.failure import Failure

T = TypeVar("T")


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


async def gone(receive: Receive) -> None:
    """Returns when the client has closed its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_gone(receive: Receive, work: Awaitable[T]) -> T:
    """What the work returns. Raises `ClientGone` and cancels it when the client goes first."""
    doing = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(gone(receive))
    try:
        await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise ClientGone
        return doing.result()
    finally:
        await _stop(doing, leaving)


async def _stop(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def data(value: Any) -> bytes:
    """One event of a stream."""
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


class EventStream:
    """A stream of server-sent events, as an ASGI answer. An error before the first event is an answer of its own; after it,
    it is the last event. A comment is sent after `ping` silent seconds. When the client goes, the events are closed."""

    def __init__(
        self, events: AsyncIterator[bytes], ping: float, told: Callable[[BaseException], Failure], headers: dict[str, str]
    ) -> None:
        self.events, self.ping, self.told, self.headers = events, ping, told, headers
        self._begun, self._sent, self._sending = False, time.monotonic(), asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        pinging = asyncio.ensure_future(self._ping(send))
        try:
            await unless_gone(receive, self._write(send, pinging))
        finally:
            await _stop(pinging)
            await self.events.aclose()  # type: ignore[attr-defined]

    async def _write(self, send: Send, pinging: asyncio.Future[Any]) -> None:
        more = True
        while more:
            try:
                chunk = await anext(self.events)
            except StopAsyncIteration:
                chunk, more = b"", False
            except Exception as error:
                failed = self.told(error)
                async with self._sending:  # no ping may begin the stream beside the answer that the error is
                    await _stop(pinging)
                if not self._begun:
                    raise failed from error
                chunk, more = data(failed.body), False
            await self._put(send, chunk, more)

    async def _ping(self, send: Send) -> None:
        while True:
            await asyncio.sleep(max(self.ping / 10, self._sent + self.ping - time.monotonic()))
            if time.monotonic() >= self._sent + self.ping and not self._sending.locked():  # else the client is slow
                await self._put(send, b": ping\n\n", True)

    async def _put(self, send: Send, chunk: bytes, more: bool) -> None:
        async with self._sending:
            if not self._begun:
                self._begun = True
                await send(self._start())
            await send({"type": "http.response.body", "body": chunk, "more_body": more})
            self._sent = time.monotonic()

    def _start(self) -> Message:
        headers = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache", "x-accel-buffering": "no"}
        pairs = [(name.encode(), text.encode()) for name, text in (headers | self.headers).items()]
        return {"type": "http.response.start", "status": 200, "headers": pairs}
