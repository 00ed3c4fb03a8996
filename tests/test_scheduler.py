"""The scheduler: no pass too many, no turn too long, and every text what it is alone."""

from __future__ import annotations

import itertools
import random
import statistics
from collections.abc import Callable, Generator
from typing import Any

import pytest
import torch

import espalier as es
from espalier import drafting as d
from espalier.bench.passes import random_weights
from espalier.drafting.policies import LengthPolicy
from espalier.models.families import Config
from espalier.models.transformer import Transformer
from espalier.verification import Rejection, SampleMatch

TOKENS = 40


def tables(seed: int = 3) -> tuple[es.models.Table, es.models.Table]:
    return es.models.Table.random(5, 2, seed=seed), es.models.Table.random(5, 1, seed=seed)


def tiny(budget: int = 1 << 24) -> Transformer:
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 50}
    config = {"model_type": "llama", "num_key_value_heads": 1, "rms_norm_eps": 1e-5, "max_position_embeddings": 8192, **sizes}
    config |= {"tie_word_embeddings": True}
    weights = random_weights(config, torch.float32, "cpu")
    return Transformer.from_weights(Config.from_hf(config), weights, budget=budget)


def rows_of(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of every plan from now on."""
    seen, plan = list[int](), model.kv.plan

    def counted(*args: Any, **kwargs: Any) -> Any:
        made = plan(*args, **kwargs)
        seen.append(made.rows)
        return made

    monkeypatch.setattr(model.kv, "plan", counted)
    return seen


def plain(model: es.Model, x: es.Prefix, tokens: int, seed: int) -> Generator[Any, Any, es.Prefix]:
    return es.sample(model, x, es.stop.budget(tokens), es.Rng(seed))


LENGTHS: dict[str, Callable[[], LengthPolicy]] = {
    "constant": lambda: d.Constant(3),
    "svip": lambda: d.SVIP(0.45, most=8),
    "heuristic": lambda: d.Heuristic(3),
    "thompson": lambda: d.Thompson(),
    "bass": lambda: d.BASS(),
    "goodput": lambda: d.Goodput(lambda nodes: 10 + nodes),
    "confidence": lambda: d.Confidence(0.4),
    "adaptive confidence": lambda: d.AdaptiveConfidence(0.4),
    "fitted confidence": lambda: d.FittedConfidence(0.4, least=1),
    "ddd": lambda: d.DDD(-0.9, depths=(2, 4), most=6),
    "ucb": lambda: d.BanditLength((0, 1, 4, 8), d.UCB),
    "exp3": lambda: d.BanditLength((0, 1, 4, 8), d.EXP3),
    "both": lambda: d.Both(d.SVIP(0.45), d.Confidence(0.3)),
    "idle goodput": lambda: d.Goodput(lambda nodes: 10.0 * nodes, every=3),
}


@pytest.mark.parametrize("requests", [2, 6])
@pytest.mark.parametrize("name", LENGTHS)
def test_speculation_in_a_batch_makes_no_more_passes_than_plain_decoding(name, requests):
    for seed in range(4):
        target, draft = tables(seed)
        shared = LENGTHS[name]()
        es.run(
            *(
                es.speculate(
                    target,
                    es.Prefix([i % 5]),
                    es.stop.budget(TOKENS - 3 * i),
                    d.DraftModel(draft, tree=d.Chain(10), length=shared),
                    Rejection(),
                    es.Rng(i + 10 * seed),
                )
                for i in range(requests)
            )
        )
        assert target.passes <= TOKENS


def test_shared_slots_in_a_batch_make_no_more_passes_than_plain_decoding():
    for seed, requests in itertools.product(range(4), (2, 6)):
        target, draft = tables(seed)
        drafter = d.Tetris(draft, d.Capacity(2 + seed), d.Chain(6), d.SVIP(0.45, most=6))
        stops = [es.stop.budget(TOKENS - 3 * i) for i in range(requests)]
        es.run(*(es.speculate(target, es.Prefix([i % 5]), s, drafter, Rejection(), es.Rng(i)) for i, s in enumerate(stops)))
        assert target.passes <= TOKENS


def test_plain_texts_that_join_share_the_passes_of_drafted_ones():
    target, draft = tables()
    loop = es.Loop()
    for i in range(3):
        drafter = d.DraftModel(draft, tree=d.Chain(6), length=d.SVIP(0.45, most=6))
        loop.add(es.speculate(target, es.Prefix([i]), es.stop.budget(TOKENS), drafter, Rejection(), es.Rng(i)))
    for _ in range(10):
        loop.turn()
    before = target.passes
    for i in range(3):
        loop.add(plain(target, es.Prefix([i]), TOKENS, i))
    while loop:
        loop.turn()
    assert not loop.errors
    assert target.passes - before <= TOKENS + 1  # the pass that reads the prompts may be one of its own


def test_bass_decides_once_a_round_for_all():
    """One request accepts every draft, three accept none: lengths 7, 9, 11, … for all, no more passes than plain ones."""
    target, twin, other = (es.models.Table.random(50, 2, seed=seed) for seed in (1, 1, 2))
    policy, planned = d.BASS(start=7), list[int]()
    plan = policy.plan
    policy.plan = lambda x, rng: planned.append(plan(x, rng)) or planned[-1]  # type: ignore[method-assign]
    es.run(
        *(
            es.speculate(
                target | es.temperature(0),
                es.Prefix([i]),
                es.stop.budget(60),
                d.DraftModel(model, tree=d.Chain(kind="deterministic"), length=policy),
                SampleMatch(),
                es.Rng(i),
            )
            for i, model in enumerate([twin, other, other, other])
        )
    )
    rounds = [planned[at : at + 4] for at in range(0, 16, 4)]
    assert rounds == [[7] * 4, [9] * 4, [11] * 4, [13] * 4]
    assert target.passes <= 60


def test_goodput_gives_each_request_its_own_length():
    """Cost 10 + nodes: by enumeration the best pair of lengths; the sure request drafts, the other one does not."""
    policy = d.Goodput(lambda nodes: 10.0 + 2 * nodes, draft_cost=lambda requests: 0.2, most=6)

    def goodput(lengths: tuple[int, ...], acceptances: list[float]) -> float:
        tokens = sum(sum(a**j for j in range(k + 1)) for k, a in zip(lengths, acceptances, strict=True))
        return tokens / (0.2 * max(lengths) + 10 + 2 * (len(lengths) + sum(lengths)))

    for acceptances in ([0.95, 0.05], [0.9, 0.6], [0.5, 0.5], [0.99, 0.3]):
        best = max(goodput((i, j), acceptances) for i in range(7) for j in range(7))
        assert goodput(tuple(policy.lengths(acceptances)), acceptances) == pytest.approx(best)
    assert policy.lengths([0.95, 0.05])[0] > policy.lengths([0.95, 0.05])[1] == 0


@pytest.mark.parametrize("rows", [None, 64, 7])
def test_a_long_prompt_joins_running_texts_without_a_long_turn(rows, monkeypatch):
    """Four texts run, 4,000 tokens join: no turn above its budget, every turn serves all four, pauses by a simulated clock."""
    model = tiny()
    seen = rows_of(model, monkeypatch)
    loop = es.Loop(scheduler=es.Scheduler(rows=rows))
    running = [loop.add(plain(model, es.Prefix([i + 1]), 3000, i)) for i in range(4)]
    for _ in range(5):
        loop.turn()
    length = 4000 if rows != 7 else 300
    joined = loop.add(plain(model, es.Prefix([5 + i % 45 for i in range(length)]), 2, 9))
    seen.clear()
    pauses, turns = [], 0
    while joined in loop:
        loop.kept.clear()
        before = len(seen)
        loop.turn()
        turns += 1
        assert len(seen) == before + 1
        assert {number for number, _ in loop.kept} >= set(running)
        pauses.append(10 + 0.5 * seen[-1])  # a pass costs 10, a row a half
    assert max(seen) <= (rows or 64)
    assert sum(seen) == length + 4 * turns + 1
    assert turns <= length / ((rows or 64) - 4) + 2
    for _ in range(2 * turns):
        before = len(seen)
        loop.turn()
        pauses.append(10 + 0.5 * seen[-1])
    assert max(pauses) <= 8 * statistics.median(pauses)
    for number in running:
        loop.cancel(number)


def test_texts_are_the_same_under_any_schedule():
    dice = random.Random(0)
    models = [tiny(), tiny()]
    for round_ in range(12):
        prompts = [[1 + dice.randrange(49) for _ in range(dice.randrange(1, 60))] for _ in range(4)]
        lengths = [dice.randrange(1, 12) for _ in prompts]
        kinds = [dice.choice(["plain", "lookup", "draft"]) for _ in prompts]
        draft = es.models.Table.random(50, 1, seed=round_)

        def texts(model: Transformer, scheduler: es.Scheduler | None) -> list[list[int]]:
            drafters = {"lookup": d.PromptLookup(), "draft": d.DraftModel(draft, tokens=4)}  # noqa: B023
            decoders = [
                plain(model, es.Prefix(ids), n, i)
                if kind == "plain"
                else es.speculate(model, es.Prefix(ids), es.stop.budget(n), drafters[kind], SampleMatch(), es.Rng(i))
                for i, (ids, n, kind) in enumerate(zip(prompts, lengths, kinds, strict=True))  # noqa: B023
            ]
            return [x.ids() for x in es.run(*decoders, scheduler=scheduler)]

        assert texts(models[0], None) == texts(models[1], es.Scheduler(rows=dice.randrange(1, 9), wait=dice.randrange(3)))


def test_a_prompt_waits_for_room_instead_of_driving_others_out(monkeypatch):
    """Keys and values for 100 tokens, six texts of 30 + 10: three begin, the third waits when it would drive the others out."""
    model = tiny()
    model = tiny(budget=100 * model.kv.bytes_per_token)
    seen = rows_of(model, monkeypatch)
    decoders = [plain(model, es.Prefix([1 + (7 * i + j) % 49 for j in range(30)]), 10, i) for i in range(6)]
    found = es.run(*decoders)
    alone = tiny()
    assert [x.ids() for x in found] == [
        es.run(plain(alone, es.Prefix([1 + (7 * i + j) % 49 for j in range(30)]), 10, i))[0].ids() for i in range(6)
    ]
    assert sum(seen) <= 6 * 39 + 3 * 40  # at most three of them once more
    assert model.kv.limit == 100


def test_a_draft_above_the_budget_is_answered_over_several_turns():
    target, draft = tables()
    decoders = lambda: (  # noqa: E731
        es.speculate(target, es.Prefix([i]), es.stop.budget(20), d.DraftModel(draft, tokens=6), SampleMatch(), es.Rng(i))
        for i in range(3)
    )
    sizes = []
    trace = lambda kind, what: sizes.append(len(what[2])) if kind == "pass" else None  # noqa: E731
    cut = es.run(*decoders(), scheduler=es.Scheduler(rows=4), trace=trace)
    assert max(sizes) <= 4
    assert [x.ids() for x in cut] == [x.ids() for x in es.run(*decoders())]


def test_impossible_schedules_are_refused_when_they_are_made():
    with pytest.raises(es.InvalidInput, match="rows=0"):
        es.Scheduler(rows=0)
    with pytest.raises(es.InvalidInput, match="wait=-1"):
        es.Scheduler(wait=-1)
    with pytest.raises(es.InvalidInput, match="scheduler"):
        es.Loop(scheduler=5)  # type: ignore[arg-type]
    small = tiny(budget=20 * tiny().kv.bytes_per_token)
    with pytest.raises(es.errors.LimitExceeded, match="20 tokens"):
        es.run(plain(small, es.Prefix(range(1, 31)), 1, 0))
