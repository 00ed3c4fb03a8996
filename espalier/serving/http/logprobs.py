"""Log-probabilities as OpenAI's two endpoints write them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from espalier.requests.completion import LogProb
from espalier.text.vocab import Vocab

LEAST = -9999.0  # stands for minus infinity, which JSON has not


def finite(logp: float | None) -> float:
    """A log-probability that JSON can hold.

    >>> finite(-math.inf), finite(-0.5)
    (-9999.0, -0.5)
    """
    return LEAST if logp is None or not math.isfinite(logp) else float(logp)


def value(logp: float, sampled: bool) -> tuple[float, Sequence[tuple[int, float]]]:
    """A token's log-probability and the best tokens, under the model or the law that was drawn from."""
    if not isinstance(logp, LogProb):
        return finite(logp), ()
    if sampled:
        return finite(logp.drawn), logp.drawn_top
    return finite(logp), logp.top


def in_chat(tokens: Sequence[int], logprobs: Sequence[float], vocab: Vocab, top: int, sampled: bool) -> dict[str, Any]:
    """`logprobs` of a choice of a chat."""
    found = []
    for token, logp in zip(tokens, logprobs, strict=True):
        own, best = value(logp, sampled)
        entry = _entry(vocab, token, own)
        entry["top_logprobs"] = [_entry(vocab, other, finite(p)) for other, p in list(best)[:top]]
        found.append(entry)
    return {"content": found, "refusal": None}


def _entry(vocab: Vocab, token: int, logp: float) -> dict[str, Any]:
    return {"token": shown(vocab, token), "logprob": logp, "bytes": list(vocab[token])}


def shown(vocab: Vocab, token: int) -> str:
    """A token as a text: what it writes, or its name."""
    data = vocab[token]
    return data.decode("utf-8", "replace") if data else vocab.name(token)


def in_completion(
    tokens: Sequence[int], logprobs: Sequence[float | None], vocab: Vocab, top: int, sampled: bool, offset: int
) -> dict[str, Any]:
    """`logprobs` of a choice of a completion; None is the first token of a prompt, which nothing predicts."""
    names, own, best, offsets = list[str](), list[float | None](), list[dict[str, float] | None](), list[int]()
    for token, logp in zip(tokens, logprobs, strict=True):
        names.append(shown(vocab, token))
        offsets.append(offset)
        offset += len(vocab[token].decode("utf-8", "replace"))
        if logp is None:
            own.append(None)
            best.append(None)
            continue
        p, tops = value(logp, sampled)
        own.append(p)
        listed = {shown(vocab, other): finite(q) for other, q in list(tops)[:top]}
        best.append({**listed, names[-1]: p} if top else None)
    return {"tokens": names, "token_logprobs": own, "top_logprobs": best if top else None, "text_offset": offsets}


def of_prompt(tokens: Sequence[int], logprobs: Sequence[float], vocab: Vocab) -> list[dict[str, Any] | None]:
    """vLLM's `prompt_logprobs`: for each token of the prompt behind the first, it and the best in its place."""
    found: list[dict[str, Any] | None] = [None]
    for token, logp in zip(tokens[1:], logprobs, strict=True):
        own, best = value(logp, False)
        ranked = {other: (rank, finite(p)) for rank, (other, p) in enumerate(best, 1)}
        ranked.setdefault(token, (0, own))
        found.append(
            {
                str(other): {"logprob": p, "rank": rank or None, "decoded_token": shown(vocab, other)}
                for other, (rank, p) in ranked.items()
            }
        )
    return found
