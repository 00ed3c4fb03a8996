"""Searches over steps by their definitions: allocations, limits, budgets, bad scores."""

from __future__ import annotations

import contextlib
import itertools
import math

import pytest
import toys

import espalier as es
from decoders.steps.planted import DEPTH, STOP, Planted, X
from espalier.decoders import (
    MCTS,
    PGTD,
    VED,
    Adaptive,
    AStar,
    BestOf,
    Budget,
    DraftedSteps,
    LiteSearch,
    Phi,
    Rankgen,
    Rebase,
    Search,
    Steps,
)
from espalier.errors import InvalidInput, LimitExceeded
from espalier.run import Loop

TOKEN = Steps(tokens=1)
MODEL = es.models.Table.random(4, 2, seed=0)
SHORT = es.stop.budget(3)


def logp(candidates):
    return [c.logp for c in candidates]


def every(score, **settings) -> dict[str, Search]:
    given = {"score": score, "steps": TOKEN, **settings}
    return {
        "best of": BestOf(20, **given),
        "rebase": Rebase(6, **given),
        "astar": AStar(3, **given),
        "pgtd": PGTD(rollouts=30, **given),
        "mcts": MCTS(rollouts=30, **given),
        "litesearch": LiteSearch(**given),
        "ved": VED(rounds=40, **given),
        "phi": Phi(2, 3, **given),
        "rankgen": Rankgen(2, 4, **given),
    }


NAMES = list(every(logp))


def run(search, model=MODEL, stop=SHORT, seed=0):
    [found] = es.run(search(model, X, stop, es.Rng(seed)))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_find_is_a_text_of_the_model_with_its_own_logp(name):
    joint = MODEL.joint(X, 3)
    found = run(every(logp)[name])
    assert found.stopped == "done"
    assert found.best is found.all[0]
    for c, weighted in zip(found.all, found, strict=True):
        assert c.over
        assert c.tokens == tuple(c.prefix.written()) == tuple(weighted.prefix.written())
        assert c.logp == pytest.approx(math.log(joint[c.tokens]))
        if name != "astar":
            assert weighted.log_weight == pytest.approx(c.logp)


@pytest.mark.parametrize("name", NAMES)
def test_budgets_are_obeyed_exactly(name):
    for budget in (Budget(tokens=7), Budget(passes=4), Budget(tokens=19), Budget(passes=9)):
        model = es.models.Table.random(4, 2, seed=0)
        rows = []
        forward = model.forward
        model.forward = lambda prefixes, want, forward=forward, rows=rows: rows.append(len(prefixes)) or forward(prefixes, want)
        with contextlib.suppress(LimitExceeded):
            found = run(every(logp, budget=budget)[name], model)
            assert found.stats.tokens == sum(rows)
            assert found.stats.passes == len(rows)
        assert budget.tokens is None or sum(rows) <= budget.tokens
        assert budget.passes is None or len(rows) <= budget.passes


@pytest.mark.parametrize("name", NAMES)
def test_a_score_that_raises_or_gives_the_wrong_length_is_one_message(name):
    def raises(candidates):
        raise ZeroDivisionError("the judge broke")

    wrongs = [(raises, "the score raised ZeroDivisionError: the judge broke"), (lambda cs: [1.0] * (len(cs) + 1), "gave")]
    for score, message in wrongs:
        with pytest.raises(InvalidInput, match=message):
            run(every(score)[name])
        loop = Loop()
        loop.add(every(score)[name](MODEL, X, SHORT, es.Rng(0)))
        while loop:
            loop.turn()
        assert len(loop) == 0, "nothing is left running"


def test_an_interrupt_gives_the_best_so_far():
    calls = []

    def impatient(candidates):
        calls.append(len(candidates))
        if len(calls) > 5:
            raise KeyboardInterrupt
        return logp(candidates)

    found = PGTD(rollouts=500, score=impatient, steps=TOKEN).run(MODEL, X, SHORT, es.Rng(0))
    assert found.stopped == "interrupted"
    assert found.best.over


