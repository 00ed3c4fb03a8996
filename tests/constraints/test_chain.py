"""Linear-chain models under guides against enumeration: Viterbi, normaliser, marginals, samples."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import espalier as es
from espalier.constraints import Chain, permutation
from espalier.errors import InvalidInput, Unsatisfiable
from espalier.testing import assert_same_law, outcomes

LABELS = ["B", "I", "O"]
GUIDES = [
    es.regex("(BI*|O)*"),
    es.regex(".*B.*"),
    es.regex("O*BI*O*"),
    es.cfg('s ::= "B" s "I" | "O" | ""'),
    permutation(LABELS, separator="") | es.regex("O*"),
    es.regex("[BIO]*"),
]


def made(guide: es.Guide, length: int, seed: int, labels=LABELS) -> tuple[Chain, dict[tuple[int, ...], float]]:
    rng = np.random.default_rng(seed)
    n = len(labels)
    emissions, transitions = rng.normal(size=(length, n)), rng.normal(size=(n, n))
    begin, end = rng.normal(size=n), rng.normal(size=n)
    transitions[0, 1] = -math.inf if seed % 2 and guide is GUIDES[5] else transitions[0, 1]
    chain = Chain(emissions, transitions, guide, labels, begin=begin, end=end)
    scores = {}
    for y in itertools.product(range(n), repeat=length):
        if guide.matches("".join(labels[k] for k in y).encode()):
            score = sum(emissions[t, k] for t, k in enumerate(y)) + begin[y[0]] + end[y[-1]]
            scores[y] = score + sum(transitions[a, b] for a, b in itertools.pairwise(y))
    return chain, {y: s for y, s in scores.items() if s > -math.inf}


@pytest.mark.parametrize("guide", GUIDES, ids=repr)
@pytest.mark.parametrize("length", [1, 3, 4])
def test_everything_is_what_enumeration_gives(guide: es.Guide, length: int) -> None:
    chain, scores = made(guide, length, seed=length)
    best = max(scores, key=scores.__getitem__)
    labels, score = chain.viterbi()
    assert tuple(labels) == best
    assert score == pytest.approx(scores[best])
    total = math.log(math.fsum(map(math.exp, scores.values())))
    assert chain.log_normaliser == pytest.approx(total, abs=1e-12)
    shares = {y: math.exp(s - total) for y, s in scores.items()}
    marginals = np.zeros((length, 3))
    for y, p in shares.items():
        marginals[range(length), y] += p
    assert np.allclose(chain.marginals(), marginals, atol=1e-12)
    law: dict[tuple[int, ...], float] = {}
    for p, y in outcomes(lambda rng: tuple(chain.sample(rng))):
        law[y] = law.get(y, 0.0) + p
    assert_same_law(law, shares)


def test_labels_of_several_letters_and_long_chains() -> None:
    rng = np.random.default_rng(0)
    chain = Chain(rng.normal(size=(200, 2)), np.zeros((2, 2)), es.regex("(ab|c)*c(ab|c){3}"), ["ab", "c"])
    labels, score = chain.viterbi()
    assert labels[-4] == 1
    assert len(labels) == 200
    assert score <= chain.log_normaliser
    assert len(chain.sample(es.Rng(0))) == 200


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: Chain([[0.0, 0.0]], [[0.0] * 2] * 2, es.regex("aa"), ["a", "b"]), Unsatisfiable, "no sequence of 1 labels"),
        (lambda: Chain([[0.0]], [[0.0] * 2] * 2, es.regex("a"), ["a", "b"]), InvalidInput, r"expected \[length, 2\]"),
        (lambda: Chain([[0.0]], [[0.0]], "a", ["a"]), InvalidInput, "'a' is no guide"),  # type: ignore[arg-type]
        (lambda: Chain([[math.nan]], [[0.0]], es.regex("a"), ["a"]), InvalidInput, "a score is nan"),
        (lambda: Chain([[0.0]], [[0.0]], es.regex("a"), ["a"], begin=[0.0, 1.0]), InvalidInput, "vectors of 1 scores"),
        (lambda: Chain([[-math.inf]], [[0.0]], es.regex("a"), ["a"]), Unsatisfiable, "no sequence"),
    ],
)
def test_wrong_use_is_told(call, error, says: str) -> None:
    with pytest.raises(error, match=says):
        call()
