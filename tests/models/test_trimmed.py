"""A smaller head: the same logits on the tokens it knows, and drafts that are exact whatever it does not know."""

from __future__ import annotations

import pytest
import torch

import espalier as es
from espalier.drafting import DraftModel, VocabTrim
from espalier.drafting.draft_model.vocab_trim import trimmed
from espalier.errors import InvalidInput

from .test_transformer import ours, peer

KEEP = [3, 5, 7, 11, 60, 96]
PREFIXES = [es.Prefix([1, 2, 3]), es.Prefix([4]) + 5]


@pytest.mark.parametrize("kind", ["eager", "native"])
@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_kept_tokens_have_their_logits_and_others_none(family, kind):
    model = ours(peer(family), kind, "float32")
    full, few = model.forward(PREFIXES), trimmed(model, KEEP).forward(PREFIXES)
    others = sorted(set(range(model.vocab_size)) - set(KEEP))
    assert torch.allclose(few.logits[:, KEEP], full.logits[:, KEEP], atol=1e-4)
    assert bool((few.logits[:, others] == -torch.inf).all())
    assert torch.allclose(few.dense().exp(), VocabTrim(KEEP)(full.logits, PREFIXES).softmax(-1), atol=1e-5)


def test_drafts_of_a_small_head_leave_the_text_alone():
    model = ours(peer("gemma3"), "eager", "float32")
    x, stop = es.Prefix([1, 2, 3]), es.stop.budget(16)
    [plain] = es.run(es.sample(model | es.temperature(0), x, stop, es.Rng(0)))
    known = sorted(set(plain.written()))
    for keep, most in [(known, 8), (KEEP, 16)]:
        drafter, passes = DraftModel(trimmed(model, keep), tokens=3), []

        def trace(kind, what, passes=passes):  # type: ignore[no-untyped-def]
            if kind == "pass" and what[0] is model:
                passes.append(what)

        scorer, rule = model | es.temperature(0), es.verification.Rejection()
        [drafted] = es.run(es.speculate(scorer, x, stop, drafter, rule, es.Rng(0)), trace=trace)
        assert drafted.ids() == plain.ids()
        assert len(passes) <= most


def test_heads_that_are_not_at_hand_and_impossible_tokens_are_refused():
    model = ours(peer("llama"), "eager", "float32")
    for keep in ([], [-1], [97]):
        with pytest.raises(InvalidInput):
            trimmed(model, keep)
    with pytest.raises(InvalidInput, match="VocabTrim"):
        trimmed(ours(peer("qwen3"), "native", "float32"), KEEP)  # not tied
