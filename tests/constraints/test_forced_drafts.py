"""Forced bytes as drafts: the same text with fewer passes, for every tokenization the model may prefer."""

from __future__ import annotations

import pytest

import espalier as es
from espalier.drafting import Outlook
from espalier.drafting.guided.forced import Forced
from espalier.models.table import Table
from espalier.run import Decoder
from espalier.testing import assert_same_law, exact_law
from espalier.text.vocab import Vocab

VOCAB = Vocab([b"a", b"b", b"ab", b"ba", b"aba", b"c", b"(", b")", None, None], end=[8])


def finish(length: int) -> es.stop.Stop:
    return es.stop.end(VOCAB.end) | es.stop.budget(length)


def test_same_tokens_as_sampling_with_fewer_passes() -> None:
    guide = es.cfg('s ::= "abab" ("(" s ")" | "c" "ababab")')
    fewer = 0
    for seed in range(30):
        model = Table.random(VOCAB.size, 2, seed, VOCAB)
        scorer = model * guide
        [plain] = es.run(es.sample(scorer, es.Prefix([9]), finish(40), es.Rng(seed)))
        sampled, model.passes = model.passes, 0
        drafter = Forced(guide, VOCAB)
        verify = es.verification.SampleMatch()
        [drafted] = es.run(es.speculate(scorer, es.Prefix([9]), finish(40), drafter, verify, es.Rng(seed)))
        assert drafted.ids() == plain.ids()
        assert model.passes <= sampled
        fewer += model.passes < sampled
    assert fewer > 20


def test_exact_law() -> None:
    vocab = Vocab([b"a", b"b", b"ab", None], end=[3])
    guide = es.regex("ab")
    model = Table.random(vocab.size, 1, 3, vocab)
    x = es.Prefix([0])
    end = es.stop.end(vocab.end)
    drafter = Forced(guide, vocab, tokens=2)

    def speculate(rng: es.Rng) -> Decoder[es.Prefix]:
        return es.speculate(model * guide, x, end, drafter, es.verification.SampleMatch(), rng)

    def ids(y: es.Prefix) -> tuple[int, ...]:
        return tuple(y.written())

    assert_same_law(exact_law(speculate, ids), exact_law(lambda rng: es.sample(model * guide, x, end, rng), ids))


def test_an_encoding_that_writes_something_else_is_cut() -> None:
    guide = es.regex("abab")
    draft = Forced(guide, VOCAB, encode=lambda text: [2, 5, 2]).draft(es.Prefix([9]))
    assert draft.prefixes[-1].written() == [2]
    assert len(Forced(guide, VOCAB, encode=lambda text: [9]).draft(es.Prefix([9]))) == 0


def test_auto_knows_the_guide_and_draws_the_tokens_of_sampling() -> None:
    guide = es.cfg('s ::= "abab" ("(" s ")" | "c" "ababab")')
    model, verify = Table.random(VOCAB.size, 2, 0, VOCAB), es.verification.SampleMatch()
    auto = es.drafting.Auto(slack=1e6, clock=lambda: 0.0)  # passes are free
    alone, passes = es.drafting.Auto(slack=1e6, clock=lambda: 0.0), [0, 0]
    for seed in range(30):
        scorer, x = model * guide, es.Prefix([9])
        [plain] = es.run(es.sample(scorer, x, finish(40), es.Rng(seed)))
        for guided, drafter in enumerate((alone, auto.guided_by(Outlook(guide, VOCAB)))):
            model.passes = 0
            [drafted] = es.run(es.speculate(scorer, x, finish(40), drafter, verify, es.Rng(seed)))
            assert drafted.ids() == plain.ids()
            passes[guided] += model.passes
    assert passes[1] < 0.8 * passes[0]


def test_what_the_guide_refuses_takes_no_room_in_a_draft() -> None:
    guide, vocab = es.regex("ab(cab)*"), VOCAB
    auto = es.drafting.Auto(slack=1e6, clock=lambda: 0.0, nodes=6)
    model = Table.random(vocab.size, 1, 5, vocab)
    outlook, end = Outlook(guide, vocab), es.stop.budget(30)
    es.run(es.speculate(model, es.Prefix([9]), end, auto, es.verification.SampleMatch(), es.Rng(0)))  # learns rows and costs
    text, x = auto.guided_by(outlook).begin(es.Prefix([9])), es.Prefix([9])
    drafted = 0
    for token in (2, 5, 0, 1):
        proposal = text.propose(x, es.Rng(0))
        with pytest.raises(StopIteration) as done:
            next(proposal)
        draft = done.value.value
        assert all(outlook.state(y) is not None for y in draft.prefixes)
        drafted += len(draft)
        text.observe(x + token, draft, model.forward(draft.prefixes, frozenset()))
        x = x + token
    assert drafted > 0


def test_forced_tokens_follow_drafted_ones_in_one_tree() -> None:
    guide = es.regex("(a|c)babab")
    auto = es.drafting.Auto(slack=1e6, clock=lambda: 0.0)
    model = Table.random(VOCAB.size, 1, 5, VOCAB)
    es.run(es.speculate(model, es.Prefix([9]), es.stop.budget(30), auto, es.verification.SampleMatch(), es.Rng(0)))
    proposal = auto.guided_by(Outlook(guide, VOCAB)).begin(es.Prefix([9])).propose(es.Prefix([9]), es.Rng(0))
    with pytest.raises(StopIteration) as done:
        next(proposal)
    written = [VOCAB.join(y.written()) for y in done.value.value.prefixes]
    assert b"ababab" in written or b"cbabab" in written


def test_what_is_not_forced_comes_from_the_other_drafter() -> None:
    guide = es.regex("[abc()]*")
    drafter = Forced(guide, VOCAB, otherwise=es.drafting.PromptLookup(tokens=2)).begin(es.Prefix([0, 1, 0]))
    [x] = es.run(
        es.speculate(
            Table.random(VOCAB.size, 1, 0, VOCAB) * guide,
            es.Prefix([0, 1, 0]),
            finish(5),
            drafter,
            es.verification.GreedyMatch(),
            es.Rng(0),
        )
    )
    assert len(x.written()) <= 5
