"""Endpoints that write no texts: models, tokens, health, metrics, and what there is."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from espalier.lm import LanguageModel
from espalier.serving.engine_slot import Place
from espalier.serving.http.body_reader import json_body
from espalier.serving.http.failure import Failure, wrong
from espalier.serving.http.metrics import Metrics
from espalier.serving.http.openapi import WITH_MESSAGES, openapi
from espalier.serving.http.request_builder import chat_ids, options_of
from espalier.serving.http.request_fields import Chat, Messages, Strict, Tokens, Tool, read_body
from espalier.serving.settings import Settings


class Tokenize(Strict):
    """The body of /tokenize: a prompt, or messages."""

    model: str | None = None
    prompt: str | None = None
    messages: Messages | None = None
    add_special_tokens: bool | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    tools: list[Tool] | None = None
    return_token_strs: bool | None = None


class Detokenize(Strict):
    """The body of /detokenize."""

    model: str | None = None
    tokens: Tokens


class Information:
    """The endpoints, over the engine that is, or will be, at a place."""

    def __init__(self, place: Place, settings: Settings, metrics: Metrics) -> None:
        self.place, self.settings, self.metrics, self.since = place, settings, metrics, int(time.time())

    def routes(self) -> list[Route]:
        """All of them."""
        get = {
            "/v1/models": self.models,
            "/v1/models/{id:path}": self.model,
            "/version": self.version,
            "/props": self.props,
            "/openapi.json": self.openapi,
            "/health": self.health,
            "/ready": self.ready,
            "/metrics": self.all_metrics,
        }
        post = {
            "/tokenize": self.tokenize,
            "/detokenize": self.detokenize,
            "/v1/chat/completions/input_tokens": self.input_tokens,
        }
        unsupported = ["/v1/embeddings", "/v1/images/generations", "/v1/audio/speech", "/v1/audio/transcriptions"]
        return [
            *(Route(path, endpoint, methods=["GET"]) for path, endpoint in get.items()),
            *(Route(path, endpoint, methods=["POST"]) for path, endpoint in post.items()),
            *(Route(path, self.unsupported, methods=["POST"]) for path in unsupported),
        ]

    @property
    def lm(self) -> LanguageModel:
        """The model."""
        return self.place.engine.lm

    def _model(self, name: str) -> dict[str, Any]:
        kind = {"id": name, "object": "model", "created": self.since, "owned_by": "espalier"}
        return kind | {"root": self.lm.name, "max_model_len": self.lm.context}

    def names(self) -> list[str]:
        """What the model is called."""
        return list(self.settings.names) or [self.lm.name]

    async def models(self, request: Request) -> Response:
        """GET /v1/models."""
        return JSONResponse({"object": "list", "data": [self._model(name) for name in self.names()]})

    async def model(self, request: Request) -> Response:
        """GET /v1/models/{id}."""
        name = request.path_params["id"]
        if name not in self.names():
            said = f"the model {name!r} is not here; there is {', '.join(self.names())}"
            raise Failure(404, said, "model_not_found", "model")
        return JSONResponse(self._model(name))

    async def version(self, request: Request) -> Response:
        """GET /version."""
        import espalier

        return JSONResponse({"version": espalier.__version__})

    async def props(self, request: Request) -> Response:
        """GET /props, as llama.cpp has it."""
        lm, limits = self.lm, self.place.engine.limits
        begin = lm.tokenizer.begin
        return JSONResponse(
            {
                "default_generation_settings": {"n_ctx": lm.context},
                "total_slots": limits.running,
                "model_alias": self.names()[0],
                "chat_template": lm.tokenizer.template,
                "bos_token": None if begin is None else lm.vocab.name(begin),
                "eos_tokens": [lm.vocab.name(token) for token in sorted(lm.vocab.end)],
                "modalities": {"vision": False, "audio": False},
            }
        )

    async def openapi(self, request: Request) -> Response:
        """GET /openapi.json."""
        engine = self.place.found
        size = engine.lm.vocab.size if engine is not None else None
        return JSONResponse(openapi(Tokenize, Detokenize, keys=bool(self.settings.api_keys), tokens=size))

    async def health(self, request: Request) -> Response:
        """GET /health: 503 when there was work and no turn ended for a while."""
        engine = self.place.found
        stalled = engine.stalled if engine is not None else 0.0
        if stalled > self.settings.stalled_after:
            said = f"there is work, but no turn ended for {stalled:.0f} seconds"
            raise Failure(503, said, "stalled", retry=5)
        return JSONResponse({"status": "ok" if engine is not None else "loading"})

    async def ready(self, request: Request) -> Response:
        """GET /ready: 503 while the model is loaded, or the server ends."""
        engine = self.place.engine  # raises what is told
        return JSONResponse({"status": "ready", "model": engine.lm.name})

    async def all_metrics(self, request: Request) -> Response:
        """GET /metrics."""
        if self.place.found is not None:
            self.metrics.follow(self.place.found)
        return PlainTextResponse(self.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def tokenize(self, request: Request) -> Response:
        """POST /tokenize."""
        body, _ = read_body(Tokenize, await json_body(request, self.settings))
        self._check(body.model)
        if (body.prompt is None) == (body.messages is None):
            raise wrong("write either prompt or messages", "prompt")
        lm = self.lm
        foreign = WITH_MESSAGES if body.prompt is not None else ("add_special_tokens",)
        strange = [name for name in foreign if getattr(body, name) is not None]
        if strange:
            said = "messages" if body.prompt is not None else "a prompt"
            raise wrong(f"{strange[0]} goes with {said}; leave it out", strange[0])
        if body.messages is not None:
            given = body.model_dump(exclude_none=True, exclude={"prompt", "add_special_tokens", "return_token_strs"})
            chat, _ = read_body(Chat, given)
            ids = await asyncio.to_thread(chat_ids, chat, lm)
        else:
            special = body.add_special_tokens is not False
            ids = await asyncio.to_thread(lm.tokenizer.encode, body.prompt or "", special)
        names = [lm.vocab.name(token) for token in ids] if body.return_token_strs else None
        return JSONResponse({"count": len(ids), "max_model_len": lm.context, "tokens": ids, "token_strs": names})

    async def detokenize(self, request: Request) -> Response:
        """POST /detokenize."""
        body, _ = read_body(Detokenize, await json_body(request, self.settings))
        self._check(body.model)
        text = await asyncio.to_thread(self.lm.tokenizer.decode, body.tokens)
        return JSONResponse({"prompt": text})

    async def input_tokens(self, request: Request) -> Response:
        """POST /v1/chat/completions/input_tokens: how many tokens a chat's prompt has."""
        body, _ = read_body(Chat, await json_body(request, self.settings))
        self._check(body.model)
        options_of(body, self.lm)  # as if it were asked for
        ids = await asyncio.to_thread(chat_ids, body, self.lm)
        return JSONResponse({"object": "chat.completion.input_tokens", "input_tokens": len(ids)})

    async def unsupported(self, request: Request) -> Response:
        """What this server does not do."""
        raise Failure(501, f"{request.url.path} is not supported; this server writes texts only", "not_supported")

    def _check(self, model: str | None) -> None:
        if model is not None and model not in self.names():
            said = f"the model {model!r} is not here; there is {', '.join(self.names())}"
            raise Failure(404, said, "model_not_found", "model")
