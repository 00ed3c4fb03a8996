"""Who writes a text under a schema: this library's own way, the masks of other engines in the same loop, or no constraint."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import espalier as es
from espalier.bench.structured.engines import PEERS, JsonEngine, allowed
from espalier.lm import LanguageModel
from espalier.requests.completion import Completion
from espalier.token_constraint import TokenConstraint

if TYPE_CHECKING:
    from torch import Tensor


class Writer:
    """A way to write: `ready(schema)` compiles, `write` writes."""

    def __init__(self, name: str, lm: LanguageModel, peer: JsonEngine | None = None) -> None:
        self.name, self.lm, self.peer = name, lm, peer
        self._options: dict[str, Any] = {}

    def ready(self, schema: Any) -> None:
        """Compile the schema. Raises what the engine raises if it does not take it."""
        if self.peer is not None:
            self.peer.compile(json.dumps(schema))
            self._options = {"constraint": Masked(self.peer, self.lm.vocab.end, self.lm.vocab.size)}
        elif self.name != NONE:
            guide = es.json_schema(schema, numbers="plain")
            self._options = {"constraint": guide, "in_time": self.name == OURS}

    def write(self, prompt: Any, tokens: int) -> Completion:
        """The completion under the schema: greedy, nothing drafted, no prompt known from another writer."""
        options = self._options | {"max_tokens": tokens, "temperature": 0.0, "drafter": None, "cache_salt": self.name}
        return self.lm.complete(prompt, **options)


OURS, NO_HURRY, NONE = "espalier", "espalier, in_time=False", "none"


def writers(lm: LanguageModel, engines: Sequence[str]) -> list[Writer]:
    """Ours with its default (the text ends in time) and without, the peers, and no constraint."""
    made = []
    for name in engines:
        if name == OURS:
            made += [Writer(OURS, lm), Writer(NO_HURRY, lm)]
        else:
            made.append(Writer(name, lm, PEERS[name][1](lm.vocab.tokens, min(lm.vocab.end), _file(lm))))
    return [*made, Writer(NONE, lm)]


def _file(lm: LanguageModel) -> Path:
    from espalier.models.load.open import locate

    return locate(lm.name) / "tokenizer.json"


class Masked(TokenConstraint):
    """Another engine's masks as a constraint: a state is the tokens written, which the engine follows."""

    exactness = "over"

    def __init__(self, engine: JsonEngine, ends: Sequence[int] | frozenset[int], size: int) -> None:
        self.engine, self.ends, self.size = engine, ends, size
        self._at: tuple[int, ...] | None = None

    def start(self) -> tuple[int, ...]:
        return ()

    def advance(self, state: tuple[int, ...], token: int) -> tuple[int, ...] | None:
        if not self.allowed(state, token):
            return None
        return state if token in self.ends else (*state, token)

    def allowed(self, state: tuple[int, ...], token: int) -> bool:
        self._go(state)
        return allowed(self.engine.words, token)

    def mask(self, state: tuple[int, ...]) -> Tensor:
        import torch

        self._go(state)
        bits = np.unpackbits(self.engine.words.view(np.uint8), bitorder="little")[: self.size]
        return torch.from_numpy(bits.astype(bool))

    def _go(self, state: tuple[int, ...]) -> None:
        if self._at == state:
            return
        known = self._at if self._at is not None and state[: len(self._at)] == self._at else None
        if known is None:
            self.engine.start()
        for token in state[len(known or ()) :]:
            self.engine.commit(token)
        self.engine.mask()
        self._at = state
