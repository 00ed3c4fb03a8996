"""Constraints on tokens: with and without a mask the law is one, and what is no constraint is told."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch

import espalier as es
from espalier.errors import InvalidInput, Unsatisfiable
from espalier.testing import assert_same_law, exact_law
from espalier.verification import Rejection, SampleMatch

V, LENGTH = 4, 3
MODEL = es.models.Table.random(vocab_size=V, depth=2, seed=3)


class Falling(es.TokenConstraint):
    """No token is greater than the one before; by checks alone, or with a mask."""

    def __init__(self, masked: bool, first: int = V) -> None:
        self.masked, self.first, self.checks = masked, first, 0

    def start(self) -> int:
        return self.first

    def advance(self, state: int, token: int) -> int | None:
        self.checks += 1
        return token if token <= state else None

    def mask(self, state: int) -> torch.Tensor | None:
        return torch.arange(V) <= state if self.masked else None


def law_of(scorer, drafter=None, verifier=None):
    def decoder(rng):
        if drafter is None:
            return es.sample(scorer, es.Prefix([0]), es.stop.budget(LENGTH), rng)
        return es.speculate(scorer, es.Prefix([0]), es.stop.budget(LENGTH), drafter, verifier, rng)

    return exact_law(decoder, lambda x: tuple(x.written()))


@pytest.mark.parametrize("tail", [None, es.temperature(0.5), es.temperature(0), es.top_k(2), es.top_p(0.8)])
@pytest.mark.parametrize("first", [V, 2, 0])
def test_a_row_without_a_mask_has_the_law_of_the_row_with_one(tail, first) -> None:
    plain, masked = MODEL * Falling(False, first), MODEL * Falling(True, first)
    if tail is not None:
        plain, masked = plain | tail, masked | tail
    law = law_of(plain)
    assert all(list(text) == sorted(text, reverse=True) for text in law)
    assert_same_law(law, law_of(masked))


@pytest.mark.parametrize("verifier", [SampleMatch(), Rejection()], ids=["match", "rejection"])
def test_speculation_without_a_mask_keeps_the_law(verifier) -> None:
    drafter = es.drafting.PromptLookup(tokens=2)
    assert_same_law(law_of(MODEL * Falling(False), drafter, verifier), law_of(MODEL * Falling(True)))


def test_a_beam_without_a_mask_finds_what_it_finds_with_one() -> None:
    found = [
        es.run(es.beam(MODEL * Falling(masked), es.Prefix([0]), es.stop.budget(LENGTH), width=8, alpha=0.0))[0]
        for masked in (False, True)
    ]
    for a, b in zip(*found, strict=True):
        assert a.prefix.written() == b.prefix.written()
        assert a.logp == pytest.approx(b.logp)


def test_mask_may_be_none_on_the_class_and_rows_stay_lazy() -> None:
    class Even(es.TokenConstraint):
        mask = None
        checked: ClassVar[list[int]] = []

        def start(self):
            return 0

        def advance(self, state, token):
            self.checked.append(token)
            return 0 if token % 2 == 0 else None

    model = es.models.Table(1000, 0, lambda _: -torch.arange(1000.0).abs())
    [x] = es.run(es.sample(model * Even() | es.temperature(0), es.Prefix([0]), es.stop.budget(1), es.Rng(0)))
    assert x.written() == [0]
    assert len(Even.checked) <= 3, "the most probable token is allowed: nothing else is checked"


def test_equals_go_to_the_first_and_refusal_of_all_is_told() -> None:
    class Only(es.TokenConstraint):
        def __init__(self, tokens):
            self.tokens = tokens

        def start(self):
            return 0

        def advance(self, state, token):
            return 0 if token in self.tokens else None

    flat = es.models.Table(500, 0, lambda _: torch.zeros(500))
    [x] = es.run(es.sample(flat * Only({77, 400}) | es.temperature(0), es.Prefix([0]), es.stop.budget(1), es.Rng(0)))
    assert x.written() == [77]
    for tail in (0, 1):
        with pytest.raises(Unsatisfiable):
            es.run(es.sample(flat * Only(()) | es.temperature(tail), es.Prefix([0]), es.stop.budget(1), es.Rng(0)))


@pytest.mark.parametrize("wrong", ["abc", None, es.TokenConstraint, es.regex, 3])
def test_what_restricts_nothing_is_told(wrong) -> None:
    with pytest.raises(InvalidInput, match=r"what restricts a scorer was .*expected a guide such as"):
        MODEL * wrong


def test_a_guide_needs_a_vocabulary() -> None:
    with pytest.raises(InvalidInput, match="has no vocabulary"):
        MODEL * es.regex("a")


def test_a_mask_of_the_wrong_shape_is_told() -> None:
    class Wide(Falling):
        def mask(self, state):
            return torch.ones(V + 1, dtype=torch.bool)

    with pytest.raises(InvalidInput, match=r"Wide.mask gave torch.bool \[5\]; expected a bool tensor \[4\]"):
        es.run(es.sample(MODEL * Wide(True) | es.top_k(1), es.Prefix([0]), es.stop.budget(1), es.Rng(0)))
