"""A model behind a server, for `chat --server URL`: what the commands need of it."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from espalier.errors import EspalierError, LoadError

_NAMES = ("max_tokens", "temperature", "top_k", "top_p", "seed")


class Remote:
    """The model of an OpenAI-compatible server at `url`; the key is `$OPENAI_API_KEY`, where one is needed.

    >>> Remote("http://127.0.0.1:8000/").url
    'http://127.0.0.1:8000/v1'
    """

    def __init__(self, url: str) -> None:
        url = url.rstrip("/")
        self.url = url if url.endswith("/v1") else f"{url}/v1"

    @property
    def name(self) -> str:
        """What the server calls its model."""
        with self._ask("/models") as answer:
            return str(json.load(answer)["data"][0]["id"])

    def stream(self, messages: Sequence[Mapping[str, str]], **options: Any) -> Iterator[str]:
        """The text of an answer in pieces. Raises `LoadError` where nobody answers, `EspalierError` for what is refused."""
        given = {name: options[name] for name in _NAMES if options.get(name) is not None}
        with self._ask("/chat/completions", {"messages": list(messages), "stream": True, **given}) as answer:
            for line in answer:
                data = line.decode("utf-8").strip().removeprefix("data: ")
                if not data.startswith("{"):
                    continue
                event = json.loads(data)
                if "error" in event:
                    raise EspalierError(f"the server says: {event['error']['message']}")
                for choice in event["choices"]:
                    if piece := choice["delta"].get("content"):
                        yield piece

    def _ask(self, path: str, body: Any = None) -> Any:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get("OPENAI_API_KEY"):
            headers["Authorization"] = f"Bearer {key}"
        data = None if body is None else json.dumps(body).encode()
        try:
            return urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers))
        except urllib.error.HTTPError as error:
            said = error.read().decode("utf-8", "replace")
            try:
                said = json.loads(said)["error"]["message"]
            except (ValueError, KeyError, TypeError):
                said = said[:200]
            raise EspalierError(f"the server says ({error.code}): {said}") from error
        except (urllib.error.URLError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise LoadError(f"{self.url} does not answer ({reason}); start it with ./run serve, or give another URL") from error
