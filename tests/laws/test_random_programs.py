"""Programs drawn at random: what a drafter, a rule, shapers, a constraint, stops and batches must keep together."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from drafters import END, VOCAB, V
from one_round import State, Target, assert_exact, drafts, emissions
from programs import LM, MODEL, PROMPTS, SMALL, Trap, any_drafter, check, program

import espalier as es
from espalier import drafting as d
from espalier import verification as v
from espalier.models.executors.torch_threads import one_thread
from espalier.shaping import contrast, guidance, watermark

PROGRAMS, TREES = 120, 40  # the first 3,606 and 1,437 ran without a finding


@pytest.mark.parametrize("part", range(4))
def test_a_random_program_writes_what_plain_decoding_writes(part):
    with one_thread():
        for seed in range(part, PROGRAMS, 4):
            try:
                check(program(seed))
            except AssertionError as error:
                raise AssertionError(f"program({seed}): {error}") from error


def streams(seed: int) -> es.Scorer:
    """A target of one or two streams: guidance, contrast, a watermark, a penalty, a constraint, a temperature."""
    rng = random.Random(seed)
    scorer: es.Scorer = rng.choice([MODEL, MODEL | es.frequency(0.6)])
    scorer = rng.choice(
        [
            guidance(scorer, es.Prefix([98, 97]), rng.choice([0.5, 1.7])),
            contrast(scorer, SMALL, beta=0.6, alpha=0.1),
            scorer | watermark(key=seed, delta=rng.choice([1.0, 4.0])),
            guidance(scorer | watermark(key=seed), es.Prefix([114]), 1.3) | es.bias({97: 1.0}),
        ]
    )
    scorer = rng.choice([scorer, scorer * es.regex("(a|b|ra)+ (ab|r)*"), scorer * Trap()])
    return rng.choice([scorer | es.temperature(0), scorer | es.temperature(0.8), scorer | es.top_p(0.9) | es.min_p(0.02)])


def test_several_streams_under_any_drafter_write_what_plain_decoding_writes():
    stop = es.stop.budget(9) | es.stop.end(LM.vocab.end) | es.stop.strings(["bb", "ara"], LM.vocab)
    with one_thread():
        for seed in range(60):
            rng = random.Random(seed)
            drafter = any_drafter(rng)
            x = es.Prefix(LM.tokenizer.encode(rng.choice(PROMPTS)))
            [plain] = es.run(es.sample(streams(seed), x, stop, es.Rng(seed)))
            [y] = es.run(es.speculate(streams(seed), x, stop, drafter(), v.SampleMatch(), es.Rng(seed)))
            assert y.ids() == plain.ids(), seed


def test_several_texts_in_any_schedule_write_what_each_writes_alone():
    """Texts that join one after the other and share a drafter, under a random budget of rows and patience."""
    stop = es.stop.budget(9) | es.stop.end(LM.vocab.end) | es.stop.strings(["bb", "ara"], LM.vocab)
    with one_thread():
        for seed in range(16):  # the first 40 ran without a finding
            rng = random.Random(seed)
            made, count = any_drafter(rng), rng.randrange(2, 5)
            drafter = made()
            scheduler = es.Scheduler(rows=rng.choice([None, 1, 2, 5, 9]), wait=rng.choice([0, 2, 64]))
            loop, joined, alone = es.Loop(scheduler=scheduler), dict[int, int](), list[list[int]]()
            for i in range(count):
                x = es.Prefix(LM.tokenizer.encode(rng.choice(PROMPTS)))
                [plain] = es.run(es.sample(streams(seed + i), x, stop, es.Rng(i)))
                alone.append(plain.ids())
                shared = drafter if rng.random() < 0.7 else made()
                number = loop.add(es.speculate(streams(seed + i), x, stop, shared, v.SampleMatch(), es.Rng(i)))
                joined[number] = i
                for _ in range(rng.randrange(4)):
                    loop.turn()
            while loop:
                loop.turn()
            assert not loop.errors, seed
            assert {i: loop.results[number].ids() for number, i in joined.items()} == dict(enumerate(alone)), seed


# One round below a tree whose groups are chosen, drawn with or without replacement, deep or shallow, all at random


class Wild(d.Drafter):
    """A tree of random shape; q has zeros, and equals nothing that the target thinks. Slots look at earlier tokens only."""

    kind = "with replacement"

    def __init__(self, seed: int, without: bool) -> None:
        self.seed, self.without = seed, without

    def propose(self, x, rng):  # type: ignore[no-untyped-def]
        yield from ()
        draft, shape, queue = d.Draft(x), random.Random(self.seed), [(0, 0)]
        plan = [(shape.choice(["chosen", "drawn", "drawn"]), shape.choice([0, 1, 1, 2, 3])) for _ in range(2)]
        for node, depth in queue:
            if depth == len(plan) or draft.token(node) == END:
                continue
            how, children = plan[depth]
            seen = draft.prefixes[node].since(x)
            bits = np.random.default_rng([self.seed, depth, *seen])
            if how == "chosen":
                made = [draft.add(node, int(t)) for t in bits.permutation(V)[:children]]
            else:
                q = torch.from_numpy(bits.dirichlet(np.full(V, 0.4))) * torch.from_numpy(bits.random(V) < 0.8)
                if not children or not bool(q.any()):
                    continue
                draft.drawn(node, q / q.sum(), replacement=not self.without)
                made = [draft.draw(node, rng) for _ in range(min(children, V))]
            queue += [(child, depth + 1) for child in dict.fromkeys(made[: 1 + depth])]
        return draft


def wild_target(seed: int) -> es.Scorer:
    """A random target: sharp or flat, with excluded tokens, penalties, truncation or a constraint."""
    rng = random.Random(seed)
    scorer: es.Scorer = es.models.Table.random(V, 2, seed=100 + seed, vocab=VOCAB, scale=rng.choice([0.3, 1.5, 6.0]))
    scorer = rng.choice([scorer, scorer | es.frequency(1.0), scorer | es.bias({0: -1.0})])
    scorer = rng.choice([scorer, scorer, scorer * es.regex("(a|ba)*b?")])
    return rng.choice([scorer, scorer | es.top_k(2), scorer | es.temperature(0.5) | es.top_p(0.9), scorer | es.temperature(0)])


RULES = [v.SampleMatch(), v.MultiCandidate(), v.Rejection(), v.Recursive(), v.KSeq(), v.Block()]


@pytest.mark.parametrize("seed", range(TREES))
def test_a_random_tree_leaves_the_law_of_a_random_target(seed):
    without = seed % 3 == 0
    target = Target(Hidden(wild_target(seed)), END)
    laws = {type(rule).__name__: {} for rule in RULES}
    for weight, draft, rows in drafts(State(lambda: Wild(seed, without), target, 0, 0)):
        x = draft.prefixes[0]
        for rule in RULES:
            if not (without and isinstance(rule, v.KSeq)):
                law = laws[type(rule).__name__]
                for emitted, p in emissions(target, draft, rows, rule, 3).items():
                    law[emitted] = law.get(emitted, 0.0) + weight * p
    for name, law in laws.items():
        if law:
            try:
                assert_exact(target, x, law, 3)
            except AssertionError as error:
                raise AssertionError(f"{name}: {error}") from error


class Hidden(es.Scorer):
    """The scorer, with a hidden state for whoever asks for one."""

    def __init__(self, inner: es.Scorer) -> None:
        self.inner, self.vocab_size, self.vocab, self.stage = inner, inner.vocab_size, inner.vocab, inner.stage

    def viable(self, prefix: es.Prefix) -> bool:
        return self.inner.viable(prefix)

    def answer(self, prefixes, want):  # type: ignore[no-untyped-def]
        rows = yield es.Ask(self.inner, prefixes)
        rows.extras["hidden"] = rows.logits
        return rows
