"""`bench search --beams`: beam search of width 4 beside transformers' own, on the same weights, alternating."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from espalier import stop as stops
from espalier.bench.report import emit, machine, show
from espalier.decoders import Beam
from espalier.engine import run
from espalier.models.load.open import locate
from espalier.requests.prompt import raw
from espalier.rng import Rng

if TYPE_CHECKING:
    from espalier.lm import LanguageModel

PROMPTS = [
    "The capital of France is",
    "Once upon a time there was a",
    "In 1969, the first humans",
    "Water boils at",
    "The three primary colours are",
    "My favourite recipe begins with",
    "The train to London leaves",
    "A prime number is a number that",
    "def fibonacci(n):",
    "Dear Sir or Madam,",
    "The moon is smaller than",
    "She opened the door and",
    "Photosynthesis is the process by which",
    "To install the program, first",
    "The first rule of the club is",
    "In the year 2050, people will",
    "The recipe needs two cups of",
    "He looked at the map and said",
    "The sum of two even numbers is",
    "It was a dark and stormy",
]


def beam_bench(lm: LanguageModel, count: int, tokens: int, width: int = 4) -> None:
    """Two JSON lines: one prompt after the other (they take turns at each), and all prompts side by side: the rows of all
    beams share passes here, and are one padded batch there. Tokens per second of both, their ratio, how many are equal."""
    import transformers

    model: Any = transformers.AutoModelForCausalLM.from_pretrained(locate(lm.name), dtype=torch.float32).eval()
    texts = PROMPTS[:count]
    _ours(lm, texts[:1], tokens, width)  # the first ones warm up
    _theirs(lm, model, texts[:1], tokens, width)
    lines = []
    for beside in dict.fromkeys((1, count)):
        times, equal = [0.0, 0.0], 0
        for at in range(0, count, beside):
            began = time.perf_counter()
            found = _ours(lm, texts[at : at + beside], tokens, width)
            middle = time.perf_counter()
            wanted = _theirs(lm, model, texts[at : at + beside], tokens, width)
            times = [times[0] + middle - began, times[1] + time.perf_counter() - middle]
            equal += sum(a == b[: len(a)] for a, b in zip(found, wanted, strict=True))
        ours, theirs = (count * tokens / each for each in times)
        line = {"bench": "beams", "model": lm.name, "width": width, "prompts": count, "side_by_side": beside, "tokens": tokens}
        lines.append({**line, "ours": ours, "transformers": theirs, "ratio": ours / theirs, "equal": equal})
        emit([{**lines[-1], **machine()}])
    columns = ["side_by_side", "ours", "transformers", "ratio", "equal"]
    show(f"beam {width}, tokens/s", columns, [[line[key] for key in columns] for line in lines])


def _ours(lm: LanguageModel, texts: Sequence[str], tokens: int, width: int) -> list[list[int]]:
    stop = stops.end(lm.vocab.end) | stops.budget(tokens)
    beam = Beam(width, norm="mean", stop="never")
    found = run(*(beam(lm.scorer, lm.prompt(raw(text)), stop, Rng(0)) for text in texts))
    return [best.prefix.written() for best, *_ in found]


def _theirs(lm: LanguageModel, model: Any, texts: Sequence[str], tokens: int, width: int) -> list[list[int]]:
    prompts = [lm.prompt(raw(text)).ids() for text in texts]
    longest, pad = max(map(len, prompts)), min(lm.vocab.end)
    out = model.generate(
        torch.tensor([[pad] * (longest - len(ids)) + ids for ids in prompts]),
        attention_mask=torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompts]),
        num_beams=width,
        max_new_tokens=tokens,
        do_sample=False,
        length_penalty=1.0,
        early_stopping="never",
        eos_token_id=sorted(lm.vocab.end),
        pad_token_id=pad,
    )
    written: list[list[int]] = out[:, longest:].tolist()
    return written
