"""Drafters with a model: what they propose, and the laws they say they drew from."""

from __future__ import annotations

import itertools
import time

import pytest
import torch

import espalier as es
from espalier import drafting as d
from espalier import verification as v
from espalier.drafting.draft_model.other_vocabulary import Translation, longest_match
from espalier.drafting.policies import Constant, grow
from espalier.errors import ContextOverflow, InvalidInput
from espalier.testing import assert_same_law, outcomes
from espalier.text import Vocab

V = 3
PROMPT = es.Prefix([0, 1])
TARGET, SMALL = es.models.Table.random(V, 2, seed=3), es.models.Table.random(V, 1, seed=8)


def proposals(drafter, x=PROMPT):  # type: ignore[no-untyped-def]
    return outcomes(lambda rng: es.run(drafter.begin(x).propose(x, rng))[0])


def paths(draft, depth):  # type: ignore[no-untyped-def]
    return tuple(tuple(x.since(draft.prefixes[0])) for x in draft.prefixes if len(x) - len(draft.prefixes[0]) == depth)


def test_every_level_of_a_stochastic_beam_is_a_sample_of_paths_without_replacement():
    """P(s, t, …) = q(s) · q(t) / (1 - q(s)) · …, in the order of the level, as of Gumbel top-k over whole paths."""
    law = {}
    for p, draft in outcomes(lambda rng: es.run(grow(SMALL, PROMPT, d.StochasticBeam(2, 2), Constant(2), rng))[0]):
        law[paths(draft, 2)] = law.get(paths(draft, 2), 0.0) + p
    joint = SMALL.joint(PROMPT, 2)
    assert_same_law(law, {(s, t): joint[s] * joint[t] / (1 - joint[s]) for s, t in itertools.permutations(joint, 2)})


def test_a_stochastic_beam_grows_below_the_level_above_and_first_below_its_first():
    for _, draft in outcomes(lambda rng: es.run(grow(SMALL, PROMPT, d.StochasticBeam(2, 2), Constant(2), rng))[0]):
        first, second = paths(draft, 1), paths(draft, 2)
        assert second[0][:1] == first[0]
        assert all(path[:1] in first for path in second)


def test_chains_are_independent_draws_and_share_their_beginnings():
    law = {}
    for p, draft in outcomes(lambda rng: es.run(grow(SMALL, PROMPT, d.Chains(2, 1), Constant(1), rng))[0]):
        law[tuple(draft.tokens(0))] = p
        assert len(draft) == len(set(draft.tokens(0)))
    q = {t: w for (t,), w in SMALL.joint(PROMPT, 1).items()}
    assert_same_law(law, {(a, b): q[a] * q[b] for a in q for b in q})


def test_pruning_keeps_draws_and_how_often_they_were_made():
    draft = d.Draft(PROMPT)
    draft.drawn(0, torch.ones(3) / 3)
    a = draft.add(0, 1)
    assert draft.add(0, 1) == a
    b = draft.add(0, 2)
    draft.drawn(b, torch.ones(3) / 3)
    draft.add(b, 0)
    kept = draft.pruned(lambda x: x.last != 2)
    assert kept.tokens(0) == [1, 1, 2]
    assert len(kept) == 2  # the draw stays, what is below it goes


def test_the_target_as_its_own_drafter_is_accepted_whole():
    for rule in (v.Rejection(), v.Block(), v.Recursive()):
        twin = es.models.Table.random(V, 2, seed=3)
        target = es.models.Table.random(V, 2, seed=3)
        es.run(es.speculate(target, PROMPT, es.stop.budget(12), d.DraftModel(twin, tokens=3), rule, es.Rng(1)))
        assert target.passes == 3


# Staged


def test_a_staged_draft_is_a_draw_from_the_middle_model():
    staged = d.Staged(SMALL, d.PromptLookup(tokens=2), v.SampleMatch(), tokens=2)
    law = {}
    for p, draft in proposals(staged):
        law[paths(draft, 2)[0]] = law.get(paths(draft, 2)[0], 0.0) + p
        for node in (0, 1):
            q = torch.softmax(SMALL.row((draft.prefixes[node].last,)), -1)
            assert torch.allclose(draft.laws[node].q, q)
    assert_same_law(law, SMALL.joint(PROMPT, 2))


def test_staging_saves_passes_of_the_middle_model():
    x = es.Prefix([0, 1, 2] * 5)
    middle = es.models.Table(V, 2, lambda context: 9.0 * torch.eye(V)[(context[-1] + 1) % V if context else 0])
    target = es.models.Table.random(V, 2, seed=3)
    verify = v.GreedyMatch()
    for drafter, most in [(d.Staged(middle, d.PromptLookup(), verify, tokens=6), 2), (d.DraftModel(middle, tokens=6), 6)]:
        middle.passes = 0
        es.run(drafter.begin(x).propose(x, es.Rng(0)))
        assert middle.passes <= most
    es.run(es.speculate(target, x, es.stop.budget(5), d.Staged(middle, d.PromptLookup(), verify), verify, es.Rng(0)))