def test_generate_gives_the_best_so_far_when_a_pass_is_interrupted():
    lm, passes = toys.random_lm(0), []

    def interrupted(prefixes, want, forward=lm.model.forward):
        passes.append(len(prefixes))
        if len(passes) == 21:
            raise KeyboardInterrupt
        return forward(prefixes, want)

    lm.model.forward = interrupted
    search = PGTD(rollouts=500, score=logp, steps=TOKEN)
    out = lm.generate(es.raw("x"), decoder=search, max_tokens=4)
    assert len(out.tokens) == len(out.logprobs) <= 4
    assert len(passes) in (21, 22), "at most the rows of what was found are read behind it"
    passes[:] = passes[:18]
    with pytest.raises(KeyboardInterrupt):  # which has nothing that it could give
        lm.generate(es.raw("y"), decoder=es.decoders.Beam(2), max_tokens=4)


def test_an_interrupt_before_anything_is_found_goes_on():
    def never(candidates):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        BestOf(3, score=never, steps=TOKEN).run(MODEL, X, SHORT, es.Rng(0))
    lm = toys.random_lm(0)
    lm.model.forward = never_reads
    with pytest.raises(KeyboardInterrupt):
        lm.generate(es.raw("x"), decoder=BestOf(3, score=logp, steps=TOKEN), max_tokens=4)


def never_reads(prefixes, want):
    raise KeyboardInterrupt


def test_what_has_ended_before_an_interrupt_is_kept():
    lm, passes = toys.random_lm(0), []

    def interrupted(prefixes, want, forward=lm.model.forward):
        passes.append(len(prefixes))
        if len(passes) == 12:
            raise KeyboardInterrupt
        return forward(prefixes, want)

    short = BestOf(1, score=logp, steps=TOKEN)
    alone = toys.random_lm(0).generate(es.raw("x"), decoder=short, max_tokens=2, seed=1)
    lm.model.forward = interrupted
    long = PGTD(rollouts=500, score=logp, steps=TOKEN)
    asked = [es.Request(es.raw("x"), decoder=short, max_tokens=2, seed=1), es.Request(es.raw("x"), decoder=long, max_tokens=4)]
    found = lm.complete_all(asked)
    assert found[0].tokens == alone.tokens
    assert len(found[1].tokens) <= 4


def test_progress_is_told():
    told = []
    run(Rebase(4, score=logp, steps=TOKEN, progress=lambda p: told.append((p.spent.passes, p.best))))
    assert [passes for passes, _ in told] == list(range(1, len(told) + 1))


def test_rebase_shares_sum_to_the_width_and_follow_the_temperature():
    assert Rebase(10, temperature=0.2).allocate([0.1, 0.9, 0.5], 10) == [0, 9, 1]
    for scores in itertools.product([0.0, 0.3, 0.31, 1.0], repeat=3):
        assert sum(Rebase(9).allocate(scores, 9)) == 9
    assert sorted(Rebase(9, temperature=1e9).allocate([0.1, 0.9, 0.5], 9)) in ([3, 3, 3], [2, 3, 4]), "even, up to the ceilings"
    assert Rebase(9, temperature=1e-9).allocate([0.1, 0.9, 0.5], 9) == [0, 9, 0]


def test_rebase_counts_tokens_along_the_path():
    endless = es.models.Table.random(3, 2, seed=0)
    found = run(Rebase(4, tokens=5, score=logp, steps=Steps(tokens=2)), endless, es.stop.budget(40))
    assert max(len(c.tokens) for c in found.all) <= 6, "the limit holds for the path, not for its last step alone"


class LastStepOnly(Rebase):
    """Wrong: the limit looks at the tokens of the last step."""

    def grow(self, space):
        children, shares = [], [(space.root, self.width)]
        for _ in range(self.depth):
            parents = [p for p, n in shares for _ in range(n)]
            children = yield from space.expand(parents)
            space.evaluate(children)
            shares = [(c, 1) for c in children if not c.over and len(c.tokens) - len(c.parent.tokens) < self.tokens]
            if not shares:
                return


def test_a_limit_on_the_last_step_only_is_caught():
    endless = es.models.Table.random(3, 2, seed=0)
    found = run(LastStepOnly(4, tokens=5, score=logp, steps=Steps(tokens=2)), endless, es.stop.budget(40))
    assert max(len(c.tokens) for c in found.all) > 6


