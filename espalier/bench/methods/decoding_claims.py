"""Two claims about decoding methods, measured: that a context beats memory, and that mirostat holds its target."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from espalier.engine import run
from espalier.prefix import Prefix
from espalier.requests.request import Request
from espalier.rng import Rng
from espalier.run import Decoder, Keep
from espalier.scorer import Ask, Scorer
from espalier.shaping import bias, context_aware, mirostat

if TYPE_CHECKING:
    from espalier.lm import LanguageModel


def counterfactual(lm: LanguageModel, a: float | None, records: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Passages that contradict what the model remembers: how often it answers with the passage, and how often from memory.

    Greedy answers of at most 12 tokens; `a` is the weight of context-aware decoding, None plain decoding."""
    requests = []
    for record in records:
        question = f"{record['question']} Answer with one word."
        scorer = context_aware(lm, record["context"], question, 0.0 if a is None else a)
        requests.append(
            Request(scorer.prompt, scorer=None if a is None else scorer, max_tokens=12, temperature=0, drafter=None)
        )
    found = [one.text.casefold() for one in lm.complete_all(requests)]
    context = [r["answer"].casefold() in text for r, text in zip(records, found, strict=True)]
    memory = [r["memory"].casefold() in text for r, text in zip(records, found, strict=True)]
    setting = "greedy" if a is None else f"context_aware:{a}"
    return {
        "bench": "decoders",
        "task": "counterfactual",
        "decoder": setting.partition(":")[0],
        "setting": setting,
        "texts": len(found),
        "score": statistics.fmean(c and not m for c, m in zip(context, memory, strict=True)),
        "says_passage": statistics.fmean(context),
        "says_memory": statistics.fmean(memory),
    }


def surprise(scorer: Scorer, x: Prefix, tokens: int, rng: Rng) -> Decoder[tuple[float, float]]:
    """The mean surprise in bits of so many tokens drawn from a scorer: under its rows, and before truncation."""
    drawn, whole = list[float](), list[float]()
    for _ in range(tokens):
        [row] = yield Ask(scorer, [x])
        token = row.draw(rng)
        drawn.append(-row.logp(token) / math.log(2))
        whole.append(drawn[-1] - row.log_weight(token) / math.log(2))
        x = yield Keep(x + token)
    return statistics.fmean(drawn), statistics.fmean(whole)


def mirostat_line(lm: LanguageModel, tau: float, version: int, tokens: int) -> dict[str, Any]:
    """How near the surprise of a text under mirostat is to `tau`; end tokens are left out, so that it goes on."""
    scorer = lm.scorer | bias(dict.fromkeys(lm.vocab.end, -math.inf)) | mirostat(tau, version=version)
    start = time.perf_counter()
    [(drawn, whole)] = run(surprise(scorer, lm.prompt("Write a long story about a journey."), tokens, Rng(0)))
    return {
        "bench": "decoders",
        "task": "mirostat",
        "decoder": "mirostat",
        "setting": f"mirostat:{tau}, version={version}",
        "tokens": tokens,
        "tau": tau,
        "surprise_bits": drawn,
        "untruncated_bits": whole,
        "seconds": round(time.perf_counter() - start, 2),
    }
