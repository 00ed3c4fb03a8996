"""Stages of shapers, and what is said of a shaper at the wrong one."""

from __future__ import annotations

import pytest
import torch

import espalier as es
from espalier.text import Vocab

VOCAB = Vocab([b"a", b"b", b"c", None], end=[3])


class Best(es.Shaper):
    """Leaves only the most probable token: a truncation."""

    def __init__(self, stage: es.Stage | None = None) -> None:
        if stage is not None:
            self.stage = stage  # type: ignore[misc]

    def __call__(self, weights, prefixes):
        return weights.masked_fill(weights < weights.amax(-1, keepdim=True), -torch.inf)


def test_a_shaper_must_say_its_stage():
    model = es.models.Table.random(vocab_size=4, depth=1, seed=0)
    with pytest.raises(es.InvalidInput, match=r"Best does not say at which stage"):
        model | Best()
    with pytest.raises(es.InvalidInput, match=r"Best.stage is <Stage.CONSTRAINT"):
        model | Best(es.Stage.CONSTRAINT)
    with pytest.raises(es.InvalidInput, match=r"works on logits .* but was put after truncation"):
        model | es.top_k(2) | Best(es.Stage.LOGITS)


def test_a_truncation_before_the_constraint_is_told_so():
    model = es.models.Table(4, 0, lambda context: torch.tensor([9.0, 1.0, 0.0, 0.0]), VOCAB)
    wrong = model | Best(es.Stage.LOGITS)
    with pytest.raises(es.InvalidInput, match=r"a shaper before it has made all of them impossible"):
        es.run(es.sample(wrong * es.regex("[bc]{2}"), es.Prefix(), es.stop.budget(2), es.Rng(0)))
    right = model * es.regex("[bc]{2}") | Best(es.Stage.TRUNCATION)
    [x] = es.run(es.sample(right, es.Prefix(), es.stop.budget(2), es.Rng(0)))
    assert x.ids() == [1, 1]
    with pytest.raises(es.errors.Unsatisfiable):  # the constraint's own fault stays the constraint's
        es.run(es.sample(model * es.regex("d"), es.Prefix(), es.stop.budget(2), es.Rng(0)))


def test_extras_are_checked_when_a_decoder_is_built():
    class Bare(es.Model):
        vocab_size = 4

        def forward(self, prefixes, want):
            raise AssertionError("no pass is paid for")

    drafter = es.drafting.DReSD()
    decoder = es.speculate(Bare(), es.Prefix([1]), es.stop.budget(2), drafter, es.verification.SampleMatch(), es.Rng(0))
    with pytest.raises(es.InvalidInput, match=r"DReSD with SampleMatch read \['hidden'\]"):
        es.run(decoder)
