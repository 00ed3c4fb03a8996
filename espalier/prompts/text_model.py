"""What prompt-level methods need of a model: text in, text out."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from espalier.errors import EspalierError, expect, require

if TYPE_CHECKING:
    from espalier.lm import LanguageModel


class TextModel(Protocol):
    """Anything with `complete(prompt, **options) -> str`: a model of ours (`lm` itself, or `Local` with options), an endpoint
    (`Endpoint`), a stand-in.

    >>> class Echo:
    ...     def complete(self, prompt, **options):
    ...         return prompt.upper()
    >>> ask_all(Echo(), ["a", "b"])
    ['A', 'B']
    """

    def complete(self, prompt: str, **options: Any) -> str:
        """The text that follows a prompt."""


@dataclass(frozen=True)
class Local:
    """A language model of ours as a text model; `options` are those of `lm.generate`, and each call may add to them.

    >>> import espalier as es
    >>> Local(es.load(), {"max_tokens": 32}).complete("Name a moon.")  # doctest: +SKIP
    """

    lm: LanguageModel
    options: dict[str, Any] = field(default_factory=dict)

    def complete(self, prompt: str, **options: Any) -> str:
        """The text of one completion."""
        return self.lm.complete(prompt, **{**self.options, **options}).text

    def complete_all(self, prompts: Sequence[str], **options: Any) -> list[str]:
        """The texts of several completions, decoded in shared passes."""
        return [c.text for c in self.lm.complete_all(list(prompts), **{**self.options, **options})]


@dataclass(frozen=True)
class Endpoint:
    """A server that speaks OpenAI's chat protocol, as a text model.

    Raises `EspalierError` with the server's answer if it refuses.

    >>> Endpoint("http://localhost:8000/v1", "some-model").complete("Hi")  # doctest: +SKIP
    """

    url: str
    model: str
    key: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    timeout: float = 600

    def complete(self, prompt: str, **options: Any) -> str:
        """The content of the first choice."""
        messages = [{"role": "user", "content": prompt}]
        body = {"model": self.model, "messages": messages, **self.options, **options}
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        request = urllib.request.Request(f"{self.url.rstrip('/')}/chat/completions", json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as answer:
                said = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise EspalierError(f"{self.url} answered {error.code}: {error.read()[:300]!r}") from error
        except (OSError, ValueError) as error:
            raise EspalierError(f"{self.url} could not be asked: {error}") from error
        return str(said["choices"][0]["message"]["content"])


def ask_all(model: TextModel, prompts: Sequence[str], **options: Any) -> list[str]:
    """What the model says to each prompt, side by side: in shared passes for a model of ours, else in threads."""
    if not prompts:
        return []
    if hasattr(model, "complete_all"):
        return [_text(said) for said in model.complete_all(list(prompts), **options)]
    with ThreadPoolExecutor(min(8, len(prompts))) as pool:
        return list(pool.map(lambda prompt: asked(model, prompt, **options), prompts))


def asked(model: TextModel, prompt: str, **options: Any) -> str:
    """What the model says to one prompt. Raises `InvalidInput` if it is no text."""
    require(hasattr(model, "complete"), f"the model was {model!r}; expected something with complete(prompt, **options) -> str")
    return _text(model.complete(prompt, **options))


def _text(said: Any) -> str:
    said = getattr(said, "text", said)  # a language model of ours gives completions
    expect(said, str, "what complete() returned", "a text")
    return str(said)
