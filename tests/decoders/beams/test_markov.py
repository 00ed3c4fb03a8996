"""Cascaded decoding: max-marginals and best paths against brute force."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

import espalier as es
from decoders.beams.brute import X, stop, texts
from espalier.decoders import Markov
from espalier.decoders.beams.cascaded_markov import _Chain
from espalier.errors import InvalidInput, Unsatisfiable


def best(decoder: Markov, scorer: es.Scorer, until: es.stop.Stop) -> tuple[tuple[int, ...], float]:
    [[find]] = es.run(decoder(scorer, X, until, es.Rng(0)))
    return tuple(find.prefix.written()), find.log_weight


def chain_texts(model: es.models.Table, m: int, length: int, end: int | None) -> dict[tuple[int, ...], float]:
    """The log-weight of every text under the chain of order m: rows after X and the last m tokens."""
    found = {}
    for size in range(1, length + 1):
        for text in itertools.product(range(model.vocab_size), repeat=size):
            if end in text[:-1] or (size < length and text[-1] != end):
                continue
            total = 0.0
            for at, token in enumerate(text):
                context = (*X.ids(), *(text[max(0, at - m) : at] if m else ()))
                total += float(model.row(context[max(0, len(context) - model.depth) :]).log_softmax(-1)[token])
            found[text] = total
    return found


@pytest.mark.parametrize("end", [None, 2])
@pytest.mark.parametrize("m", [0, 1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_max_marginals_equal_brute_force(m, seed, end):
    model, length = es.models.Table.random(4, 3, seed=seed), 4 if end is not None else 5
    until = es.stop.budget(length) if end is None else stop(length)
    chain = _Chain(Markov(m), model, X, until, length)

    def scored():
        yield from chain.score(m)
        return chain.marginals()

    [marginals] = es.run(scored())
    whole = chain_texts(model, m, length, end)
    for place, level in enumerate(marginals):
        for gram, value in level.items():
            through = [w for text, w in whole.items() if len(text) > place and text[max(0, place - m) : place + 1] == gram]
            assert value == pytest.approx(max(through), abs=1e-9)
    assert len(marginals[-1]) >= 4


@pytest.mark.parametrize("seed", range(5))
def test_full_order_without_pruning_is_the_exact_argmax(seed):
    model = es.models.Table.random(4, 3, seed=seed)
    exact = texts(model, 4)
    top = max(exact, key=exact.__getitem__)
    for decoder in (Markov(4, k=4**4), Markov([3], k=1), Markov((0, 2, 3), k=4**4)):
        assert best(decoder, model, stop(4)) == (top, pytest.approx(exact[top]))


def test_a_chain_that_looks_back_no_further_is_exact_at_its_order():
    model = es.models.Table.random(4, 1, seed=9)
    exact = texts(model, 5)
    top = max(exact, key=exact.__getitem__)
    assert best(Markov(1, k=16), model, stop(5)) == (top, pytest.approx(exact[top]))


def test_pruning_keeps_k_and_costs_one_pass_for_each_order():
    model, rows = es.models.Table.random(6, 3, seed=1), []
    forward = model.forward
    model.forward = lambda prefixes, want: rows.append(len(prefixes)) or forward(prefixes, want)
    text, logp = best(Markov(3, k=5), model, es.stop.budget(6))
    assert len(text) == 6
    assert len(rows) == 4
    assert rows[0] == 1
    assert max(rows[1:]) <= 5 * 6
    total, context = 0.0, X.ids()
    for at, token in enumerate(text):
        seen = (*X.ids(), *text[max(0, at - 3) : at])
        total, context = total + float(model.row(seen[-3:]).log_softmax(-1)[token]), [*context, token]
    assert logp == pytest.approx(total)


def test_positions_may_be_read_by_a_barrier():
    """A model whose rows depend on the place alone: with `read` telling the place, order 0 is exact."""
    model = es.models.Table(5, 2, lambda context: torch.tensor([math.sin(7.0 * sum(context) + v) for v in range(5)]))
    text, logp = best(Markov(0, read=lambda x, place, gram: es.Prefix([4, place])), model, es.stop.budget(3))
    rows = [model.row((4, place)).log_softmax(-1) for place in range(3)]
    assert text == tuple(int(row.argmax()) for row in rows)
    assert logp == pytest.approx(sum(float(row.max()) for row in rows))


def test_a_guide_holds_and_what_cannot_be_is_said():
    vocab = es.text.vocab.Vocab([b"a", b"b", b"c", None], end=[3])
    model = es.models.Table.random(4, 3, seed=2, vocab=vocab)
    guide, until = es.regex("(ab|ca){2}"), es.stop.end([3]) | es.stop.budget(5)
    text, _ = best(Markov(2, k=40), model * guide, until)
    assert guide.matches(vocab.join(text))
    with pytest.raises(Unsatisfiable):
        best(Markov(1, k=1), model * es.regex("abcabc"), until)
    with pytest.raises(InvalidInput, match="length limit"):
        best(Markov(1), model, es.stop.end([3]))
    with pytest.raises(InvalidInput, match="leave out"):
        best(Markov(1), model | es.temperature(0.5), until)
    for wrong in ({"orders": -1}, {"orders": []}, {"orders": (2, 1)}, {"k": 0}, {"orders": "2"}):
        with pytest.raises(InvalidInput):
            Markov(**{"orders": 1, **wrong})
