"""Counts, for every lossless drafter, how many greedy texts are those of plain decoding.

usage: python scripts/identical_texts.py --dtype fp32 --per 4 --tokens 32 [--only recycling,beam]

Each prompt is continued plainly, alone, and then with drafts, in batches of eight requests that share their passes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import espalier as es
from espalier import drafting as d
from espalier import verification as v
from espalier.bench.speculation import OWN, SPEC_BENCH, load_questions
from espalier.lm import LanguageModel
from espalier.requests.completion import Meter, Stats
from espalier.run import Decoder

Setup = tuple[d.Drafter, v.Verifier]
BATCH = 8


def draft_of(model: Any) -> tuple[bool, Any]:
    """Whether the target is in 8 bits already, and its draft model."""
    eight = not hasattr(model.executor, "kind") or model.executor.kind == "int8"
    small = model.partial([i for i in range(model.executor.layers) if i % 10]) if eight else model.quantised()
    small.vocab = model.vocab
    return eight, small


def setups(lm: LanguageModel, texts: list[list[int]]) -> dict[str, Callable[[], Setup]]:
    """A drafter with a rule by name; `small`, the draft model, is the target in 8 bits (a part of it if it is that already)."""
    model: Any = lm.model
    eight, small = draft_of(model)
    store = d.TextStore(texts, lm.vocab)
    match, reject, recursive = v.SampleMatch(), v.Rejection(), v.Recursive()

    def drawn(tree: d.TreePolicy, rule: v.Verifier = recursive) -> Setup:
        return d.DraftModel(small, tree=tree), rule

    found: dict[str, Callable[[], Setup]] = {
        "lookup": lambda: (d.PromptLookup(), match),
        "lookup by greedy match": lambda: (d.PromptLookup(), v.GreedyMatch()),
        "n-gram cache": lambda: (d.NGramCache(static=d.NGramCounts.of(texts, vocab=lm.vocab)), match),
        "ADED": lambda: (d.ADED(texts), match),
        "recycling": lambda: (d.TokenRecycling(), match),
        "STAND": lambda: (d.STAND(lm.vocab.size), recursive),
        "lookahead": lambda: (d.Lookahead(), match),
        "Jacobi": lambda: (d.Jacobi(), match),
        "Gauss-Seidel": lambda: (d.gauss_seidel(), match),
        "hybrid": lambda: (d.hybrid(parallel=16), match),
        "aggressive": lambda: (d.Aggressive(), match),
        "REST": lambda: (d.REST(store), match),
        "hierarchy": lambda: (d.Hierarchy(store=store), match),
        "DReSD": lambda: (d.DReSD(), match),
        "RASD": lambda: (d.RASD(small, d.REST(store)), match),
        "Graft": lambda: (d.Graft(small, d.TokenRecycling(nodes=12), nodes=12, depth=2), match),
        "draft model by rejection": lambda: (d.DraftModel(small, tokens=3), reject),
        "draft model by block": lambda: (d.DraftModel(small, tokens=3), v.Block()),
        "chains by k-SEQ": lambda: drawn(d.Chains(3, 2), v.KSeq()),
        "template by multi-candidate": lambda: drawn(d.Template([(0,), (1,), (0, 0)]), v.MultiCandidate()),
        "k-config": lambda: drawn(d.KConfig((3, 2))),
        "stochastic beam": lambda: drawn(d.StochasticBeam(3, 2)),
        "DySpec": lambda: drawn(d.DySpec(6)),
        "Sequoia": lambda: drawn(d.Sequoia(6, 3)),
        "beam": lambda: drawn(d.Beam(3, 3, 8), match),
        "OPT-Tree": lambda: drawn(d.OptTree(8, 3), match),
        "trimmed": lambda: (d.DraftModel(small | d.VocabTrim(d.frequent(texts, 2000)), tokens=3), reject),
        "staged": lambda: (d.Staged(small, d.PromptLookup(tokens=3), match, tokens=4), reject),
        "SVIP": lambda: (d.DraftModel(small, tree=d.Chain(6, kind="deterministic"), length=d.SVIP()), match),
        "UCB": lambda: (d.DraftModel(small, tree=d.Chain(6, kind="deterministic"), length=d.BanditLength((0, 1, 3))), match),
        "skipped layers": lambda: (d.skip_layers(model, range(4, 26, 3)), match),
        "SWIFT": lambda: (d.SWIFT(model, window=8, context=8, length=d.Confidence(0.8, most=4)), match),
        "early exit": lambda: (d.early_exit(model, 20), match),
        "DEL": lambda: (d.DEL(model, most=3), match),
        "short context": lambda: (d.DraftModel(d.Shortened(model), tree=d.Chain(4, kind="deterministic"), tokens=4), match),
        "ProPD": lambda: (d.ProPD(d.PromptLookup(), model.partial([0, 1])), match),
        "PEARL": lambda: (d.Pearl(small, tokens=3), reject),
        "TETRIS": lambda: (d.Tetris(small, d.Capacity(3)), reject),
        "speculative Jacobi": lambda: (d.SpeculativeJacobi(8), reject),
        "cascade": lambda: (d.Cascade(d.PromptLookup(shortest=2), d.TokenRecycling(nodes=15)), match),
        "fuse": lambda: (d.Fuse(d.PromptLookup(tokens=6), d.TokenRecycling(nodes=15)), match),
        "bandit of drafters": lambda: (d.BanditDrafter([d.PromptLookup(), d.TokenRecycling(nodes=12)]), match),
        "auto": lambda: (d.Auto(), match),
    }
    quantised = {
        "quantised": lambda: (d.quantised(model), match),
        "quantised with 4-bit keys": lambda: (d.quantised(model, kv_bits=4), match),
    }
    return found if eight else found | quantised


def decoder(lm: LanguageModel, x: es.Prefix, stats: Stats, tokens: int, setup: Setup | None) -> Decoder[es.Prefix]:
    """The greedy text of a prompt."""
    meter, stop = Meter(lm.model, stats), es.stop.end(lm.vocab.end) | es.stop.budget(tokens)
    if setup is None:
        return es.sample(meter | es.temperature(0), x, stop, es.Rng(0))
    drafter, rule = setup
    scorer = meter if rule.guarantee == "greedy" else meter | es.temperature(0)
    return es.speculate(scorer, x, stop, drafter, rule, es.Rng(1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", default="fp32")
    parser.add_argument("--per", type=int, default=4, help="prompts per category")
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--only", default="", help="names, with commas in between; all if left out")
    given = parser.parse_args()
    lm = es.load(dtype=given.dtype)
    path = SPEC_BENCH if SPEC_BENCH.exists() else OWN
    prompts = [es.Prefix(ids) for _, ids in load_questions(path, given.per, 900, lm)]
    others = [ids for _, ids in load_questions(path, 3, 300, lm, start=20 if path is SPEC_BENCH else 0)]
    plain, passes = [], 0
    for x in prompts:
        stats = Stats()
        plain += [y.written() for y in es.run(decoder(lm, x, stats, given.tokens, None))]
        passes += stats.passes
    print(f"plain: {len(prompts)} texts, {passes} passes", flush=True)
    for name, make in setups(lm, others).items():
        if given.only and name not in given.only.split(","):
            continue
        setup, stats, texts = make(), Stats(), list[list[int]]()
        for at in range(0, len(prompts), BATCH):
            batch = prompts[at : at + BATCH]
            texts += [y.written() for y in es.run(*(decoder(lm, x, stats, given.tokens, setup) for x in batch))]
        same = sum(text == own for text, own in zip(texts, plain, strict=True))
        print(f"{name}: {same} of {len(texts)} the same, {sum(map(len, texts)) / stats.passes:.2f} tokens per pass", flush=True)


if __name__ == "__main__":
    main()