def test_adaptive_allocation_is_the_best_of_all_allocations():
    tables = [[0.5, 0.2, 0.1], [0.4, 0.4, 0.0], [0.9, 0.05, 0.01]]
    for total in range(1, 8):
        given = Adaptive(lambda prompts: tables, total).allocate("abc")
        gains = lambda shares: sum(sum(t[:n]) for t, n in zip(tables, shares, strict=True))  # noqa: E731
        best = max(gains(s) for s in itertools.product(range(4), repeat=3) if sum(s) <= total)
        assert gains(given) == pytest.approx(best)
        assert sum(given) <= total
    assert sum(Adaptive(lambda prompts: [0.2, 0.7, 0.1], 11).allocate("abc")) == 11
    assert Adaptive(lambda prompts: [0.2, 0.7, 0.1, 0.5], 4).route("abcd", 0.5) == [False, True, False, True]
    with pytest.raises(InvalidInput):
        Adaptive(lambda prompts: [[0.1, 0.5]], 2).allocate("a")


def test_astar_with_an_exact_bound_opens_only_the_best_way():
    """h = the best log-probability that can follow: the first finished one is the argmax, and one row a step is computed."""
    model = es.models.Table.random(4, 2, seed=3)
    best_after = {}

    def ahead(context, left):
        if left == 0:
            return 0.0
        if (context, left) not in best_after:
            row = model.row(context[-2:]).log_softmax(-1).tolist()
            best_after[context, left] = max(p + ahead((*context, t)[-2:], left - 1) for t, p in enumerate(row))
        return best_after[context, left]

    def bound(c, score):
        return c.logp + ahead((0, *c.tokens)[-2:], 5 - len(c.tokens))

    found = run(AStar(4, propose="top", priority=bound, steps=TOKEN), model, es.stop.budget(5))
    best = max(model.joint(X, 5).items(), key=lambda item: item[1])
    assert found.best.tokens == best[0]
    assert found.stats.tokens == 5
    loose = run(AStar(4, propose="top", priority=lambda c, s: c.logp, steps=TOKEN), model, es.stop.budget(5))
    assert loose.best.tokens == best[0]
    above = sum(
        p >= best[1] for n in range(5) for p in model.joint(X, n).values()
    )  # prefixes at least as probable as the best text
    assert loose.stats.tokens <= above


def test_cached_trees_ask_each_row_once():
    task = Planted(0)
    asked = []
    forward = task.model.forward
    task.model.forward = lambda prefixes, want: asked.extend(tuple(x.ids()) for x in prefixes) or forward(prefixes, want)
    found = run(PGTD(rollouts=60, branch=4, score=task.score, steps=TOKEN), task.model, STOP)
    assert len(set(asked)) == len(asked)
    assert found.stats.calls == len(found.all), "a text is scored once"
    assert all(len(c.tokens) == DEPTH for c in found.all)


def test_litesearch_with_exact_values_goes_straight():
    task = Planted(1)

    def exact(candidates):
        return [1.0 if task.follows(c.tokens) == len(c.tokens) / DEPTH else 0.0 for c in candidates]

    found = run(LiteSearch(score=exact, rounds=500, leaves=50, least=60, most=60, steps=TOKEN), task.model, STOP)
    assert found.best.tokens == task.text
    assert found.stats.tokens <= 2 * DEPTH, "the greedy text, and the straight path"


def test_phi_of_one_beam_and_one_candidate_is_sampling():
    [a] = es.run(Phi(1, 1, steps=TOKEN)(MODEL, X, SHORT, es.Rng(4)))
    assert len(a.best.tokens) == 3
    law = {}
    for seed in range(300):
        tokens = run(Phi(1, 1, steps=TOKEN, depth=1), seed=seed).best.tokens
        law[tokens[0]] = law.get(tokens[0], 0) + 1 / 300
    row = MODEL.row((0,)).softmax(-1).tolist()
    assert all(abs(law.get(t, 0.0) - p) < 4 * math.sqrt(p * (1 - p) / 300) for t, p in enumerate(row))


def test_rankgen_keeps_an_ended_beam_and_pools_beams_times_samples():
    pools = []

    def score(candidates):
        pools.append(len(candidates))
        return [10.0 if c.tokens[-1] == 3 else float(len(c.tokens)) for c in candidates]

    found = run(Rankgen(2, 5, score=score, steps=TOKEN), stop=es.stop.end([3]) | es.stop.budget(6), seed=2)
    assert max(pools) <= 10
    assert any(c.tokens[-1] == 3 for c in found.all), "an ended beam survives"
    assert len(found) <= 2


