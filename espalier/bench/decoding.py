"""`espalier bench decode`: plain decoding and prompt lookup against peers, the cost of a pass, the loop's own overhead."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

import espalier as es
from espalier.bench.peers import TORCH, LlamaCpp, OpenVino, Ours, Peer, Transformers, peak_mb
from espalier.bench.report import emit, machine, median, show
from espalier.drafting.draft import Draft
from espalier.lm import LanguageModel
from espalier.models.executors import native

NODES = (1, 2, 4, 8, 16, 32)
PROMPTS = (
    "Explain to a child why the sky is blue, then explain it again to a physicist.",
    "Write a short story about a lighthouse keeper who finds a message in a bottle.",
    "List the planets of the solar system and one remarkable fact about each of them.",
    "Summarize: The meeting was moved from Monday to Tuesday because the room was taken on Monday. Everyone agreed to Tuesday.",
)
COLUMNS = (
    "system",
    "ms_per_token",
    "tokens_per_s",
    "first_token_ms",
    "tokens_per_pass",
    "ratio",
    "same_text",
    "peak_memory_mb",
)


def load_prompts(lm: LanguageModel, path: Path | None, limit: int, context: int) -> list[list[int]]:
    """The first `limit` prompts as tokens, each cut or repeated to exactly `context` tokens."""
    texts = list(PROMPTS)
    if path is not None:
        texts = [json.loads(line)["turns"][0] for line in path.read_text("utf-8").splitlines() if line.strip()]
    prompts = []
    for text in texts[:limit]:
        ids = lm.prompt(text).ids()
        prompts.append((ids * (1 + context // len(ids)))[:context])
    return prompts


def decode_bench(
    load: Callable[[str], LanguageModel],
    folder: Path,
    dtypes: Sequence[str],
    prompts_file: Path | None = None,
    limit: int = 4,
    context: int = 128,
    tokens: int = 48,
    rounds: int = 3,
    openvino: Path | None = None,
    model: str | None = None,
    llamacpp: Path | None = None,
    requests: Sequence[int] = (),
) -> list[dict[str, Any]]:
    """Measures all systems for each dtype, prints a table and JSON lines, and returns the results.

    `requests` are numbers of requests that are measured at once besides.
    """
    results: list[dict[str, Any]] = []
    for dtype in dtypes:
        lm = load(dtype)
        peers: list[Peer] = [Ours(f"espalier {dtype}", lm), Ours(f"espalier {dtype} + lookup", lm, es.drafting.PromptLookup())]
        prompts = load_prompts(lm, prompts_file, limit, context)
        ours, others = peak_mb("espalier", dtype, model), None
        if dtype in TORCH and Path(folder).is_dir():  # it reads no GGUF as we are given one
            others = peak_mb("transformers", dtype, model)
            theirs = Transformers.load(folder, TORCH[dtype])
            peers.append(Transformers(f"transformers {dtype}", theirs))
            peers.append(Transformers(f"transformers {dtype} + lookup", theirs, prompt_lookup_num_tokens=8))
        if openvino is not None and OpenVino.installed():
            peers.append(OpenVino("openvino-genai", openvino))
        if llamacpp is not None:
            slots, room = max(requests, default=1), context + tokens + 16
            peers.append(LlamaCpp("llama.cpp", llamacpp, slots, room, native.threads(), lm.tokenizer.encode))
        rows = throughput(peers, prompts, tokens, rounds)
        for row in rows:
            row |= {
                "dtype": dtype,
                "context": context,
                "peak_memory_mb": ours if row["system"].startswith("espalier") else others,
            }
        results += together([peer for peer in peers if "lookup" not in peer.name], prompts, tokens, requests, rounds)
        nodes = node_cost(lm, prompts[0], rounds=max(10, 5 * rounds))
        results += [*rows, {"bench": "nodes", "system": f"espalier {dtype}", "context": context, "ms": nodes}]
        show(
            f"decode, {dtype}, context {context}, {tokens} tokens",
            COLUMNS,
            [[r[column] for column in COLUMNS] for r in rows],
        )
        show("ms per pass against tree nodes", ["nodes", *map(str, nodes)], [["ms", *nodes.values()]])
    results.append({"bench": "loop", "system": "espalier", "us_per_token": loop_overhead()})
    show("the loop itself, with a free model", ["", "µs per token"], [["espalier", results[-1]["us_per_token"]]])
    about = machine()
    emit({**result, **about} for result in results)
    return results


def together(
    peers: Sequence[Peer], prompts: Sequence[Sequence[int]], tokens: int, counts: Sequence[int], rounds: int
) -> list[dict[str, Any]]:
    """Tokens per second of each peer for so many requests at once, prompts included: the peers in turn, medians over rounds.

    The requests are the prompts one after another, turned by a token whenever one is asked again, so that nothing that a system
    keeps of a prompt helps it. "ours" is the first peer's rate, in this one's.
    """
    able = [peer for peer in peers if hasattr(peer, "together")]
    found = []
    for count in counts:
        times: dict[str, list[float]] = {peer.name: [] for peer in able}
        for number in range(rounds):
            turns = [(prompts[i % len(prompts)], i // len(prompts) + number * count) for i in range(count)]
            asked = [[*prompt[by % len(prompt) :], *prompt[: by % len(prompt)]] for prompt, by in turns]
            for peer in able:
                start = time.perf_counter()
                peer.together(asked, tokens)
                times[peer.name].append(time.perf_counter() - start)
        rate = {name: count * tokens / median(seconds) for name, seconds in times.items()}
        for name, each in rate.items():
            ratio = round(rate[able[0].name] / each, 3)
            found.append(
                {"bench": "together", "system": name, "requests": count, "tokens_per_s": round(each, 2), "ours": ratio}
            )
    if found:
        columns = ("system", "requests", "tokens_per_s", "ours")
        show(f"requests at once, {tokens} tokens each", columns, [[row[column] for column in columns] for row in found])
    return found


def throughput(peers: Sequence[Peer], prompts: Sequence[Sequence[int]], tokens: int, rounds: int) -> list[dict[str, Any]]:
    """Milliseconds per token of each peer: all peers on one prompt, then on the next, several rounds; medians.

    Every peer writes a few tokens first, unmeasured: what is made at its first call is not a token's. Decoding time is the
    time of `tokens` tokens minus that of one, both warm; of a figure that cannot be (see `possible`) nothing is reported.
    """
    first: dict[str, list[float]] = {peer.name: [] for peer in peers}
    each: dict[str, list[float]] = {peer.name: [] for peer in peers}
    per_pass: dict[str, list[float]] = {peer.name: [] for peer in peers}
    same: dict[str, list[bool]] = {peer.name: [] for peer in peers}
    for peer in peers:
        for _ in range(2):
            timed(peer, prompts[0], min(8, tokens))
    for _ in range(rounds):
        for prompt in prompts:
            reference: list[int] = []
            for peer in peers:
                one, _text = timed(peer, prompt, 1)
                all_, text = timed(peer, prompt, tokens)
                reference = reference or text
                first[peer.name].append(one)
                each[peer.name].append((all_ - one) / (tokens - 1))
                same[peer.name].append(text == reference)
                per_pass[peer.name].append(tokens / peer.passes if peer.passes else float("nan"))
    step = {name: possible(name, values) for name, values in each.items()}
    base = next((step[p.name] for p in peers if isinstance(p, Transformers)), float("nan"))
    return [
        {
            "bench": "decode",
            "system": peer.name,
            "ms_per_token": round(step[peer.name], 3),
            "tokens_per_s": round(1e3 / step[peer.name], 2),
            "first_token_ms": round(median(first[peer.name]), 2),
            "tokens_per_pass": round(sum(per_pass[peer.name]) / len(per_pass[peer.name]), 3),
            "ratio": round(base / step[peer.name], 3),  # to transformers' plain generate
            "same_text": f"{sum(same[peer.name])}/{len(same[peer.name])}",
        }
        for peer in peers
    ]


def possible(system: str, times: Sequence[float]) -> float:
    """The median of times per token, NaN if one token took no time or less: such a figure is refused, not printed.

    >>> possible("a", [3.0, 1.0, 2.0]), possible("a", [-35.0])
    (2.0, nan)
    """
    middle = median(times)
    if not middle > 0:
        sys.stderr.write(
            f"espalier: {system}: {middle:.3g} ms per token cannot be (many tokens took no longer than one); the machine was "
            "busy with something else, measure again with more --tokens or --rounds\n"
        )
        return float("nan")
    return middle


def timed(peer: Peer, prompt: Sequence[int], tokens: int) -> tuple[float, list[int]]:
    """Milliseconds for a continuation, and its tokens."""
    start = time.perf_counter()
    text = peer.continue_greedily(prompt, tokens)
    return 1e3 * (time.perf_counter() - start), text


def node_cost(lm: LanguageModel, prompt: Sequence[int], rounds: int = 15) -> dict[int, float]:
    """Median milliseconds of one pass over n tree nodes (half a chain, half siblings) below a cached prompt, for n in NODES."""
    x = es.Prefix(prompt)
    lm.model.forward([x], frozenset())
    times: dict[int, list[float]] = {n: [] for n in NODES}
    for turn in range(rounds):
        for n in NODES:
            draft = Draft(x + (turn + 5))
            draft.extend(0, range(20, 20 + n // 2))
            for sibling in range(n - 1 - n // 2):
                draft.add(0, 90 + sibling)
            start = time.perf_counter()
            lm.model.forward(draft.prefixes, frozenset())
            times[n].append(1e3 * (time.perf_counter() - start))
    return {n: round(median(values), 3) for n, values in times.items()}


def loop_overhead(tokens: int = 2000) -> float:
    """Microseconds per token of greedy decoding with a model whose rows cost nothing (49,152 tokens, float32)."""
    row = torch.zeros(49_152)
    row[7] = 1.0

    class Free(es.Model):
        vocab_size = len(row)

        def forward(self, prefixes: Sequence[es.Prefix], want: frozenset[str]) -> es.Rows:
            return es.Rows(row[None].expand(len(prefixes), -1), prefixes)

    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        es.run(es.sample(Free() | es.temperature(0), es.Prefix([1]), es.stop.end([0]) | es.stop.budget(tokens), es.Rng(0)))
        best = min(best, time.perf_counter() - start)
    return round(1e6 * best / tokens, 2)
