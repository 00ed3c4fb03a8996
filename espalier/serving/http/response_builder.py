"""Answers: completions as OpenAI's two endpoints write them, whole or as a stream."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from espalier.requests.completion import Completion
from espalier.serving.http.logprobs import in_chat, in_completion, of_prompt
from espalier.serving.http.reasoning_and_calls import Parts
from espalier.serving.http.request_builder import Asked
from espalier.serving.http.request_fields import Chat, Completions
from espalier.serving.http.special_marks import Spelled
from espalier.serving.request_handle import Done, Event, Text
from espalier.text.vocab import Vocab


class Answer:
    """The answer to a body. `whole` is all of it; `opening`, `event` and `ending` are the chunks of a stream."""

    kind = "chat.completion"
    chunk = "chat.completion.chunk"
    letters = "chatcmpl-"

    def __init__(self, asked: Asked, vocab: Vocab, model: str, request_id: str) -> None:
        self.asked, self.vocab, self.created = asked, vocab, int(time.time())
        self.base = {"id": f"{self.letters}{request_id}", "created": self.created, "model": model}
        self.completions: list[Completion | None] = [None] * len(asked.handles)
        self.written = 0
        self.parts = [Parts(asked.tools, asked.thinks) for _ in range(len(asked.handles) * asked.n)]
        self.spelled = [Spelled(vocab, asked.marks) for _ in self.parts]

    @property
    def prompt_tokens(self) -> int:
        """How many tokens the prompts have."""
        return sum(len(x) for x in self.asked.prompts)

    def usage(self) -> dict[str, Any]:
        """What was used."""
        done = [completion for completion in self.completions if completion is not None]
        written = (
            sum(len(one.tokens) for group in done for one in group) if len(done) == len(self.completions) else self.written
        )
        cached = sum(group.stats.cached_tokens for group in done)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": written,
            "total_tokens": self.prompt_tokens + written,
            "prompt_tokens_details": {"cached_tokens": cached},
        }

    def reason(self, completion: Completion, parts: Parts | None = None) -> str:
        """Why a text ended: "stop", "length", or "tool_calls"; never "stop" for one that does not satisfy its constraint."""
        if completion.finish_reason != "stop" or not completion.whole:
            return "length"
        return "tool_calls" if parts is not None and parts.calls.calls else "stop"

    def whole(self, completions: Sequence[Completion]) -> dict[str, Any]:
        """The whole answer."""
        self.completions = list(completions)
        choices = []
        for at, group in enumerate(completions):
            shown = list(group)
            if self.asked.shown < self.asked.n:  # best_of: the highest log-probability per token
                shown = sorted(shown, key=lambda one: -sum(one.logprobs) / max(1, len(one.logprobs)))[: self.asked.shown]
            choices += [self.choice(at, at * self.asked.shown + i, one) for i, one in enumerate(shown)]
        return {**self.base, "object": self.kind, "choices": choices, "usage": self.usage(), **self.extras(completions)}

    def extras(self, completions: Sequence[Completion]) -> dict[str, Any]:
        """What was asked for beside."""
        body, found = self.asked.body, dict[str, Any]()
        if body.espalier is not None and body.espalier.stats:
            stats = [{**asdict(c.stats), "per_pass": {str(k): v for k, v in c.stats.per_pass.items()}} for c in completions]
            found["espalier"] = {"stats": stats}
        if body.prompt_logprobs is not None and isinstance(body, Chat):
            found["prompt_logprobs"] = self.prompt_scores(0, completions[0])
        if body.return_token_ids and isinstance(body, Chat):
            found["prompt_token_ids"] = self.asked.prompts[0].ids()
        return found

    def prompt_scores(self, at: int, completion: Completion) -> Any:
        """The log-probabilities of a prompt's tokens."""
        return of_prompt(self.asked.prompts[at].ids(), completion.prompt_logprobs or [], self.vocab)

    def choice(self, at: int, index: int, one: Completion) -> dict[str, Any]:
        """One text, whole: here the message of a chat."""
        parts = Parts(self.asked.tools, self.asked.thinks)
        parts.feed(Spelled(self.vocab, self.asked.marks).feed(one.text, one.tokens, final=True), final=True)
        found: dict[str, Any] = {"index": index, "message": parts.message, "logprobs": None}
        if self.asked.logprobs is not None:
            found["logprobs"] = in_chat(one.tokens, one.logprobs, self.vocab, self.asked.logprobs, self.asked.sampled)
        if self.asked.body.return_token_ids:
            found["token_ids"] = one.tokens
        return {**found, "finish_reason": self.reason(one, parts)}

    def opening(self) -> list[dict[str, Any]]:
        """The chunks that a stream begins with."""
        delta = {"role": "assistant", "content": ""}
        return [
            self._chunk([{"index": i, "delta": delta, "logprobs": None, "finish_reason": None}]) for i in range(self.asked.n)
        ]

    def event(self, at: int, event: Event) -> list[dict[str, Any]]:
        """The chunks of an event of request `at`."""
        if isinstance(event, Done):
            self.completions[at] = event.completion
            return [c for i, one in enumerate(event.completion) for c in self.last(at, i, one)]
        self.written += len(event.tokens)
        return self.piece(at, event)

    def piece(self, at: int, event: Text) -> list[dict[str, Any]]:
        """The chunks of a piece of text."""
        index = at * self.asked.n + event.branch
        text = self.spelled[index].feed(event.text, event.tokens)
        deltas: list[dict[str, Any]] = self.parts[index].feed(text) if text else []
        logprobs = None
        if self.asked.logprobs is not None and event.tokens:
            logprobs = in_chat(event.tokens, event.logprobs, self.vocab, self.asked.logprobs, self.asked.sampled)
        if event.tokens and (logprobs is not None or self.asked.body.return_token_ids):
            deltas = deltas or [{"content": ""}]
        chunks = []
        for delta in deltas:
            choice: dict[str, Any] = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": None}
            if self.asked.body.return_token_ids:
                choice["token_ids"] = list(event.tokens) if delta is deltas[0] else []
            chunks.append(self._chunk([choice]))
            logprobs = None
        return chunks

    def last(self, at: int, branch: int, one: Completion) -> list[dict[str, Any]]:
        """The last chunks of a text: what was held back, and why it ended."""
        index = at * self.asked.n + branch
        parts = self.parts[index]
        # a search finds all its texts at the end; only the first one came in pieces
        rest = one.text if branch and not parts.content and self._many(at) else ""
        deltas = parts.feed(self.spelled[index].feed(rest, one.tokens if rest else (), final=True), final=True)
        chunks = [self._chunk([{"index": index, "delta": d, "logprobs": None, "finish_reason": None}]) for d in deltas]
        if rest and chunks and self.asked.body.return_token_ids:
            chunks[0]["choices"][0]["token_ids"] = list(one.tokens)
        reason = self.reason(one, parts)
        return [*chunks, self._chunk([{"index": index, "delta": {}, "logprobs": None, "finish_reason": reason}])]

    def _many(self, at: int) -> bool:
        return self.asked.body.espalier is not None and self.asked.body.espalier.search is not None

    def ending(self) -> list[dict[str, Any]]:
        """The chunk that tells what was used, where it is asked for."""
        options = self.asked.body.stream_options
        done = [one for one in self.completions if one is not None]
        extras = self.extras(done) if len(done) == len(self.completions) else {}
        if (options is None or not options.include_usage) and not extras:
            return []
        usage = {"usage": self.usage()} if options is not None and options.include_usage else {}
        return [{**self.base, "object": self.chunk, "choices": [], **usage, **extras}]

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        options = self.asked.body.stream_options
        made = {**self.base, "object": self.chunk, "choices": choices}
        if options is not None and options.continuous_usage_stats:
            return {**made, "usage": self.usage()}
        return made | ({"usage": None} if options is not None and options.include_usage else {})