def test_steps_end_where_they_say():
    lm = toys.random_lm(0)
    newline = Steps("\n", tokens=50)
    assert newline.ends(lm.vocab.cut(b"a\n"), lm.vocab)
    assert not newline.ends(lm.vocab.cut(b"ab"), lm.vocab)
    assert Steps("sentence").ends(lm.vocab.cut(b"He said. "), lm.vocab)
    assert not Steps("sentence").ends(lm.vocab.cut(b"3.5"), lm.vocab)
    digits = Steps(es.regex("[0-9]{2}"))
    assert not digits.ends(lm.vocab.cut(b"1"), lm.vocab)
    assert digits.ends(lm.vocab.cut(b"12"), lm.vocab)
    with pytest.raises(InvalidInput, match="vocabulary"):
        Steps("\n").ends([0], None)
    for wrong in ({}, {"until": ""}, {"tokens": 0}, {"until": 3}):
        with pytest.raises(InvalidInput):
            Steps(**wrong)


def test_searches_take_any_guide():
    lm = toys.random_lm(0)
    guide = es.regex("[ab]{2,4}")
    stop = es.stop.end(lm.vocab.end) | es.stop.budget(8)
    for name, search in every(logp).items():
        [found] = es.run(search(lm.scorer * guide, lm.prompt(es.raw("x")), stop, es.Rng(0)))
        for c in found.all:
            assert guide.matches(c.text.encode()), name


def test_what_a_guide_did_not_let_end_is_found_only_if_nothing_else_is():
    lm = toys.random_lm(0)
    stop = es.stop.end(lm.vocab.end) | es.stop.budget(4)
    search = BestOf(30, score=lambda cs: [float(len(c.tokens)) for c in cs])
    for guide, texts in ((es.regex("a|b{9}"), {"a"}), (es.regex("b{9}"), {"bbbb"})):
        [found] = es.run(search(lm.scorer * guide, lm.prompt(es.raw("x")), stop, es.Rng(0)))
        assert {c.text for c in found.all} == texts


@pytest.mark.parametrize(
    "make",
    [
        lambda: BestOf(0),
        lambda: Rebase(0),
        lambda: Rebase(3, temperature=0),
        lambda: AStar(0),
        lambda: AStar(2, propose="guess"),
        lambda: AStar(2, propose="top"),
        lambda: MCTS(rollouts=0),
        lambda: VED(width=0),
        lambda: Phi(0),
        lambda: Rankgen(0),
        lambda: BestOf(2, budget=0),
        lambda: BestOf(2, steps=5),
        lambda: Adaptive(len, 0),
        lambda: BestOf("8"),
        lambda: MCTS(rollouts=1.5),
    ],
)
def test_bad_settings(make):
    with pytest.raises(InvalidInput):
        make()


def test_drafted_steps_are_kept_or_written_anew_by_their_score():
    small = es.models.Table.random(4, 1, seed=9)
    greedy = lambda m: tuple(es.run(es.sample(m | es.temperature(0), X, SHORT, es.Rng(0)))[0].written())  # noqa: E731
    target, draft = MODEL | es.temperature(0), small | es.temperature(0)
    assert greedy(MODEL) != greedy(small)
    for least, expected in ((-math.inf, greedy(small)), (math.inf, greedy(MODEL))):
        found = run(DraftedSteps(draft, least, score=logp, steps=TOKEN), target)
        assert found.best.tokens == expected
        assert len(found.all) == 1

    def second_is_bad(candidates):
        return [0.0 if len(c.tokens) == 2 else 1.0 for c in candidates]

    found = run(DraftedSteps(draft, 0.5, score=second_is_bad, steps=TOKEN), target)
    first = greedy(small)[0]
    second = int(MODEL.row((0, first)).argmax())
    assert found.best.tokens[:2] == (first, second)
    assert found.best.tokens[2] == int(small.row((second,)).argmax())
    with pytest.raises(InvalidInput, match="same tokens"):
        run(DraftedSteps(es.models.Table.random(5, 1, seed=0), 0.0, score=logp, steps=TOKEN))