def test_a_lossy_rule_inside_is_refused():
    with pytest.raises(InvalidInput, match="lossy"):
        d.Staged(SMALL, d.PromptLookup(), v.Typical())


# PEARL


class Slow(es.Model):
    """A table that takes its time, as a device does: without holding the interpreter."""

    def __init__(self, table, seconds):  # type: ignore[no-untyped-def]
        self.table, self.seconds, self.vocab_size = table, seconds, table.vocab_size

    def forward(self, prefixes, want):  # type: ignore[no-untyped-def]
        time.sleep(self.seconds)
        return self.table.forward(prefixes, want)


def test_drafting_and_verifying_at_once_takes_the_longer_of_the_two():
    """Drafter = target, 3 drafts of 8 ms per pass of 24 ms: 48 ms a round one after the other, 24 ms side by side."""
    target, twin = Slow(TARGET, 0.024), Slow(TARGET, 0.008)
    seconds = {"DraftModel": float("inf"), "Pearl": float("inf")}
    for drafter in (d.DraftModel(twin, tokens=3), d.Pearl(twin, tokens=3)) * 3:
        start = time.perf_counter()
        es.run(es.speculate(target, PROMPT, es.stop.budget(36), drafter, v.Rejection(), es.Rng(2)))
        name = type(drafter).__name__
        seconds[name] = min(seconds[name], time.perf_counter() - start)  # whatever else the machine does only adds
    rounds = {"DraftModel": 36 / 4, "Pearl": 36 / 3}  # no bonus token
    assert seconds["Pearl"] / rounds["Pearl"] < 0.8 * seconds["DraftModel"] / rounds["DraftModel"]


def test_an_error_of_the_draft_thread_is_raised_where_it_is_used():
    class Broken(es.Model):
        vocab_size = V

        def forward(self, prefixes, want):  # type: ignore[no-untyped-def]
            raise RuntimeError("the draft model is broken")

    with pytest.raises(RuntimeError, match="broken"):
        es.run(es.speculate(TARGET, PROMPT, es.stop.budget(4), d.Pearl(Broken()), v.Rejection(), es.Rng(0)))


# Other vocabularies

OURS = Vocab([b"a", b"b", b"ab", b"aba", None], end=[4])
THEIRS = Vocab([b"b", b"a", b"ba", None, b"aab"], end=[3])
FOREIGN = es.models.Table.random(THEIRS.size, 1, seed=5, vocab=THEIRS)


def row(scorer, x):  # type: ignore[no-untyped-def]
    def once():  # type: ignore[no-untyped-def]
        return (yield es.Ask(scorer, [x]))

    [rows] = es.run(once())
    return rows[0].probs()


def begins_with(text, x, chance=1.0, depth=6):  # type: ignore[no-untyped-def]
    """P(the foreign model's text below x begins with some bytes), by walking all its texts."""
    if not text:
        return chance
    total = 0.0
    for token, p in enumerate(row(FOREIGN, x).tolist()):
        piece = THEIRS[token]
        if piece and (piece.startswith(text) or text.startswith(piece)):
            total += begins_with(text[len(piece) :], x + token, chance * p, depth - 1)
    return total


def test_the_string_law_is_the_probability_of_the_longest_token():
    x = es.Prefix([0, 1])
    y = Translation(OURS, THEIRS).prefix(x)
    assert y.ids() == [1, 0]
    law = row(d.StringLaw(FOREIGN, OURS), x)
    a, b, ab, aba = (begins_with(text, y) for text in (b"a", b"b", b"ab", b"aba"))
    wanted = torch.tensor([a - ab, b, ab - aba, aba, float(row(FOREIGN, y)[3])], dtype=torch.float64)
    assert float(wanted.sum()) == pytest.approx(1, abs=1e-12)
    assert torch.allclose(law, wanted, atol=1e-12)


def test_a_string_law_that_would_cost_too_much_is_refused():
    with pytest.raises(InvalidInput, match="limit=1"):
        row(d.StringLaw(FOREIGN, OURS, limit=1), PROMPT)


def test_an_intersection_is_the_law_on_common_tokens_renormalised():
    law, theirs = row(d.Intersection(FOREIGN, OURS), es.Prefix([0, 1])), row(FOREIGN, es.Prefix([1, 0]))
    common = torch.tensor([theirs[1], theirs[0], 0, 0, theirs[3]])
    assert torch.allclose(law, common / common.sum())


def test_vocabularies_without_common_tokens_are_refused():
    with pytest.raises(InvalidInput, match="Retokenised"):
        d.Intersection(es.models.Table.random(1, 1, seed=0, vocab=Vocab([b"z"])), OURS)


