"""Drafting with a short context: what of a prompt is kept, and RAPID's law."""

from __future__ import annotations

import pytest
import torch
from layered import MODEL, logits
from policy_laws import PROMPT, assert_lossless

import espalier as es
from espalier.drafting import DraftModel
from espalier.drafting.draft_model.short_context import Enriched, Shortened, ends, relevant
from espalier.verification import Rejection


def test_a_short_context_is_shared_like_the_long_one():
    short = Shortened(MODEL, ends(head=1, tail=2))
    x = es.Prefix([0, 1, 2, 0, 1])
    y, z = x + 2, x + [0, 1]  # noqa: RUF005
    assert short.prefix(z).ids() == [0, 0, 1, 0, 1]
    assert short.prefix(y).parent is short.prefix(z).parent is short.prefix(x)
    turn = z.given([2, 2, 2])
    assert short.prefix(turn + 1).ids() == [0, 2, 2, 1]
    [rows] = es.run(_ask(short, [y, z]))
    assert torch.equal(rows.logits[1], logits(MODEL, es.Prefix([0, 0, 1, 0, 1])))
    assert rows.prefixes == [y, z]


def _ask(scorer, prefixes):  # type: ignore[no-untyped-def]
    return (yield es.Ask(scorer, prefixes))


def test_relevant_chunks_are_those_that_share_rare_tokens_with_the_end():
    prompt = [9, *(0, 1, 2, 0), *(3, 0, 1, 0), *(0, 2, 1, 0), *(1, 2, 0, 0), *(0, 3)]
    assert relevant(chunks=1, size=4, query=2, head=1)(prompt) == [9, 3, 0, 1, 0, 0, 3]
    assert relevant(chunks=9, size=4, query=2, head=1)(prompt) == prompt
    assert ends(3, 3)([1, 2]) == [1, 2]


@pytest.mark.parametrize("eta", [0.0, 0.7, 10.0])
def test_rapid_is_lossless_with_respect_to_its_enriched_law(eta):
    short = Shortened(MODEL, ends(0, 1))
    law = Enriched(MODEL, short, eta)
    p, q = logits(MODEL, PROMPT).softmax(-1), logits(MODEL, es.Prefix(PROMPT.ids()[-1:])).softmax(-1)
    [rows] = es.run(_ask(law, [PROMPT]))
    assert torch.allclose(rows[0].probs(), (logits(MODEL, PROMPT) + eta * (q - p)).softmax(-1), atol=1e-12)
    assert_lossless(law, lambda: DraftModel(short, tokens=2), Rejection())
