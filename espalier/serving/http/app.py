"""The ASGI app: OpenAI's endpoints over an engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from espalier.requests.completion import Completion
from espalier.serving.asynchronous import merged
from espalier.serving.engine import Engine
from espalier.serving.engine_slot import Place
from espalier.serving.http.body_reader import json_body
from espalier.serving.http.failure import Failure, failure
from espalier.serving.http.info_routes import Information
from espalier.serving.http.log import log
from espalier.serving.http.metrics import Metrics
from espalier.serving.http.middleware import Outermost
from espalier.serving.http.request_builder import Asked, ask
from espalier.serving.http.request_fields import Chat, Completions, Shared, read_body
from espalier.serving.http.response_builder import Answer, TextAnswer
from espalier.serving.http.stream import EventStream, data, unless_gone
from espalier.serving.request_handle import Done
from espalier.serving.settings import Settings


def app(engine: Engine | Place, settings: Settings | None = None) -> Starlette:
    """The ASGI app of an engine, to be served or to be mounted in another app.

    Guarantee: every answer has `X-Request-Id`; every error is `{"error": {"message", "type", "param", "code"}}`; a field that
    is not known is refused; what a client that has gone asked for is cancelled.

    >>> import espalier as es
    >>> served = es.serving.app(engine, es.serving.Settings(api_keys=["secret"]))  # doctest: +SKIP
    """
    settings = settings or Settings()
    place = engine if isinstance(engine, Place) else Place(engine)
    endpoints = Endpoints(place, settings)
    information = Information(place, settings, endpoints.metrics)
    routes = [
        Route("/v1/chat/completions", endpoints.chat, methods=["POST"]),
        Route("/v1/completions", endpoints.completions, methods=["POST"]),
        *information.routes(),
    ]
    middleware = [Middleware(Outermost, settings=settings)]
    if settings.cors_origins:
        origins = list(settings.cors_origins)
        cors = Middleware(CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"])
        middleware.insert(0, cors)
    return Starlette(routes=routes, middleware=middleware, exception_handlers={HTTPException: _refused})


async def _refused(request: Request, error: Exception) -> Response:
    """Routes and methods that there are not."""
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request_error")
    said = f"{request.method} {request.url.path}: {str(error.detail).lower()}; /openapi.json lists what there is"
    return JSONResponse(Failure(error.status_code, said, code).body, error.status_code, headers=error.headers)


class Endpoints:
    """The two endpoints that write texts."""

    def __init__(self, place: Place, settings: Settings) -> None:
        self.place, self.settings, self.metrics = place, settings, Metrics()
        self._followed: Engine | None = None
        self._coming = set[object]()  # bodies of which requests are made now

    @property
    def engine(self) -> Engine:
        """The engine, watched by the metrics."""
        engine = self.place.engine
        if self._followed is not engine:
            self.metrics.follow(engine)
            self._followed = engine
        return engine

    async def chat(self, request: Request) -> Any:
        """POST /v1/chat/completions."""
        return await self.answer(request, Chat, Answer)

    async def completions(self, request: Request) -> Any:
        """POST /v1/completions."""
        return await self.answer(request, Completions, TextAnswer)

    async def answer(self, request: Request, kind: type[Shared], form: type[Answer]) -> Any:
        """The answer to a body of this kind, whole or as a stream."""
        engine, settings = self.engine, self.settings
        engine.check_open(len(self._coming))  # before anything is read: refusing is quick, however many come
        given = await json_body(request, settings)
        body = self._body(kind, given)
        engine.check_open(len(self._coming))
        model = named(body.model, engine, settings)
        request_id = body.request_id or request.state.id
        started = time.perf_counter()
        asked = await unless_gone(request.receive, self._ask(engine, body))
        self.metrics.guides.observe(time.perf_counter() - started)
        answer = form(asked, engine.lm.vocab, model, request_id)
        line = request.state.log
        if settings.log_prompts:
            line["prompt"] = [engine.lm.tokenizer.decode(x.ids()) for x in asked.prompts]
        if body.stream:
            told = partial(self._told, request)
            return EventStream(self._chunks(asked, answer, line, started), settings.ping, told, {})
        completions = await unless_gone(request.receive, self._whole(asked))
        self._noted(line, answer, completions, started)
        return JSONResponse(answer.whole(completions))

    def _body(self, kind: type[Shared], given: Any) -> Shared:
        if self.settings.unknown == "warn" and isinstance(given, dict):
            known = {field.alias or name for name, field in kind.model_fields.items()}
            if strange := sorted(given.keys() - known):
                log.warning("fields that are not known were left out: %s", ", ".join(strange)[:500])
            given = {name: value for name, value in given.items() if name in known}
        return read_body(kind, given)[0]

    def _told(self, request: Request, error: BaseException) -> Failure:
        failed = failure(error, request.state.id)
        request.state.log["error"] = failed.code
        if failed.code == "internal_error":
            log.error("request failed", exc_info=error, extra={"fields": {"id": request.state.id}})
        return failed

    async def _ask(self, engine: Engine, body: Shared) -> Asked:
        """Hands the requests in from a thread; if nobody waits any more when it is done, they are cancelled."""
        self._coming.add(coming := object())
        made = partial(self._coming.discard, coming)
        task = asyncio.ensure_future(asyncio.to_thread(ask, engine, self.settings, body, made))
        task.add_done_callback(lambda _: made())
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(lambda done: None if done.cancelled() or done.exception() else done.result().cancel())
            raise

    async def _whole(self, asked: Asked) -> list[Completion]:
        found: dict[int, Completion] = {}
        async for at, event in merged(asked.handles):
            if isinstance(event, Done):
                found[at] = event.completion
        return [found[at] for at in range(len(asked.handles))]

    async def _chunks(self, asked: Asked, answer: Answer, line: dict[str, Any], started: float) -> AsyncIterator[bytes]:
        events = merged(asked.handles)
        try:
            opened = False
            async for at, event in events:
                if not opened:
                    opened = True
                    for chunk in answer.opening():
                        yield data(chunk)
                for chunk in answer.event(at, event):
                    yield data(chunk)
            for chunk in answer.ending():
                yield data(chunk)
            self._noted(line, answer, [one for one in answer.completions if one is not None], started)
            yield b"data: [DONE]\n\n"
        finally:
            await events.aclose()  # type: ignore[attr-defined]
            asked.cancel()

    def _noted(self, line: dict[str, Any], answer: Answer, completions: list[Completion], started: float) -> None:
        answer.completions = list(completions)
        usage = answer.usage()
        line |= {
            "prompt_tokens": usage["prompt_tokens"],
            "cached": usage["prompt_tokens_details"]["cached_tokens"],
            "tokens": usage["completion_tokens"],
            "first_token": round(min((c.stats.first_token_seconds for c in completions), default=0.0), 4),
            "reason": completions[0].finish_reason if completions else None,
        }


def named(model: str | None, engine: Engine, settings: Settings) -> str:
    """The name that an answer has for its model. Raises `Failure` for one that is not here."""
    names = list(settings.names) or [engine.lm.name]
    if model is not None and model not in names:
        raise Failure(404, f"the model {model!r} is not here; there is {', '.join(names)}", "model_not_found", "model")
    return model or names[0]
