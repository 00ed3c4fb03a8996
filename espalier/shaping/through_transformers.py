"""Shapers both ways: transformers' processors here, and ours in transformers' `generate`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from espalier.errors import InvalidInput, expect
from espalier.prefix import Prefix
from espalier.shaper import Shaper, Stage
from espalier.shaping.scores import NEVER
from espalier.text.vocab import Vocab

_TRUNCATIONS = ("TopK", "TopP", "MinP", "Typical", "Epsilon", "Eta", "TopH")
_MOVES_BEST = ("Typical", "Eta")
_REMEMBERS = {  # answers that depend on earlier calls, not on the tokens given: drafts and beams would mislead them
    "SynthIDTextWatermarkLogitsProcessor": "es.shaping.watermark(key=…)",
    "UnbatchedClassifierFreeGuidanceLogitsProcessor": "es.shaping.guidance(lm.scorer, negative)",
    "ClassifierFreeGuidanceLogitsProcessor": "es.shaping.guidance(lm.scorer, negative)",
}


def from_transformers(p: Callable[..., Any], stage: Stage | None = None) -> Shaper:
    """The shaper that a transformers LogitsProcessor or LogitsWarper is: it gets all token ids so far and the row's scores.

    The stage is known for transformers' own (temperature, the truncations; all others change logits); say it for yours. A
    processor of logits that makes tokens impossible puts them far below here, so that no constraint is left empty.
    Its cost is its own: most read the whole text at every token. Raises `InvalidInput` for those that keep a state of their own
    from call to call, or work on pairs of rows.

    >>> from transformers import MinPLogitsWarper
    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=6, depth=1, seed=0)
    >>> ours, theirs = es.min_p(0.3), from_transformers(MinPLogitsWarper(0.3))
    >>> [x], [y] = (es.run(es.sample(model | s, es.Prefix([0]), es.stop.budget(9), es.Rng(0))) for s in (ours, theirs))
    >>> x.ids() == y.ids()
    True
    """
    if not callable(p) or isinstance(p, Shaper):
        raise InvalidInput(f"from_transformers({p!r}): expected a LogitsProcessor, such as transformers.MinPLogitsWarper(0.1)")
    if isinstance(p, list):
        raise InvalidInput("a list of processors has several stages; convert each: [from_transformers(p) for p in processors]")
    expect(stage, (Stage, type(None)), "stage", "es.Stage.LOGITS, Stage.TEMPERATURE or Stage.TRUNCATION")
    name = type(p).__name__
    if name in _REMEMBERS:
        raise InvalidInput(
            f"{name} does not shape one row by its own text alone, so it cannot be forked; use {_REMEMBERS[name]}"
        )
    if stage is None:
        truncates = name.endswith("LogitsWarper") and name.startswith(_TRUNCATIONS)
        stage = Stage.TEMPERATURE if name == "TemperatureLogitsWarper" else Stage.TRUNCATION if truncates else Stage.LOGITS
    return _Theirs(p, stage)


class _Theirs(Shaper):
    def __init__(self, processor: Callable[..., Any], stage: Stage) -> None:
        self.processor, self.stage = processor, stage  # type: ignore[misc]
        self.keeps_best = stage is not Stage.TRUNCATION or not type(processor).__name__.startswith(_MOVES_BEST)

    def __call__(self, weights: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
        shaped = []
        for row, x in zip(weights, prefixes, strict=True):
            ids = torch.tensor([x.ids()], dtype=torch.long, device=weights.device)
            after = self.processor(ids, row[None].clone())[0]
            if self.stage is Stage.LOGITS:
                after = torch.where(torch.isneginf(after) & ~torch.isneginf(row), row - NEVER, after)
            shaped.append(after)
        return torch.stack(shaped)


def to_transformers(shaper: Shaper, tokenizer: Any) -> Any:
    """A `transformers.LogitsProcessor` that does what the shaper does, for any number of rows and beams.

    What the rows hold at the first call is the prompt (padding on its left is left out), so use a fresh one for every call of
    `generate`. The state of a shaper with a memory is found by the tokens written, not by the row's number. `tokenizer` is a
    fast tokenizer, ours, or a `Vocab`: what the shaper needs to know of tokens.

    >>> import espalier as es
    >>> process = to_transformers(es.frequency(1.0), Vocab([b"a", b"b", None], end=[2]))
    >>> process(torch.tensor([[0]]), torch.zeros(1, 3)).tolist(), process(torch.tensor([[0, 1]]), torch.zeros(1, 3)).tolist()
    ([[0.0, 0.0, 0.0]], [[0.0, -1.0, 0.0]])
    """
    expect(shaper, Shaper, "the shaper", "a shaper, such as es.shaping.dry()")
    vocab = tokenizer if isinstance(tokenizer, Vocab) else getattr(tokenizer, "vocab", None)
    if not isinstance(vocab, Vocab):
        from espalier.constraints.adapters.transformers import vocab_of

        vocab = vocab_of(tokenizer)
    pad = getattr(tokenizer, "pad_token_id", None)
    try:
        from transformers import LogitsProcessor
    except ImportError:  # `generate` is not there either; the object is as useful elsewhere
        return _Ours(shaper.bound(vocab), pad)
    return type("ShaperLogitsProcessor", (_Ours, LogitsProcessor), {})(shaper.bound(vocab), pad)


class _Ours:
    def __init__(self, shaper: Shaper, pad: int | None) -> None:
        self.shaper, self._pad = shaper, pad
        self._nodes: dict[tuple[int, ...], Prefix] = {}
        self._prompt: int | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        rows = [tuple(row) for row in input_ids.tolist()]
        if self._prompt is None:
            self._prompt = input_ids.shape[1]
        before, self._nodes = self._nodes, {}
        for ids in rows:
            if ids not in self._nodes:
                above = before.get(ids[:-1])
                self._nodes[ids] = above + ids[-1] if above is not None else self._begun(ids)
        weights = scores if self.shaper.stage is Stage.LOGITS else torch.log_softmax(scores, -1)
        return self.shaper(weights, [self._nodes[ids] for ids in rows])

    def _begun(self, ids: tuple[int, ...]) -> Prefix:
        assert self._prompt is not None
        given = 0
        while self._pad is not None and given < self._prompt - 1 and ids[given] == self._pad:
            given += 1
        x = Prefix(ids[given : self._prompt])
        for token in ids[self._prompt :]:
            x = x + token
        return x
