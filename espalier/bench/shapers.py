"""`espalier bench shapers`: what each shaper of the catalogue costs per row, and whether a long text makes it dearer."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

import torch

from espalier import catalogue
from espalier.bench.report import emit, machine, median, show
from espalier.capabilities import Capabilities, Extra
from espalier.constraints import regex
from espalier.engine import run
from espalier.errors import require
from espalier.models.executors.torch_threads import one_thread
from espalier.prefix import Prefix
from espalier.rows import Rows
from espalier.run import Decoder
from espalier.scorer import Ask, Model, Scorer
from espalier.shaper import Shaper, Stage
from espalier.shaping.history import History
from espalier.text.vocab import Vocab

USUAL = {  # arguments as people use them, where the catalogue's example is made for a toy
    "dry": "0.8, 1.75, breakers=()",
    "momentum": "5, 0.2",
    "no_repeat": "3",
    "penalty": "1.5, window=100",
    "top_k": "40",
    "mirostat": "5.0, 0.1",
    "typical": "0.95",
    "epsilon": "3e-4",
    "eta": "3e-4",
    "top_h": "0.4",
    "top_n_sigma": "1.0",
    "xtc": "0.1, 0.5",
    "watermark": "key=3",
    "fsd": "3, 0.45",
    "contrastive_search": "4, 0.6",
    "look_back": "1.0, 8",
    "rpg": "0.9, 0.8",
}
BUILT = ("fsd", "contrastive_search", "look_back")  # with a memory, and built on a scorer


def shapers_bench(names: Sequence[str], sizes: Sequence[int], rows: Sequence[int], rounds: int) -> list[dict[str, Any]]:
    """Microseconds per row of each shaper, its state's step included; one JSON line per shaper, vocabulary and rows."""
    known = [entry.name for entry in catalogue.entries("shaper") if not entry.needs or entry.name in ("rpg", *BUILT)]
    wrong = sorted(set(names) - set(known))
    require(not wrong, f"--shaper {', '.join(wrong)}: choose from {', '.join(known)}")
    results: list[dict[str, Any]] = []
    for size in sizes:
        vocab = Vocab([None, *(b"%d " % i for i in range(1, size))], end=[0])
        for name in names or known:
            for count in rows if name not in BUILT else [1]:
                cost = _cost(_made(name, vocab), size, count, rounds) if name not in BUILT else _built_cost(name, vocab, rounds)
                results.append({"shaper": name, "vocab": size, "rows": count, **cost})
                emit([{**machine(), **results[-1]}])
    columns = ["shaper", "V", "N", "µs per row after 512 tokens", "after 8,192", "ratio"]
    keys = ("shaper", "vocab", "rows", "us_512", "us_8192", "ratio")
    show("What a row costs", columns, [[result[key] for key in keys] for result in results])
    return results


def _made(name: str, vocab: Vocab) -> Shaper:
    entry = catalogue.find("shaper", name)
    shaper: Shaper = entry.make(USUAL.get(name, entry.example), guide=regex("[0-9 ]*"))
    return shaper.bound(vocab)


class _Free(Model):
    """A model whose rows and hidden states cost nothing."""

    def __init__(self, vocab: Vocab) -> None:
        bits = torch.Generator().manual_seed(0)
        self.vocab, self.vocab_size = vocab, vocab.size
        self._rows, self._hidden = torch.randn(8, vocab.size, generator=bits) * 3, torch.randn(512, 576, generator=bits)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(invariant=True, extras=frozenset({Extra.HIDDEN}))

    def forward(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Rows:
        at = [len(x) % 8 for x in prefixes]
        rows = self._rows[at[0]][None] if len(at) == 1 else self._rows[at]
        return Rows(rows, prefixes, {"hidden": self._hidden[[x.last % 512 for x in prefixes]]} if want else {})


def _built_cost(name: str, vocab: Vocab, rounds: int) -> dict[str, Any]:
    """The medians after 512 and 8,192 tokens of a row of a scorer that is built on a free model, less that model's own."""
    draws, spent = random.Random(0), dict[int, float]()
    with one_thread():
        for length in (512, 8192):
            free = _Free(vocab)
            scorer = catalogue.find("shaper", name).make(USUAL[name], free)
            x, taken = Prefix([int(vocab.size ** draws.random()) for _ in range(length)]), list[float]()
            for _ in range(rounds + 3):
                both = [_asked(each, x) for each in (free, scorer)]
                taken.append(both[1] - both[0])
                x = x + int(vocab.size ** draws.random())
            spent[length] = median(taken[3:]) * 1e6  # the first read the prompt
    return {"us_512": spent[512], "us_8192": spent[8192], "ratio": spent[8192] / spent[512]}


def _asked(scorer: Scorer, x: Prefix) -> float:
    def ask() -> Decoder[Rows]:
        return (yield Ask(scorer, [x]))  # type: ignore[no-any-return]

    start = time.perf_counter()
    run(ask())
    return time.perf_counter() - start


def _cost(shaper: Shaper, size: int, count: int, rounds: int) -> dict[str, Any]:
    """The medians after 512 and after 8,192 tokens; the latter for one row of a shaper with a memory."""
    bits, draws = torch.Generator().manual_seed(0), random.Random(0)
    weights = torch.randn(count, size, generator=bits) * 3
    weights = weights if shaper.stage is Stage.LOGITS else torch.log_softmax(weights, -1)
    spent: dict[int, list[float]] = {512: [], 8192: []}
    with one_thread():
        xs = [Prefix([1]) for _ in range(count)]
        last = 8192 if isinstance(shaper, History) and count == 1 else 512
        for length in range(1, last + rounds):
            xs = [x + int(size ** draws.random()) for x in xs]
            start = time.perf_counter()
            if 0 <= length - 512 < rounds or length >= 8192:
                shaper(weights, xs)
                spent[512 if length < 4096 else 8192].append((time.perf_counter() - start) / count * 1e6)
            elif isinstance(shaper, History):
                for x in xs:
                    shaper.state(x)
    early = median(spent[512])
    late = median(spent[8192]) if spent[8192] else None
    return {"us_512": early, "us_8192": late if late is not None else early, "ratio": 1.0 if late is None else late / early}
