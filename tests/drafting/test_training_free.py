"""Drafters that need no training: the law of the text with each of them, and what each one proposes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import espalier as es
from espalier.drafting import (
    ADED,
    RASD,
    REST,
    STAND,
    Aggressive,
    Cascade,
    Draft,
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
from espalier.drafting.glance import glance
from espalier.drafting.ranks import rank_template
from espalier.drafting.recycle import top_tokens, top_weights
from espalier.errors import InvalidInput
from espalier.testing import assert_same_law, exact_law
from espalier.text import Vocab
from espalier.verification import GreedyMatch, SampleMatch

V = 3
SMALL = es.models.Table.random(V, 1, seed=5)
TEXTS = [[0, 1, 2, 0, 1, 1, 2, 0, 2, 2, 1, 0, 1, 2], [2, 1, 0, 0, 1]]

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


def written(x: es.Prefix) -> tuple[int, ...]:
    return tuple(x.written())


def tokens(draft: Draft) -> list[list[int]]:
    return [prefix.since(draft.prefixes[0]) for prefix in draft.prefixes[1:]]


def proposed(drafter: Drafter, x: es.Prefix, model: es.Model = SMALL) -> list[list[int]]:
    def once():  # type: ignore[no-untyped-def]
        return (yield from drafter.begin(x).propose(x, es.Rng(0)))

    [draft] = es.run(once())
    return tokens(draft)


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


def passes(drafter: Drafter, model: es.models.Table, x: es.Prefix, budget: int) -> int:
    before = model.passes
    es.run(es.speculate(model | es.temperature(0), x, es.stop.budget(budget), drafter, GreedyMatch(), es.Rng(0)))
    return model.passes - before


def cycle(length: int) -> es.models.Table:
    """A model that counts round and round: after t comes t + 1."""
    return es.models.Table(length, 1, lambda c: torch.eye(length)[(c[-1] + 1) % length] * 9 if c else torch.zeros(length))


def test_recycling_knows_a_bigram_model_once_each_token_was_scored():
    model, drafter = cycle(5), TokenRecycling(nodes=6, depth=6, top=2)
    passes(drafter, model, es.Prefix([0]), 8)
    deepest = max(map(len, drafter.template))
    assert passes(drafter, model, es.Prefix([0]), 7 * (deepest + 1)) == 7
    assert passes(TokenRecycling(nodes=6, top=2, shared=False), model, es.Prefix([0]), 8) > 2


def test_lookup_on_periodic_text_accepts_whole_drafts():
    assert passes(PromptLookup(tokens=10), cycle(7), es.Prefix(list(range(7)) * 2), 22) == 2


def test_jacobi_needs_no_more_passes_than_tokens_and_one_when_the_guess_is_right():
    constant = es.models.Table(4, 0, lambda c: torch.tensor([0.0, 5.0, 0.0, 0.0]))
    assert passes(Jacobi(4, guess=1), constant, es.Prefix([0]), 10) == 2
    assert passes(gauss_seidel(5, guess=1), constant, es.Prefix([0]), 10) == 2
    assert passes(hybrid(5, parallel=5, guess=1), constant, es.Prefix([0]), 10) == 1 + 5
    # one that converges only from the left: a pass per token, never more
    assert passes(Jacobi(4, guess=0), cycle(9), es.Prefix([3]), 10) <= 10


def test_jacobi_iterates_are_the_argmaxes_behind_the_settled_part():
    model = es.models.Table.random(5, 2, seed=0)
    drafter, x = Jacobi(4).begin(es.Prefix([1])), es.Prefix([1])
    draft = Draft(x)
    draft.extend(0, [0, 0, 0, 0])
    rows = model.forward(draft.prefixes, frozenset())
    right = rows[0].argmax()
    drafter.observe(x + right if right else draft.prefixes[1], draft, rows)
    assert drafter.guesses == [rows[i].argmax() for i in range(1, 5)]


def test_lookahead_fills_its_pool_from_its_own_window():
    # a text that never repeats an n-gram within the budget: only the window can know what comes
    model = es.models.Table.random(40, 1, seed=3)
    alone = passes(Lookahead(window=6, n=3, guesses=4), model, es.Prefix([1, 2, 3]), 30)
    assert alone < 30


def test_lookahead_never_exceeds_its_budget_of_nodes():
    drafter, sizes = Lookahead(window=3, n=4, guesses=2), list[int]()
    model = es.models.Table.random(3, 2, seed=3)
    decoder = es.speculate(model, es.Prefix([0, 1]), es.stop.budget(60), drafter, SampleMatch(), es.Rng(0))
    es.run(decoder, trace=lambda kind, what: sizes.append(len(what[1][0].prefixes) - 1) if kind == "pass" else None)
    assert max(sizes) <= (3 + 2) * (4 - 1)


def test_the_tree_of_a_store_is_that_of_brute_force():
    generator = torch.Generator().manual_seed(0)
    texts = [torch.randint(0, 4, (60,), generator=generator).tolist() for _ in range(5)]
    store = TextStore(texts)
    for run in ([1], [2, 3], [0, 1, 2], [3, 3, 3, 3, 3]):
        found: dict[tuple[int, ...], int] = {}
        for text in texts:
            for at in range(len(text) - len(run) + 1):
                if text[at : at + len(run)] == run:
                    rest = text[at + len(run) : at + len(run) + 3]
                    for n in range(1, len(rest) + 1):
                        found[tuple(rest[:n])] = found.get(tuple(rest[:n]), 0) + 1
        tree = dict(store.tree(run, tokens=3, nodes=10_000))
        assert tree == found
        assert store.count(run) == sum(
            text[at : at + len(run)] == run for text in texts for at in range(len(text) - len(run) + 1)
        )
    few = [path for path, _ in store.tree([1], tokens=3, nodes=7)]
    assert len(few) == 7
    assert all(path[:-1] in few or len(path) == 1 for path in few)
    assert list(store.longest([9, *texts[0][10:20]], 16, 2)) == texts[0][10:20]
    assert list(store.longest([9, 9], 16, 1)) == []


def test_a_store_is_written_and_read_and_knows_its_vocabulary(tmp_path):
    vocab, other = Vocab([b"a", b"b", b"c"]), Vocab([b"a", b"b", b"x"])
    store = TextStore([[0, 1, 2, 1]], vocab)
    store.save(tmp_path / "store.npz")
    again = TextStore.load(tmp_path / "store.npz", vocab)
    assert again.continuations([1], 2) == store.continuations([1], 2)
    with pytest.raises(InvalidInput, match="another tokenizer"):
        TextStore.load(tmp_path / "store.npz", other)
    (tmp_path / "junk.npz").write_bytes(b"no")
    with pytest.raises(es.EspalierError, match="not a text store"):
        TextStore.load(tmp_path / "junk.npz")


def test_drafters_of_another_vocabulary_are_refused():
    mine, other = Vocab([b"a", b"b", b"c"]), Vocab([b"a", b"b", b"x"])
    target = es.models.Table.random(V, 1, seed=0, vocab=mine)
    store = TextStore(TEXTS, other)
    drafters = [
        REST(store),
        Hierarchy(store=store),
        Cascade(PromptLookup(), REST(store)),
        STAND(V + 1),
        RASD(es.models.Table.random(V + 1, 1, seed=0), PromptLookup()),
        Graft(es.models.Table.random(V + 1, 1, seed=0), PromptLookup()),
    ]
    for drafter in drafters:
        with pytest.raises(InvalidInput):
            es.run(es.speculate(target, es.Prefix([0]), es.stop.budget(2), drafter, SampleMatch(), es.Rng(0)))


@pytest.mark.parametrize("make", [TokenRecycling, NGramCache, es.drafting.Auto])
def test_what_was_learned_of_one_model_is_not_used_on_another(make):
    drafter = make()
    passes(drafter, es.models.Table.random(V, 1, seed=0), es.Prefix([0]), 2)
    with pytest.raises(InvalidInput, match="one drafter per model"):
        passes(drafter, es.models.Table.random(V + 1, 1, seed=0), es.Prefix([0]), 2)


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


def test_hierarchy_asks_the_nearest_store_first_and_says_nothing_twice():
    drafter = Hierarchy(n=3, guesses=3, store=TextStore([[1, 3, 3], [1, 2, 0]]), context=1)
    assert proposed(drafter, es.Prefix([1, 2, 0, 1])) == [[2], [2, 0], [3], [3, 3]]


def test_aggressive_copies_again_behind_a_unique_match():
    source = [1, 2, 3, 4, 5, 6, 7]
    drafter = Aggressive(source, tokens=3, match=2).begin(es.Prefix([0]))
    x = es.Prefix([0])
    assert tokens(drafter.draft(x, es.Rng(0))) == [[1], [1, 2], [1, 2, 3]]
    x = x + 1 + 9
    assert tokens(drafter.draft(x, es.Rng(0))) == []
    x = x + 4
    assert tokens(drafter.draft(x, es.Rng(0))) == []
    x = x + 5
    assert tokens(drafter.draft(x, es.Rng(0))) == [[6], [6, 7]]


def test_identical_source_and_output_take_one_pass_per_draft():
    model = cycle(50)
    assert passes(Aggressive(list(range(1, 21)), tokens=30), model, es.Prefix([0]), 20) == 1


def test_stand_averages_the_laws_it_saw():
    from espalier.drafting.stand import _Table

    table = _Table(top=2)
    table.add((1,), [3, 4], [0.6, 0.4])
    table.add((1,), [3, 5], [0.2, 0.8])
    law = table.law([0, 1])
    assert {3: pytest.approx(0.4), 5: pytest.approx(0.4)} == law  # 4 has 0.2 and falls out
    assert table.law([1, 0]) == {}


def test_stand_drafts_carry_the_law_of_their_siblings():
    drafter = STAND(V, nodes=4, depth=2, order=2)
    model, x = es.models.Table.random(V, 1, seed=0), es.Prefix([0])
    es.run(es.speculate(model, x, es.stop.budget(12), drafter, SampleMatch(), es.Rng(0)))

    def once(rng: es.Rng):  # type: ignore[no-untyped-def]
        return (yield from drafter.begin(x).propose(x, rng))

    first = exact_law(once, lambda draft: draft.token(draft.children[0][0]))
    [draft] = es.run(once(es.Rng(1)))
    q = draft.laws[0].q
    assert not draft.laws[0].replacement
    assert_same_law(first, {t: float(q[t]) for t in range(V) if q[t] > 0})
    second = exact_law(once, lambda draft: tuple(draft.token(c) for c in draft.children[0][:2]))
    assert_same_law(
        second, {(a, b): float(q[a] * q[b] / (1 - q[a])) for a in range(V) for b in range(V) if a != b and q[b] > 0}
    )


def test_aded_finds_the_chain_of_a_deterministic_table():
    drafter = ADED([[0, 1, 2, 3, 4, 5, 6]], nodes=4, depth=4, rollouts=20)
    assert proposed(drafter, es.Prefix([0, 1])) == [[2], [2, 3], [2, 3, 4], [2, 3, 4, 5]]


def test_dresd_retrieves_the_continuation_of_its_own_states():
    model, drafter = es.models.Table.random(6, 2, seed=2), DReSD(HiddenStore(size=16), k=1, tokens=4)
    x = es.Prefix([1, 2])
    first = passes(drafter, model, x, 24)
    assert passes(drafter, model, x, 24) < first  # the second time every state is known
    with pytest.raises(InvalidInput, match="one store per model"):
        drafter.store.key(torch.zeros(1, 7).numpy())


def test_the_approximate_index_finds_what_the_exact_one_finds():
    pytest.importorskip("usearch")
    keys = torch.randn(300, 8, generator=torch.Generator().manual_seed(0)).numpy()
    exact, near = es.drafting.ExactIndex(8), es.drafting.ApproximateIndex(8)
    exact.add(keys)
    near.add(keys)
    hits = sum(exact.nearest(key, 1)[0][0] == near.nearest(key, 1)[0][0] for key in keys)
    assert hits >= 297


def test_fused_drafts_are_the_union_of_their_paths():
    x = es.Prefix([0, 1, 2, 3, 0, 1])
    one, two = PromptLookup(tokens=3), Aggressive([2, 0, 4], tokens=3)
    both = proposed(Fuse(one, two, nodes=20), x)
    assert sorted(both) == sorted([*proposed(one, x), [2, 0], [2, 0, 4]])
    assert proposed(Fuse(one, two, nodes=4), x) == [[2], [2, 3], [2, 3, 0], [2, 0]]
    assert proposed(Cascade(PromptLookup(longest=5, shortest=5), two), x) == proposed(two, x)


def test_graft_fills_the_whole_budget_without_duplicates():
    recycling = TokenRecycling(nodes=30, top=3)
    es.run(es.speculate(SMALL, es.Prefix([0]), es.stop.budget(20), recycling, SampleMatch(), es.Rng(0)))
    for confident in ((1.0,), (0.0,)):
        draft = proposed(Graft(SMALL, recycling, nodes=9, width=2, depth=3, confident=confident), es.Prefix([0, 1]))
        assert len(draft) == 9
        assert len(set(map(tuple, draft))) == 9


def test_glance_is_exact_without_a_limit_and_guesses_with_one():
    model = es.models.Table.random(4, 2, seed=0) | es.temperature(0)
    budget = es.stop.budget
    [plain] = es.run(es.sample(model, es.Prefix([1]), budget(12), es.Rng(0)))
    [seen] = es.run(glance(model, es.Prefix([1]), budget(12), [3], budget(2), es.Rng(0), window=4))
    assert seen.thought.ids() == plain.ids()
    assert seen.guessed == []
    [early] = es.run(glance(model, es.Prefix([1]), budget(12), [3], budget(2), es.Rng(0), window=4, passes=2))
    assert len(early.thought) < 13
    assert early.guessed
    assert early.answer.origin.ids() == [*early.thought.ids(), *early.guessed, 3]


@pytest.mark.parametrize("v", [7, 300, 8192 + 5, 49_152])
def test_the_selection_by_chunks_is_top_k(v):
    logits = torch.randn(3, v, generator=torch.Generator().manual_seed(v))
    values, index = top_weights(logits, 8)
    assert torch.equal(values, logits.topk(min(8, v)).values)
    assert torch.equal(logits.gather(1, index), values)
    logits[0, 1:] = -torch.inf
    assert top_tokens(logits, 4)[0] == [0]


def test_a_template_holds_the_most_probable_paths():
    template = rank_template(40, depth=4, width=3, decay=0.4)
    assert len(template) == len(set(template)) == 40
    assert all(path[:-1] in template or len(path) == 1 for path in template)
    weight = {r: 0.6 * 0.4**r for r in range(3)}

    def p(path: tuple[int, ...]) -> float:
        return float(torch.tensor([weight[r] for r in path]).prod())

    import itertools

    every = [path for n in range(1, 5) for path in itertools.product(range(3), repeat=n)]
    assert min(map(p, template)) >= max(p(path) for path in every if path not in template) - 1e-6


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
