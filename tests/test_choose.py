"""Choices by their definitions."""

from __future__ import annotations

import itertools
import math

import pytest

from espalier.decoders.choose import Rejector, abstain, mbr, rerank, tune, two_stage, vote
from espalier.errors import InvalidInput

TEXTS = ["ab", "abc", "b", "abcd", "ab"]


def overlap(h: str, y: str) -> float:
    return len(set(h) & set(y)) / len(set(h) | set(y))


def brute(candidates, own=True, weights=None):
    weights = weights or [1.0] * len(candidates)
    values = []
    for i, h in enumerate(candidates):
        pairs = [(w, y) for j, (w, y) in enumerate(zip(weights, candidates, strict=True)) if own or i != j]
        values.append(sum(w * overlap(h, y) for w, y in pairs) / sum(w for w, _ in pairs))
    return candidates[values.index(max(values))]


@pytest.mark.parametrize("own", [True, False])
def test_mbr_is_the_largest_mean_utility(own):
    for size in (2, 3, 4, 5):
        for candidates in itertools.permutations(TEXTS, size):
            assert mbr(list(candidates), overlap, own=own) == brute(list(candidates), own)


def test_mbr_with_exact_match_is_the_mode_and_respects_weights():
    assert mbr(TEXTS, lambda h, y: float(h == y)) == "ab"
    assert mbr(TEXTS, lambda h, y: float(h == y), weights=[0.1, 0.1, 0.9, 0.1, 0.1]) == "b"
    assert mbr(["a", "b"], overlap, references=["b", "b"]) == "b"


def test_own_references_in_some_pairs_only_are_caught():
    """Wrong: a candidate is left out where an equal text stands in another place."""

    def wrong(candidates):
        def value(h):
            others = [y for y in candidates if y != h] or [h]
            return sum(overlap(h, y) for y in others) / len(others)

        return max(candidates, key=value)

    cases = [list(c) for c in itertools.product(["ab", "abc", "c", "bcd"], repeat=4)]
    assert any(wrong(c) != mbr(c, overlap, own=False) for c in cases)
    assert all(brute(c, own=False) == mbr(c, overlap, own=False) for c in cases)


def test_votes():
    answers = ["1", "2", "1", None, "3"]
    assert vote(answers) == "1"
    assert vote(answers, weights=[0.1, 0.9, 0.2, 9.0, 0.5]) == "2"
    assert vote(answers, weights=[-800.0, -1.0, -800.0, 0.0, -2.0], log=True) == "2"
    logs = [-700.0, -700.5, -701.0, -1e9, -705.0]
    assert vote(answers, weights=logs, log=True) == vote(answers, weights=[math.exp(w + 700) for w in logs])


def test_two_stages_with_all_kept_are_mbr():
    for candidates in itertools.permutations(TEXTS, 4):
        assert two_stage(list(candidates), len, overlap, keep=4) == mbr(list(candidates), overlap)
    assert two_stage(TEXTS, len, overlap, keep=1) == "abcd"


def test_rerank_and_tuned_weights():
    assert rerank(TEXTS, [len, lambda t: -10.0 * ("d" in t)])[0] == "abc"
    lists = [[(0.2, 1.0, 0), (0.9, 0.1, 1)], [(0.5, 0.9, 0), (0.6, 0.0, 1)], [(0.1, 0.2, 0), (0.0, 0.1, 1)]]
    features = [lambda c: c[0], lambda c: c[1]]
    weights = tune(lists, features, lambda c: c[2])
    chosen = [rerank(each, features, weights)[0] for each in lists]
    assert sum(c[2] for c in chosen) >= 2
    assert sum(rerank(each, features)[0][2] for each in lists) < 2


def test_abstaining():
    assert abstain(["a", "b"], lambda t: -1.0) is None
    right = [i % 3 != 0 for i in range(60)]
    features = [[float(r), 0.5] for r in right]
    rejector = Rejector.fit(features, right, cost=0.2)
    coverage, risk = rejector.risk(features, right)
    assert coverage == pytest.approx(sum(right) / 60)
    assert risk == 0.0
    noisy = Rejector.fit([[1.0]] * 10, [True] * 7 + [False] * 3, cost=0.2)
    assert noisy([1.0]) < 0, "70 % right is not enough where abstaining costs 0.2"
    assert Rejector.fit([[1.0]] * 10, [True] * 7 + [False] * 3, cost=0.4)([1.0]) > 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: mbr([], overlap),
        lambda: mbr(["a"], overlap, own=False),
        lambda: mbr(["a"], overlap, weights=[1.0, 2.0]),
        lambda: vote([]),
        lambda: vote([None]),
        lambda: vote(["a"], weights=[-1.0]),
        lambda: two_stage(["a"], len, overlap, keep=0),
        lambda: Rejector.fit([[0.0]], [True], cost=0.7),
    ],
)
def test_bad_input(make):
    with pytest.raises(InvalidInput):
        make()