class TextAnswer(Answer):
    """The answer to a body of /v1/completions."""

    kind = chunk = "text_completion"
    letters = "cmpl-"

    def __init__(self, asked: Asked, vocab: Vocab, model: str, request_id: str) -> None:
        super().__init__(asked, vocab, model, request_id)
        self.offsets = [0] * len(self.parts)

    def choice(self, at: int, index: int, one: Completion) -> dict[str, Any]:
        body, ids = self.asked.body, self.asked.prompts[at].ids()
        assert isinstance(body, Completions)
        text, tokens, logprobs = one.text, list(one.tokens), list[float | None](one.logprobs)
        if body.echo:
            text = self.vocab.join(ids).decode("utf-8", "replace") + text
            group = self.completions[at]
            scores = group.prompt_logprobs if group is not None else None
            tokens, logprobs = ids + tokens, [None, *(scores or []), *logprobs]
        found: dict[str, Any] = {"index": index, "text": text, "logprobs": None}
        if self.asked.logprobs is not None:
            found["logprobs"] = in_completion(tokens, logprobs, self.vocab, self.asked.logprobs, self.asked.sampled, 0)
        if body.return_token_ids:
            found |= {"token_ids": one.tokens, "prompt_token_ids": ids}
        if body.prompt_logprobs is not None and self.completions[at] is not None:
            found["prompt_logprobs"] = self.prompt_scores(at, self.completions[at])  # type: ignore[arg-type]
        return {**found, "finish_reason": self.reason(one)}

    def opening(self) -> list[dict[str, Any]]:
        body = self.asked.body
        assert isinstance(body, Completions)
        if (
            not body.echo or body.logprobs is not None
        ):  # with log-probabilities the prompt comes at the end, when they are known
            return []
        texts = [self.vocab.join(x).decode("utf-8", "replace") for x in (p.ids() for p in self.asked.prompts)]
        n = self.asked.n
        return [self._text(at * n + i, text, None) for at, text in enumerate(texts) for i in range(n)]

    def _text(self, index: int, text: str, reason: str | None, logprobs: Any = None) -> dict[str, Any]:
        return self._chunk([{"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}])

    @property
    def _late(self) -> bool:  # a prompt with log-probabilities comes at the end, when they are known
        body = self.asked.body
        return isinstance(body, Completions) and bool(body.echo) and body.logprobs is not None

    def piece(self, at: int, event: Text) -> list[dict[str, Any]]:
        index = at * self.asked.n + event.branch
        if self._late:
            return []
        self.parts[index].content += event.text
        logprobs = None
        if self.asked.logprobs is not None and event.tokens:
            ways = (self.vocab, self.asked.logprobs, self.asked.sampled)
            logprobs = in_completion(event.tokens, event.logprobs, *ways, self.offsets[index])
            self.offsets[index] += len(self.vocab.join(event.tokens).decode("utf-8", "replace"))
        if not event.text and logprobs is None and not self.asked.body.return_token_ids:
            return []
        chunk = self._text(index, event.text, None, logprobs)
        if self.asked.body.return_token_ids:
            chunk["choices"][0]["token_ids"] = list(event.tokens)
        return [chunk]

    def last(self, at: int, branch: int, one: Completion) -> list[dict[str, Any]]:
        index = at * self.asked.n + branch
        whole = self.choice(at, index, one)
        text, logprobs = whole["text"], whole["logprobs"]
        if not self._late:
            text, logprobs = one.text if branch and not self.parts[index].content and self._many(at) else "", None
        chunk = self._text(index, text, whole["finish_reason"], logprobs)
        told = ("prompt_logprobs", "prompt_token_ids", *(["token_ids"] if self._late or text else []))
        chunk["choices"][0] |= {name: whole[name] for name in told if name in whole}
        return [chunk]
