"""Drafters that need no model: with each of them the text is that of plain decoding, and what cannot work is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from proposals import SMALL, TEXTS, V, passes, written

import espalier as es
from espalier.drafting import (
    ADED,
    RASD,
    REST,
    STAND,
    Aggressive,
    Cascade,
    Drafter,
    DReSD,
    Fuse,
    Graft,
    HiddenStore,
    Hierarchy,
    Jacobi,
    Lookahead,
    NGramCache,
    NGramCounts,
    PromptLookup,
    TextStore,
    TokenRecycling,
    gauss_seidel,
    hybrid,
)
from espalier.errors import InvalidInput
from espalier.testing import assert_same_law, exact_law
from espalier.text import Vocab
from espalier.verification import GreedyMatch, SampleMatch

DETERMINISTIC: dict[str, Callable[[], Drafter]] = {
    "lookup": lambda: PromptLookup(tokens=2),
    "cache": lambda: NGramCache(tokens=2, order=2, static=NGramCounts.of(TEXTS, order=2)),
    "recycling": lambda: TokenRecycling(nodes=4, top=2),
    "lookahead": lambda: Lookahead(window=2, n=3, guesses=2),
    "jacobi": lambda: Jacobi(3),
    "gauss-seidel": lambda: gauss_seidel(3),
    "hybrid": lambda: hybrid(2, parallel=3),
    "aggressive": lambda: Aggressive([0, 1, 2, 0], tokens=3, match=1),
    "aggressive-prompt": lambda: Aggressive(tokens=3, match=1),
    "rest": lambda: REST(TextStore(TEXTS), nodes=4, tokens=2, shortest=1),
    "hierarchy": lambda: Hierarchy(n=3, guesses=2, store=TextStore(TEXTS), context=1),
    "rasd": lambda: RASD(SMALL, REST(TextStore(TEXTS), nodes=4, tokens=2, shortest=1), tokens=2, top=2),
    "graft": lambda: Graft(SMALL, TokenRecycling(nodes=4, top=2), nodes=5, width=2, depth=2),
    "dresd": lambda: DReSD(HiddenStore(size=4), k=2, tokens=1),
    "cascade": lambda: Cascade(PromptLookup(tokens=2, shortest=2), TokenRecycling(nodes=3, top=2)),
    "fuse": lambda: Fuse(PromptLookup(tokens=2), TokenRecycling(nodes=4, top=2), nodes=5),
}


DRAWN: dict[str, Callable[[], Drafter]] = {"stand": lambda: STAND(V, nodes=3, depth=2, order=2)}


SEARCHED: dict[str, Callable[[], Drafter]] = {"aded": lambda: ADED(TEXTS, nodes=4, depth=2, rollouts=8)}


ALL = DETERMINISTIC | DRAWN | SEARCHED


SHAPED: dict[str, Callable[[es.Scorer], es.Scorer]] = {
    "plain": lambda s: s,
    "temper": lambda s: s | es.temperature(0.7) | es.top_p(0.8),
    "penalty": lambda s: s | es.presence(0.9),
}


@pytest.mark.parametrize("shape", SHAPED.values(), ids=SHAPED.keys())
@pytest.mark.parametrize("make", (DETERMINISTIC | DRAWN).values(), ids=(DETERMINISTIC | DRAWN).keys())
def test_the_law_of_the_text_is_that_of_plain_sampling(make, shape):
    length = 3 if make in DRAWN.values() else 4  # the drafter's own draws are enumerated too
    scorer, x, stop = shape(es.models.Table.random(V, 2, seed=4)), es.Prefix([0, 1, 2, 0]), es.stop.budget(length)
    plain = exact_law(lambda rng: es.sample(scorer, x, stop, rng), written)
    law = exact_law(lambda rng: es.speculate(scorer, x, stop, make(), SampleMatch(), rng), written)
    assert_same_law(law, plain)


@pytest.mark.parametrize("make", ALL.values(), ids=ALL.keys())
def test_greedy_text_is_that_of_plain_greedy_decoding(make):
    drafter, drafted = make(), 0
    for seed in range(6):  # the same drafter again and again: what it keeps between requests must not matter
        model = es.models.Table.random(V, 1 + seed % 3, seed=seed)
        x = es.Prefix([seed % V, 1, 0, 2])
        [plain] = es.run(es.sample(model | es.temperature(0), x, es.stop.budget(25), es.Rng(0)))
        before = model.passes
        seen: list[int] = []

        def trace(kind, what, seen=seen, model=model):  # type: ignore[no-untyped-def]
            if kind == "pass" and what[0] is model:
                seen.append(sum(len(ask.prefixes) - 1 for ask in what[1]))

        [y] = es.run(es.speculate(model, x, es.stop.budget(25), drafter, GreedyMatch(), es.Rng(seed)), trace=trace)
        assert y.ids() == plain.ids()
        assert model.passes - before <= 25
        drafted += sum(seen)
    assert drafted > 0


@pytest.mark.parametrize("make", ALL.values(), ids=ALL.keys())
def test_the_same_round_log_gives_the_same_drafts(make):
    def log() -> list[int]:
        model, sizes = es.models.Table.random(V, 2, seed=1), list[int]()
        decoder = es.speculate(model, es.Prefix([0, 1]), es.stop.budget(20), make(), SampleMatch(), es.Rng(3))
        es.run(decoder, trace=lambda kind, what: sizes.append(len(what[1][0].prefixes)) if kind == "pass" else None)
        return sizes

    assert log() == log()


@pytest.mark.parametrize("make", ALL.values(), ids=ALL.keys())
def test_an_empty_prompt_is_no_trouble(make):
    model = es.models.Table.random(V, 1, seed=1)
    [x] = es.run(es.speculate(model, es.Prefix(), es.stop.budget(6), make(), SampleMatch(), es.Rng(3)))
    [y] = es.run(es.sample(model, es.Prefix(), es.stop.budget(6), es.Rng(3)))
    assert x.ids() == y.ids()


def test_drafters_of_another_vocabulary_are_refused():
    mine, other = Vocab([b"a", b"b", b"c"]), Vocab([b"a", b"b", b"x"])
    target = es.models.Table.random(V, 1, seed=0, vocab=mine)
    store = TextStore(TEXTS, other)
    drafters = [
        REST(store),
        NGramCache(static=es.drafting.NGramCounts.of(TEXTS, vocab=other)),
        Hierarchy(store=store),
        Cascade(PromptLookup(), REST(store)),
        STAND(V + 1),
        RASD(es.models.Table.random(V + 1, 1, seed=0), PromptLookup()),
        Graft(es.models.Table.random(V + 1, 1, seed=0), PromptLookup()),
    ]
    for drafter in drafters:
        with pytest.raises(InvalidInput):
            es.run(es.speculate(target, es.Prefix([0]), es.stop.budget(2), drafter, SampleMatch(), es.Rng(0)))


REMEMBERING = [TokenRecycling, NGramCache, es.drafting.Auto, Hierarchy, es.drafting.DReSD, lambda: STAND(V)]


@pytest.mark.parametrize("make", REMEMBERING)
def test_what_was_learned_of_one_model_is_not_used_on_another(make):
    """Another one is one whose tokens mean something else, be there as many of them or not."""
    drafter, letters = make(), [b"a", b"b", b"c"][:V]
    passes(drafter, es.models.Table.random(V, 1, seed=0, vocab=Vocab(letters)), es.Prefix([0]), 2)
    with pytest.raises(InvalidInput, match="one drafter per model"):
        passes(drafter, es.models.Table.random(V, 1, seed=0, vocab=Vocab(letters[::-1])), es.Prefix([0]), 2)


@pytest.mark.parametrize("make", [lambda: PromptLookup(tokens=10), lambda: Aggressive([1] * 30, tokens=20), lambda: STAND(3)])
def test_no_draft_goes_past_the_end_of_the_text(make):
    """A model refuses prefixes beyond its context, and the budget is what keeps a text within it."""
    longest = list[int]()

    class Narrow(es.Model):
        vocab_size = 3

        def forward(self, prefixes, want):  # type: ignore[no-untyped-def]
            longest.append(max(map(len, prefixes)))
            return es.Rows(torch.tensor([[0.0, 9.0, 1.0]]).expand(len(prefixes), -1), prefixes)

    model, x, drafter = Narrow(), es.Prefix([1, 1, 1, 1]), make()
    for _ in range(2):
        [y] = es.run(es.speculate(model, x, es.stop.budget(12), drafter, SampleMatch(), es.Rng(0)))
        assert len(y) == 16
    assert max(longest) <= 16
    assert len(longest) < 24


@pytest.mark.parametrize(
    "make",
    [
        lambda: PromptLookup(tokens=0),
        lambda: NGramCache(tokens=-1),
        lambda: TokenRecycling(nodes=0),
        lambda: STAND(V, nodes=0),
        lambda: STAND(0),
        lambda: Lookahead(window=0),
        lambda: Jacobi(0),
        lambda: Jacobi(2, mode="wild"),
        lambda: Aggressive([]),
        lambda: REST(TextStore(TEXTS), nodes=0),
        lambda: TextStore([]),
        lambda: TextStore([[5]], Vocab([b"a"])),
        lambda: Cascade(),
        lambda: Cascade(PromptLookup(), STAND(V)),
        lambda: Fuse(STAND(V)),
        lambda: Graft(SMALL, STAND(V)),
        lambda: ADED(step=0),
        lambda: Hierarchy(n=1),
        lambda: DReSD(k=0),
    ],
)
def test_what_cannot_work_is_refused(make):
    with pytest.raises(InvalidInput):
        make()
