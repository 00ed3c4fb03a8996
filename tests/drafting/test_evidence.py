"""What may come next, by the text, by earlier texts and by the target's rows."""

from __future__ import annotations

import pytest
import torch

import espalier as es
from espalier.drafting.auto.candidates import COPY, TABLE, Calibration, Evidence, Memory, prior

V = 64


def test_candidates_come_from_the_text_other_texts_and_rows():
    memory = Memory()
    other = Evidence(memory)
    other.read([9, 1, 2, 3, 7], 0, 0)
    own = Evidence(memory)
    own.read([4, 1, 2, 3, 5, 6, 1, 2, 3], 0, 9)
    cursors = own.start()
    found = dict(own.candidates([1, 2, 3], cursors))
    assert set(found) == {5, 7}
    assert found[5] // TABLE == 1 + 2  # three tokens match in the text itself
    assert found[7] // TABLE == 7 + 2  # and in another one
    logits = torch.full((1, V), -9.0)
    logits[0, 5], logits[0, 8] = 4.0, 3.5
    memory.learn(es.Rows(logits, [es.Prefix([2, 3])]), 8)
    found = dict(own.candidates([1, 2, 3], cursors))
    assert set(found) == {5, 7, 8}
    assert found[5] % TABLE == 1 + 2  # 0.62 of the row: the third class of a pair's row
    assert found[7] % TABLE == TABLE - 2
    assert found[8] // TABLE == 0
    below = own.below([1, 2, 3], cursors, 5)
    assert [token for token, _ in own.candidates([2, 3, 5], below)] == [6]


def test_priors_are_probabilities_and_calibration_finds_the_truth():
    assert all(0 <= prior(bucket) < 1 for bucket in range(COPY * TABLE))
    calibration, rng = Calibration(), torch.Generator().manual_seed(0)
    for _ in range(3000):
        calibration.learn(40, bool(torch.rand((), generator=rng) < 0.3))
    assert calibration.p[40] == pytest.approx(0.3, abs=0.08)


def test_memory_is_bounded():
    memory = Memory(limit=100)
    evidence = Evidence(memory)
    ids = [i % V for i in range(50)] + [(i * i) % V for i in range(500)]
    evidence.read(ids, 0, 0)
    assert len(memory.grams) <= 100
