"""Constraints on rows: checks and masks have one law, dead ends leave no trace in it, speculation keeps it."""

from __future__ import annotations

import math

import pytest
import torch

import espalier as es
from espalier.constraints.constrain import Constrained
from espalier.errors import Unsatisfiable
from espalier.testing import assert_same_law, exact_law
from espalier.verification import Rejection, SampleMatch

V, LENGTH, END = 4, 3, 3
MODEL = es.models.Table.random(vocab_size=V, depth=2, seed=11)
PROMPT = es.Prefix([0])


class Listed:
    """The constraint that the text is one of a finite set of token sequences."""

    exactness = "exact"

    def __init__(self, texts: set[tuple[int, ...]]) -> None:
        self.texts = texts
        self.masks = self.checks = 0

    def start(self) -> tuple[int, ...]:
        return ()

    def advance(self, state: tuple[int, ...], token: int) -> tuple[int, ...] | None:
        return (*state, token) if self._fits((*state, token)) else None

    def allowed(self, state: tuple[int, ...], token: int) -> bool:
        self.checks += 1
        return self._fits((*state, token))

    def mask(self, state: tuple[int, ...]) -> torch.Tensor:
        self.masks += 1
        return torch.tensor([self._fits((*state, token)) for token in range(V)])

    def _fits(self, begun: tuple[int, ...]) -> bool:
        return any(text[: len(begun)] == begun for text in self.texts)


TEXTS = {(0, 1, END), (0, 2, 2), (1, 0, END), (2, 2, 2)}
SHORT = {(0, 1, 2), (1, 0, 1), (1, 0, 3), (1, 2, 0)}  # (0, 0), (0, 2) and (1, 1) lead nowhere


class ShortSighted(Listed):
    """Knows which tokens may stand at a place, but not after which others; refuses what is wrong only at the end."""

    def _fits(self, begun):
        some = begun[-1] in {text[len(begun) - 1] for text in self.texts if len(text) >= len(begun)}
        return some and (len(begun) < 3 or begun in self.texts)


def stop() -> es.stop.Stop:
    return es.stop.end([END]) | es.stop.budget(LENGTH)


def law_of(scorer, drafter=None, verifier=None):
    def decoder(rng):
        if drafter is None:
            return es.sample(scorer, PROMPT, stop(), rng)
        return es.speculate(scorer, PROMPT, stop(), drafter, verifier, rng)

    return exact_law(decoder, lambda x: tuple(x.written()))


def locally_constrained(texts, temperature=1.0):
    """The definition: at each step p restricted to the tokens that keep a completion possible, renormalised."""
    law = {}
    for text in texts:
        p, x = 1.0, PROMPT
        for i, token in enumerate(text):
            row = torch.softmax(MODEL.row(tuple(x.tail(2))) / temperature, -1)
            open_ = {other[i] for other in texts if len(other) > i and other[:i] == text[:i]}
            p *= float(row[token] / sum(row[t] for t in open_))
            x = x + token
        law[text] = p
    return law


def test_sampling_under_a_constraint_has_the_locally_constrained_law():
    assert_same_law(law_of(MODEL * Listed(TEXTS)), locally_constrained(TEXTS))


def test_truncation_goes_by_the_mask_and_checks_by_the_same_law():
    checked, masked = Listed(TEXTS), Listed(TEXTS)
    assert_same_law(law_of(MODEL * checked | es.temperature(0.7)), locally_constrained(TEXTS, 0.7))
    assert_same_law(law_of(MODEL * masked | es.temperature(0.7) | es.top_p(1.0)), locally_constrained(TEXTS, 0.7))
    assert masked.masks > 0
    assert masked.checks == 0
    assert checked.checks > 0


def test_dead_ends_leave_no_trace_in_the_law():
    """A short-sighted constraint allows beginnings without completion; backing up gives the law of the exact one."""

    over = ShortSighted(SHORT)
    assert over.advance((0,), 0) is not None  # it can get lost
    law = law_of(MODEL * over | es.top_p(1.0))  # by masks: fewer orders of refusal to replay
    assert_same_law(law, locally_constrained(SHORT))
    assert math.isclose(sum(law.values()), 1.0)


