"""Makes the table from which drafting starts for a model: what it says after one token and after two, in texts of its own.

    python scripts/successors.py --rows FOLDER --seconds 600 --seed 1   # as often as you like, each time with another seed
    python scripts/successors.py --rows FOLDER --seconds 0              # only the table of all that was collected

The model invents a user's message (drawn at temperature 1) and answers it (greedily). No other text is read, so the table
knows no benchmark's questions. The rows' likeliest tokens are kept in FOLDER; the table goes into the package.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import espalier as es
from espalier.drafting.model_free.successors import Seen, Successors
from espalier.lm import LanguageModel
from espalier.models.executors import native

WARM = Path(__file__).resolve().parents[1] / "espalier" / "drafting" / "model_free" / "warm"
BATCH, MESSAGE, ANSWER, TOP = 56, 80, 128, 8


def halves(lm: LanguageModel) -> tuple[list[int], list[int]]:
    """The tokens of the chat template before a message and after it."""
    marker = "@@"
    whole, inner = lm.prompt(marker).ids(), list(lm.tokenizer.encode(marker))
    at = next(i for i in range(len(whole)) if whole[i : i + len(inner)] == inner)
    return whole[:at], whole[at + len(inner) :]


def conversation(lm: LanguageModel, rng: es.Rng) -> Any:
    """A decoder: a message of the model's own, and its answer."""
    before, after = halves(lm)
    end = es.stop.end(lm.vocab.end)
    message = yield from es.sample(lm.scorer, es.Prefix(before), end | es.stop.budget(MESSAGE), rng)
    said = [token for token in message.written() if token not in lm.vocab.end]
    return (
        yield from es.sample(lm.scorer | es.temperature(0), es.Prefix(before + said + after), end | es.stop.budget(ANSWER), rng)
    )


def collect(lm: LanguageModel, seconds: float, seed: int) -> dict[str, np.ndarray]:
    """The last two tokens of every prefix that was asked for, and the likeliest tokens of its row with their probabilities."""
    tails, tokens, p = [], [], []

    def trace(kind: str, what: Any) -> None:
        if kind == "pass":
            _, _, rows = what
            values, ids = native.top(rows.logits, TOP)
            law = (values - rows.logits.logsumexp(-1, keepdim=True)).exp()
            tails.extend(prefix.tail(2) for prefix in rows.prefixes)
            tokens.append(ids.numpy().astype(np.int32))
            p.append(law.numpy().astype(np.float16))

    loop, started, number = es.Loop(trace), time.monotonic(), 0
    while time.monotonic() - started < seconds:
        while len(loop) < BATCH:
            number += 1
            loop.add(conversation(lm, es.Rng(1_000_003 * seed + number)))
        loop.turn()
        loop.kept.clear()
    return {"tails": np.array(tails, np.int32), "tokens": np.concatenate(tokens), "p": np.concatenate(p)}


def seen(folder: Path) -> Iterator[Seen]:
    """All that was collected."""
    for file in sorted(folder.glob("*.npz")):
        with np.load(file) as rows:
            for tail, ids, p in zip(rows["tails"].tolist(), rows["tokens"].tolist(), rows["p"].tolist(), strict=True):
                yield tail, dict(zip(ids, p, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=None)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=WARM)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    lm = es.load(given.model, dtype="bf16")
    given.rows.mkdir(parents=True, exist_ok=True)
    if given.seconds > 0:
        rows = collect(lm, given.seconds, given.seed)
        np.savez_compressed(given.rows / f"{given.seed}.npz", **rows)
    table = Successors.of(seen(given.rows))
    given.out.mkdir(parents=True, exist_ok=True)
    file = given.out / f"{lm.vocab.fingerprint[:16]}.npz"
    table.save(file)
    print(f"{file.name}: {len(table)} contexts, {file.stat().st_size >> 10} KiB")


if __name__ == "__main__":
    main()
