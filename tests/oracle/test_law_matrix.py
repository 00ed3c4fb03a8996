"""Every drafter × every verifier × plain, truncated, constrained and penalised targets: the exact law, or the refusal."""

from __future__ import annotations

import functools

import pytest
import torch
from drafters import AHEAD, DRAFTERS, END, VOCAB, V
from one_round import Target, assert_exact, drafts, emissions, states

import espalier as es
from espalier import verification as v
from espalier.errors import InvalidInput
from espalier.testing import assert_same_law, exact_law

LENGTH = 3
JUDGE = v.Judge(torch.tensor([0.5, -0.2, 0.1], dtype=torch.float64))
VERIFIERS: dict[str, v.Verifier] = {
    "greedy": v.GreedyMatch(),
    "match": v.SampleMatch(),
    "multi-candidate": v.MultiCandidate(),
    "rejection": v.Rejection(),
    "recursive": v.Recursive(),
    "k-seq": v.KSeq(),
    "block": v.Block(),
    # the lossy ones where they are exact, and (below) what they promise where they are not
    "lenient 1": v.Lenient(1.0),
    "ensemble 0": v.Ensemble(0.0),
    "reflective 0": v.Reflective([0], weight=0.0),
    "judge of nothing": v.Judge(torch.zeros(V, dtype=torch.float64), bias=-1.0),
    "lenient": v.Lenient(0.4),
    "ensemble": v.Ensemble(0.4),
    "typical": v.Typical(),
    "judge": JUDGE,
    "reflective": v.Reflective([0, 1], weight=0.5),
}
EXACT_ANYWAY = {"lenient 1", "ensemble 0", "reflective 0", "judge of nothing"}
TABLE = es.models.Table.random(V, 2, seed=3, vocab=VOCAB)
TARGETS = {
    "plain": TABLE,
    "temperature and top-p": TABLE | es.temperature(0.8) | es.top_p(0.8),
    "regex": TABLE * es.regex("(a|ab)*b|b+a(ba)*"),
    "penalty": TABLE | es.repetition(1.7) | es.frequency(0.8),
}


@functools.cache
def target_of(name: str) -> Target:
    return Target(TARGETS[name], END)


def assert_supported(target: Target, x: es.Prefix, law: dict[tuple[int, ...], float]) -> None:
    """A lossy rule may change the law, not what is possible: nothing that a constraint or truncation excludes."""
    assert abs(sum(law.values()) - 1) < 1e-12
    for emitted, p in law.items():
        assert p == 0 or all(target.p(x + list(emitted[:i]), emitted[i]) > 0 for i in range(len(emitted))), emitted


def assert_greedy(target: Target, x: es.Prefix, law: dict[tuple[int, ...], float]) -> None:
    [emitted] = law
    for token in emitted:
        assert target.ask([x])[0].argmax() == token
        x = x + token


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("drafter", DRAFTERS)
def test_every_rule_keeps_what_it_promises(drafter, target):
    target = target_of(target)
    accepting = {}
    for name, verifier in VERIFIERS.items():
        try:
            v.check_pair(DRAFTERS[drafter](), verifier)
            accepting[name] = verifier
        except InvalidInput as refusal:
            assert type(verifier).__name__ in str(refusal)
            assert "SampleMatch" in str(refusal)
    for state in states(DRAFTERS[drafter], target):
        laws = {name: {} for name in accepting}
        for weight, draft, rows in drafts(state):
            x = draft.prefixes[0]
            for name, verifier in accepting.items():
                for emitted, p in emissions(target, draft, rows, verifier, LENGTH).items():
                    laws[name][emitted] = laws[name].get(emitted, 0.0) + weight * p
        for name, verifier in accepting.items():
            if verifier.guarantee == "sampling" or name in EXACT_ANYWAY:
                assert_exact(target, x, laws[name], LENGTH)
            elif verifier.guarantee == "greedy":
                assert len(laws[name]) >= 1
            else:
                assert_supported(target, x, laws[name])
