"""The engine for asyncio: events, completions and texts that are awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from espalier.requests.completion import Completion, Piece
from espalier.requests.prompt import Prompt
from espalier.requests.request import read
from espalier.serving.engine import Engine
from espalier.serving.request_handle import Done, Event, Handle, Text
from espalier.serving.waiters import Waiter


async def merged(handles: Sequence[Handle]) -> AsyncIterator[tuple[int, Event]]:
    """The events of several requests as they come, each with the request's index; raises what one failed with.

    Ends when all have. Closing it, and a failure, cancel all of them.
    """
    ready = asyncio.Event()
    waiter = Waiter(asyncio.get_running_loop(), ready.set)
    open_ = set(range(len(handles)))
    try:
        for handle in handles:
            handle.listen(waiter)
        while open_:
            await ready.wait()
            ready.clear()
            for index in sorted(open_):
                for event in handles[index].take():
                    if isinstance(event, Done):
                        open_.discard(index)
                    yield index, event
                if index in open_ and (error := handles[index].error) is not None:
                    raise error
    finally:
        for handle in handles:
            handle.listen(None)
            handle.cancel()


async def events(handle: Handle) -> AsyncIterator[Event]:
    """The events of a request as they come, `Done` last; raises what it failed with. Closing it cancels the request."""
    stream = merged([handle])
    try:
        async for _, event in stream:
            yield event
    finally:
        await stream.aclose()  # type: ignore[attr-defined]


class AsyncLanguageModel:
    """A language model for asyncio: `await generate(…)`, `await complete(…)`, `async for piece in stream(…)`.

    The options are those of `lm.generate`; prompts and guides are made in threads of asyncio, so its loop is never held up.
    A task that is cancelled cancels its request.

    >>> import asyncio, espalier as es
    >>> with es.serving.Engine(lm) as engine:  # doctest: +SKIP
    ...     alm = es.AsyncLanguageModel(engine)
    ...     print(asyncio.run(alm.complete("Name three moons of Jupiter.", max_tokens=40)))
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def submit(self, prompt: Prompt, **options: Any) -> Handle:
        """The handle of a request that was handed in."""
        task = asyncio.ensure_future(asyncio.to_thread(self.engine.submit, prompt, **options))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_drop)
            raise

    async def complete(self, prompt: Prompt, **options: Any) -> Completion:
        """The completion of a prompt; under a schema its value is `.parsed`."""
        async for event in events(await self.submit(prompt, **options)):
            if isinstance(event, Done):
                completion = event.completion
        return completion

    async def generate(self, prompt: Prompt, **options: Any) -> Any:
        """The completion of a prompt; with `schema=`, the parsed and validated value (a list of them for n > 1)."""
        wanted = read({name: value for name, value in options.items() if name not in ("priority", "prompt_logprobs")})
        completion = await self.complete(prompt, **options)
        return completion if wanted.schema is None else completion.value()

    async def stream(self, prompt: Prompt, **options: Any) -> AsyncIterator[Piece]:
        """The text in pieces, each as soon as it cannot change any more."""
        async for event in events(await self.submit(prompt, **options)):
            if isinstance(event, Text) and event.text:
                yield Piece(event.text, event.branch)


def _drop(task: asyncio.Future[Handle]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().cancel()