def test_prefixes_are_translated_as_they_grow_and_forgotten_with_them():
    translation = Translation(OURS, THEIRS)
    x = es.Prefix([0, 0, 1, 1])
    assert translation.prefix(x).ids() == [4, 0]  # given text is cut anew: aab, b
    y = x + 2 + 0
    assert translation.prefix(y).ids() == [4, 0, 1, 0, 1]  # written tokens are cut one by one
    assert translation.prefix(y) is translation.prefix(y)
    assert translation.prefix(y.parent) is translation.prefix(y).parent  # and share what they share
    turn = y.given([0])
    assert translation.prefix(turn).origin is translation.prefix(turn)


def test_special_tokens_are_translated_by_name():
    ours = Vocab([b"a", None, None], names={1: "<|user|>", 2: "<|other|>"})
    theirs = Vocab([None, b"a"], names={0: "<|user|>"})
    assert Translation(ours, theirs).prefix(es.Prefix([1, 0, 2, 0])).ids() == [0, 1, 1]


def test_retokenised_text_begins_where_the_prefix_ends():
    cycle = {b"a"[0]: 0, b"b"[0]: 1}  # after a comes b, after b comes a
    foreign = es.models.Table(
        THEIRS.size, 1, lambda c: 9.0 * torch.eye(THEIRS.size)[cycle.get(THEIRS[c[-1]][-1], 0) if c else 1], vocab=THEIRS
    )
    drafter = d.Retokenised(foreign, OURS, tokens=4)
    [draft] = es.run(drafter.propose(es.Prefix([1]), es.Rng(0)))
    text = OURS.join(draft.prefixes[-1].since(draft.prefixes[0]))
    assert text == b"abab"
    assert paths(draft, 1) == ((3,),)  # "aba", the longest token of ours there
    [draft] = es.run(drafter.propose(es.Prefix([0, 1, 0]), es.Rng(0)))
    assert OURS.join(draft.prefixes[-1].since(draft.prefixes[0])) == b"baba"


def test_longest_match_writes_the_bytes():
    for text in (b"abaab", b"bbbaba", b"aab"):
        assert OURS.join(longest_match(OURS)(text)) == text


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: d.DraftModel(FOREIGN), "Intersection"),
        (lambda: d.Pearl(FOREIGN), "Intersection"),
        (lambda: d.Staged(FOREIGN, d.PromptLookup(), v.SampleMatch()), "Intersection"),
        (lambda: d.DraftModel(es.models.Table.random(V, 1, 0, vocab=Vocab([b"x", b"y", b"z"]))), "same bytes"),
        (lambda: d.Cascade(d.PromptLookup(), d.DraftModel(FOREIGN, tree=d.Chain(2, "deterministic"))), "Intersection"),
        (lambda: d.Retokenised(FOREIGN, OURS), "lm.vocab"),
        (lambda: d.Tetris(FOREIGN, d.Capacity(4), tree=d.Chain(2)), "Intersection"),
        (lambda: d.ProPD(d.PromptLookup(), FOREIGN), "Intersection"),
        (lambda: d.BanditDrafter([d.PromptLookup(), d.RASD(FOREIGN, d.PromptLookup())]), "Intersection"),
        (lambda: d.STAND(9), "STAND"),
    ],
)
def test_a_drafter_of_another_vocabulary_is_refused(make, said):
    target = es.models.Table.random(V, 2, seed=0, vocab=Vocab([b"a", b"b", b"c"]))
    with pytest.raises(InvalidInput, match=said):
        es.run(es.speculate(target, PROMPT, es.stop.budget(2), make(), v.SampleMatch(), es.Rng(0)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: d.DraftModel(SMALL, tokens=0),
        lambda: d.Pearl(SMALL, tokens=0),
        lambda: d.SpeculativeJacobi(0),
        lambda: d.Staged(SMALL, d.PromptLookup(), v.SampleMatch(), tokens=0),
        lambda: d.Chains(0, 1),
        lambda: d.StochasticBeam(1, 0),
        lambda: d.VocabTrim([]),
        lambda: SMALL | d.VocabTrim([7]),
        lambda: d.frequent([[1]], 0),
    ],
)
def test_impossible_budgets_are_refused(make):
    with pytest.raises(InvalidInput):
        make()


class Short(es.models.Table):
    """A model that looks at eight tokens at most."""

    def forward(self, prefixes, want):  # type: ignore[no-untyped-def]
        if max(map(len, prefixes)) > 8:
            raise ContextOverflow("more than eight tokens")
        return super().forward(prefixes, want)


@pytest.mark.parametrize(
    "tree", [d.Chain(3), d.KConfig((2, 1)), d.Chain(3, kind="deterministic")], ids=["drawn", "tree", "greedy"]
)
def test_a_draft_model_with_a_shorter_context_falls_silent(tree):
    drafter = d.DraftModel(Short(V, 1, lambda context: SMALL.row(context)), tree=tree)
    verify, stop = v.MultiCandidate(), es.stop.budget(20)
    [x] = es.run(es.speculate(TARGET, PROMPT, stop, drafter, verify, es.Rng(0)))
    assert len(x.written()) == 20