@pytest.mark.parametrize("verifier", [SampleMatch(), Rejection()], ids=["match", "rejection"])
@pytest.mark.parametrize("tokens", [1, 3])
def test_speculation_under_a_constraint_keeps_the_law(verifier, tokens):
    drafter = es.drafting.PromptLookup(tokens=tokens)
    assert_same_law(law_of(MODEL * Listed(TEXTS), drafter, verifier), locally_constrained(TEXTS))


def test_drafts_are_pruned_before_they_cost():
    model = es.models.Table.random(vocab_size=V, depth=2, seed=11)
    seen = []

    class Spy(es.Model):
        vocab_size = V

        def forward(self, prefixes, want):
            seen.extend(prefixes)
            return model.forward(prefixes, want)

    x = es.Prefix([1, 1, 1, 0])
    scorer = Spy() * Listed({(0, 1, END), (0, 2, END)})
    es.run(es.speculate(scorer, x, stop(), es.drafting.PromptLookup(), SampleMatch(), es.Rng(0)))
    assert all(scorer.viable(prefix) for prefix in seen)


def test_what_nothing_satisfies_is_an_error_and_not_a_text():
    with pytest.raises(Unsatisfiable):
        es.run(es.sample(MODEL * Listed(set()), PROMPT, stop(), es.Rng(0)))


def test_beam_under_a_constraint_finds_the_most_probable_allowed_text():
    def logp(text):
        p, x = 0.0, PROMPT
        for token in text:
            p += float(torch.log_softmax(MODEL.row(tuple(x.tail(2))), -1)[token])
            x = x + token
        return p

    [found] = es.run(es.beam(MODEL * Listed(TEXTS), PROMPT, stop(), width=8, alpha=0.0))
    assert {tuple(h.prefix.written()): pytest.approx(h.logp) for h in found} == {t: pytest.approx(logp(t)) for t in TEXTS}
    assert tuple(found[0].prefix.written()) == max(TEXTS, key=logp)


def test_two_constraints_on_one_scorer_are_both_kept():
    both = Constrained(Constrained(MODEL, Listed(TEXTS)), Listed({(0, 1, END), (2, 2, 2)}))
    assert_same_law(law_of(both), locally_constrained({(0, 1, END), (2, 2, 2)}))


def reweighed(scorer, texts):  # type: ignore[no-untyped-def]
    """The law of sampling step by step among the tokens that lead to one of the texts."""
    law = {}
    for text in texts:
        x, p = PROMPT, 1.0
        for at, token in enumerate(text):
            [row] = es.run(_row(scorer, x))
            possible = {other[at] for other in texts if other[:at] == text[:at]}
            p *= float(row[token] / row[sorted(possible)].sum())
            x = x + token
        law[text] = p
    return law


def _row(scorer, x):  # type: ignore[no-untyped-def]
    rows = yield es.Ask(scorer, [x])
    return rows[0].probs()


@pytest.mark.parametrize("drafted", [False, True], ids=["plain", "drafted"])
@pytest.mark.parametrize("scale", [1.0, 1.7])
def test_dead_ends_inside_a_mixture_are_backed_out_of(scale, drafted):
    """Guidance over a constrained scorer: both streams meet the constraint's dead ends, and the text is one that exists."""
    target = es.shaping.guidance(Constrained(MODEL, ShortSighted(SHORT)), es.Prefix([2, 1]), scale)
    drafter, verifier = (es.drafting.PromptLookup(tokens=2), SampleMatch()) if drafted else (None, None)
    law = law_of(target | es.top_p(1.0), drafter, verifier)  # by masks: fewer orders of refusal to replay
    assert set(law) <= SHORT
    assert_same_law(law, reweighed(es.shaping.guidance(Constrained(MODEL, Listed(SHORT)), es.Prefix([2, 1]), scale), SHORT))
