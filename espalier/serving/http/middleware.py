"""What stands before every endpoint, as pure ASGI: request ids, keys, and errors as JSON."""

from __future__ import annotations

import hmac
import json
import re
import secrets
import time

from starlette._utils import get_route_path
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from espalier.serving.http.failure import Failure, failure
from espalier.serving.http.log import log, note
from espalier.serving.http.stream import ClientGone
from espalier.serving.settings import Settings

OPEN = ("/health", "/ready", "/metrics")
_ID = re.compile(r"[\x21-\x7e]{1,128}")


class Outermost:
    """Gives each request its id (the caller's, if it sent one), asks for a key, and turns what is raised into an answer.

    A bug is told with the id alone; its traceback is in the log. A client that has gone is told nothing.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings
        self.keys = [key.encode() for key in settings.api_keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers, started, begun = Headers(scope=scope), time.perf_counter(), False
        given = headers.get("x-request-id", "")
        state = scope.setdefault("state", {})
        state["id"] = given if _ID.fullmatch(given) else secrets.token_hex(12)
        state["log"] = {}

        async def sending(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                state["status"] = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = state["id"]
            await send(message)

        try:
            self._check_key(scope, headers)
            await self.app(scope, receive, sending)
        except ClientGone:
            state["log"]["client_gone"] = True
        except Exception as error:
            failed = failure(error, state["id"])
            if failed.status >= 500 and not isinstance(error, Failure) and failed.code == "internal_error":
                log.error("request failed", exc_info=error, extra={"fields": {"id": state["id"]}})
            state["log"]["error"] = failed.code
            if not begun:
                await answer(failed, sending)
        finally:
            if get_route_path(scope) not in OPEN:
                total = round(time.perf_counter() - started, 4)
                note(
                    id=state["id"],
                    path=scope["path"],
                    status=state.get("status"),
                    **{name: value for name, value in state["log"].items() if name != "id"},
                    total=total,
                )

    def _check_key(self, scope: Scope, headers: Headers) -> None:
        if not self.keys or get_route_path(scope) in OPEN or scope["method"] == "OPTIONS":
            return
        scheme, _, key = headers.get("authorization", "").partition(" ")
        given = key.strip().encode() if scheme.lower() == "bearer" else headers.get("x-api-key", "").encode()
        if not any(hmac.compare_digest(given, own) for own in self.keys):
            said = "the API key is wrong" if given else "there is no API key"
            raise Failure(401, f"{said}; send the header 'Authorization: Bearer KEY'", "invalid_api_key")


async def answer(failed: Failure, send: Send) -> None:
    """Sends a failure as an answer."""
    body = json.dumps(failed.body, ensure_ascii=False).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **failed.headers}
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": failed.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
