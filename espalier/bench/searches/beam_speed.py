"""`bench search --beams`: beam search of width 4 beside transformers' own, on the same weights, alternating."""

from __future__ import annotations

import statistics
import time
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
    """One JSON line: tokens per second of both (medians; they take turns), their ratio, how many texts are equal."""
    import transformers

    model: Any = transformers.AutoModelForCausalLM.from_pretrained(locate(lm.name), dtype=torch.float32).eval()
    times: tuple[list[float], list[float]] = ([], [])
    equal = 0
    for number, text in enumerate([PROMPTS[0], *PROMPTS[:count]]):  # the first one warms up
        x = lm.prompt(raw(text))
        began = time.perf_counter()
        stop = stops.end(lm.vocab.end) | stops.budget(tokens)
        [found] = run(Beam(width, norm="mean", stop="never")(lm.scorer, x, stop, Rng(0)))
        middle = time.perf_counter()
        ids = torch.tensor([x.ids()])
        with torch.no_grad():
            out = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                num_beams=width,
                max_new_tokens=tokens,
                do_sample=False,
                length_penalty=1.0,
                early_stopping="never",
                eos_token_id=sorted(lm.vocab.end),
                pad_token_id=min(lm.vocab.end),
            )[0, ids.shape[1] :].tolist()
        if number:
            times[0].append(middle - began)
            times[1].append(time.perf_counter() - middle)
            written = found[0].prefix.written()
            equal += written == out[: len(written)]
    ours, theirs = (statistics.median(each) for each in times)
    line = {"bench": "beams", "model": lm.name, "width": width, "prompts": count, "tokens": tokens, "equal": equal}
    emit([{**line, "ours": tokens / ours, "transformers": tokens / theirs, "ratio": theirs / ours, **machine()}])
    show(
        f"beam {width}, tokens/s",
        ["espalier", "transformers", "ratio", "equal"],
        [[tokens / ours, tokens / theirs, theirs / ours, equal]],
    )
