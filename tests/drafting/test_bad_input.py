"""What cannot draft is refused before any model runs, or at the pass that shows it, and the message says what to do instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from toys import random_lm

import espalier as es
from espalier import drafting as d
from espalier.errors import InvalidInput
from espalier.text.vocab import Vocab

VOCAB = Vocab([b"a", b"b", None], end=[2])
OTHER = Vocab([b"b", b"a", None], end=[2])
SMALL = es.models.Table.random(3, 1, seed=1, vocab=OTHER)
TARGET = es.models.Table.random(3, 2, seed=0, vocab=VOCAB)

BUDGETS: dict[str, Callable[[int], object]] = {
    "auto": lambda n: d.Auto(nodes=n),
    "lookup": lambda n: d.PromptLookup(tokens=n),
    "cache": lambda n: d.NGramCache(tokens=n),
    "recycling": lambda n: d.TokenRecycling(nodes=n),
    "lookahead": lambda n: d.Lookahead(window=n),
    "jacobi": lambda n: d.Jacobi(n),
    "aggressive": lambda n: d.Aggressive([0, 1], tokens=n),
    "rest": lambda n: d.REST(d.TextStore([[0, 1]]), nodes=n),
    "stand": lambda n: d.STAND(3, nodes=n),
    "aded": lambda n: d.ADED(nodes=n),
    "dresd": lambda n: d.DReSD(tokens=n),
    "draft model": lambda n: d.DraftModel(TARGET, tokens=n),
    "chain": lambda n: d.Chain(n),
    "forced": lambda n: d.Forced(es.regex("a*"), VOCAB, tokens=n),
    "fuse": lambda n: d.Fuse(d.PromptLookup(), nodes=n),
    "speculative jacobi": lambda n: d.SpeculativeJacobi(n),
    "pearl": lambda n: d.Pearl(TARGET, tokens=n),
    "constant": lambda n: d.Constant(n),
    "capacity": lambda n: d.Capacity(n),
}


@pytest.mark.parametrize("budget", [0, -1])
@pytest.mark.parametrize("name", BUDGETS)
def test_budgets_are_positive(name, budget):
    with pytest.raises(InvalidInput, match=str(budget)):
        BUDGETS[name](budget)


class NoStates(es.Model):
    """A model that has no hidden states to show, and says so."""

    vocab_size, vocab = 3, VOCAB

    def forward(self, prefixes: Sequence[es.Prefix], want: frozenset[str]) -> es.Rows:
        if want:
            raise InvalidInput(f"this model cannot give {sorted(want)}")
        return es.Rows(torch.zeros(len(prefixes), 3), prefixes)


def speculate(target: es.Scorer, drafter: d.Drafter) -> None:
    es.run(es.speculate(target, es.Prefix([0]), es.stop.budget(4), drafter, es.verification.SampleMatch(), es.Rng(0)))


class Silent(NoStates):
    """A model that has none either, and answers as if nothing had been asked."""

    def forward(self, prefixes: Sequence[es.Prefix], want: frozenset[str]) -> es.Rows:
        return super().forward(prefixes, frozenset())


def test_hidden_states_of_a_model_that_has_none():
    with pytest.raises(InvalidInput, match=r"hidden.*PromptLookup"):
        speculate(Silent(), d.DReSD(d.HiddenStore(size=3)))
    with pytest.raises(InvalidInput, match="hidden"):
        speculate(NoStates(), d.DReSD(d.HiddenStore(size=3)))
    with pytest.raises(InvalidInput, match="layers"):
        d.early_exit(NoStates(), 1)
    with pytest.raises(InvalidInput, match="layers"):
        d.DEL(NoStates())


@pytest.mark.parametrize(
    "drafter",
    [
        d.DraftModel(SMALL, tree=d.Chain(2, kind="deterministic")),
        d.Forced(es.regex("a*"), Vocab([b"a", None], end=[1])),
        d.REST(d.TextStore([[0, 1, 0]], OTHER)),
    ],
    ids=["draft model", "forced", "store"],
)
def test_another_vocabulary_without_a_mapping(drafter):
    with pytest.raises(InvalidInput, match=r"vocabulary|tokenizer"):
        speculate(TARGET, drafter)


def test_auto_serves_one_vocabulary():
    auto = d.Auto()
    speculate(TARGET, auto)
    with pytest.raises(InvalidInput, match="one drafter per model"):
        speculate(SMALL, auto)


def test_a_wrong_pair_is_refused_in_the_words_of_the_request():
    lm = random_lm()
    with pytest.raises(InvalidInput, match=r"KSeq was given PromptLookup.*deterministic"):
        lm.complete(es.raw("ab"), max_tokens=2, drafter="lookup", verifier=es.verification.KSeq())
    with pytest.raises(InvalidInput, match=r"GreedyMatch.*temperature=0.7"):
        lm.complete(es.raw("ab"), max_tokens=2, drafter="lookup", verifier=es.verification.GreedyMatch(), temperature=0.7)


@pytest.mark.parametrize(
    "make",
    [
        lambda: d.RASD(TARGET, "lookup"),
        lambda: d.Graft(TARGET, d.PromptLookup),
        lambda: d.ProPD(TARGET, TARGET),
        lambda: d.Staged(TARGET, None, es.verification.SampleMatch()),
    ],
    ids=["rasd", "graft", "propd", "staged"],
)
def test_what_is_no_drafter_cannot_be_wrapped(make):
    with pytest.raises(InvalidInput, match=r"expected a drafter, such as es.drafting.PromptLookup\(\)"):
        make()


def test_a_draft_model_that_may_say_nothing_drafts_nothing():
    """Under a constraint of its own it can be at an end where the target is not."""
    ended = TARGET * es.regex("b")
    for drafter in (d.RASD(ended, d.PromptLookup()), d.ProPD(d.PromptLookup(), ended), d.DraftModel(ended, tokens=2)):
        speculate(TARGET, drafter)
