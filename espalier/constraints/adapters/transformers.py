"""Guides in `transformers`: a LogitsProcessor for `model.generate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from espalier.constraints.guide import Guide
from espalier.constraints.tokens import TokenGuide
from espalier.errors import InvalidInput
from espalier.text.vocab import Vocab

if TYPE_CHECKING:
    import torch


def logits_processor(guide: Guide, vocabulary: Vocab | Any) -> Any:
    """A `transformers.LogitsProcessor` that lets through what the guide allows, for any number of rows and beams.

    Guarantee: every finished row satisfies the guide (an "over" guide may leave a row without any token: then this raises,
    since `generate` cannot back up); scores of allowed tokens are unchanged. What the rows hold at the first call is the
    prompt, so use a fresh processor for every call of `generate`. `vocabulary` is a `Vocab` or a fast tokenizer.

    Rows may be reordered between calls (beam search): states are found by the tokens written, not by the row's number.

    >>> import torch
    >>> from espalier.constraints import regex
    >>> process = logits_processor(regex("ab*"), Vocab([b"a", b"b", None], end=[2]))
    >>> process(torch.tensor([[1, 0]]), torch.zeros(1, 3)).tolist()
    [[0.0, -inf, -inf]]
    >>> process(torch.tensor([[1, 0, 0]]), torch.zeros(1, 3)).tolist()
    [[-inf, 0.0, 0.0]]
    """
    vocab = vocabulary if isinstance(vocabulary, Vocab) else vocab_of(vocabulary)
    law = TokenGuide(guide, vocab)
    try:
        from transformers import LogitsProcessor
    except ImportError:  # `generate` is not there either; the object is as useful elsewhere
        return _Process(law)
    processor = type("GuideLogitsProcessor", (_Process, LogitsProcessor), {})
    return processor(law)


class _Process:
    def __init__(self, law: TokenGuide) -> None:
        self.law = law
        self._prompt: int | None = None
        self._states: dict[tuple[int, ...], Any] = {}

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        import torch

        if self._prompt is None:
            self._prompt = input_ids.shape[1]
        written = [tuple(row) for row in input_ids[:, self._prompt :].tolist()]
        before, self._states = self._states, {}
        masks = torch.ones(scores.shape, dtype=torch.bool)
        size = min(scores.shape[1], self.law.vocab.size)
        for row, tokens in enumerate(written):
            if tokens not in self._states:
                self._states[tokens] = self._state(before, tokens)
            state = self._states[tokens]
            if state is None or (tokens and tokens[-1] in self.law.vocab.end):
                continue  # a row that has ended is filled up by `generate`
            mask = self.law.filled(state)
            if not bool(mask.any()):
                raise InvalidInput(
                    f"{self.law.guide!r} allows no token here: it is not exact, and transformers' generate cannot back up; "
                    "use espalier's own decoders, which do"
                )
            masks[row] = False
            masks[row, :size] = mask[:size]
        return scores.masked_fill(~masks.to(scores.device), -torch.inf)

    def _state(self, before: dict[tuple[int, ...], Any], tokens: tuple[int, ...]) -> Any:
        if tokens and tokens[:-1] in before:
            state = before[tokens[:-1]]
            return self.law.advance(state, tokens[-1]) if state is not None else None
        state = self.law.start()
        for token in tokens:
            state = self.law.advance(state, token) if state is not None else None
        return state


def vocab_of(tokenizer: Any) -> Vocab:
    """The vocabulary of a fast `transformers` tokenizer; its end token ends texts."""
    from espalier.text.tokenizer import Tokenizer

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise InvalidInput(
            f"{type(tokenizer).__name__} is neither a Vocab nor a fast tokenizer; load it with "
            "AutoTokenizer.from_pretrained(name), or make a Vocab of the tokens' bytes"
        )
    end = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    return Tokenizer(backend, end=end).vocab
