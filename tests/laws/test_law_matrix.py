"""Every drafter × every verifier × plain, truncated, constrained and penalised targets: the exact law, or the refusal."""

from __future__ import annotations

import functools

import pytest
import torch
from drafters import AHEAD, DRAFTERS, END, LAYERED, V
from one_round import Target, assert_exact, drafts, emissions, states

import espalier as es
from espalier import drafting as d
from espalier import verification as v
from espalier.constraints import regex
from espalier.errors import InvalidInput
from espalier.shaper import Stage
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
EXACT = {"match", "multi-candidate", "rejection", "recursive", "k-seq", "block"}
EXACT_ANYWAY = {"lenient 1", "ensemble 0", "reflective 0", "judge of nothing"}
TARGETS = {
    "plain": LAYERED,
    "temperature and top-p": LAYERED | es.temperature(0.8) | es.top_p(0.8),
    "regex": LAYERED * regex("(a|ab)*b|b+a(ba)*"),
    "penalty": LAYERED | es.repetition(1.7) | es.frequency(0.8),
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
    """Whatever the drafter drew, the round emits a beginning of the most probable continuation."""
    for emitted in law:
        y = x
        for token in emitted:
            assert target.ask([y])[0].argmax() == token
            y = y + token


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("drafter", DRAFTERS)
def test_every_rule_keeps_what_it_promises(drafter, target):
    target, accepting, kind = target_of(target), {}, DRAFTERS[drafter]().kind
    for name, verifier in VERIFIERS.items():
        if kind in verifier.accepts:
            accepting[name] = verifier
        else:
            with pytest.raises(InvalidInput, match=f"{type(verifier).__name__}.*{kind}.*SampleMatch"):
                v.check_pair(DRAFTERS[drafter](), verifier)
    for at, state in enumerate(states(DRAFTERS[drafter], target)):
        here = {name: rule for name, rule in accepting.items() if at == 0 or name in EXACT}
        laws = {name: {} for name in here}
        for weight, draft, rows in drafts(state):
            x = draft.prefixes[0]
            for name, verifier in here.items():
                for emitted, p in emissions(target, draft, rows, verifier, LENGTH).items():
                    laws[name][emitted] = laws[name].get(emitted, 0.0) + weight * p
        for name, verifier in here.items():
            if verifier.guarantee == "sampling" or name in EXACT_ANYWAY:
                assert_exact(target, x, laws[name], LENGTH)
            elif verifier.guarantee == "greedy":
                assert_greedy(target, x, laws[name])
            else:
                assert_supported(target, x, laws[name])


def test_the_matrix_refuses_the_pairs_that_have_no_guarantee():
    refused = {
        (drafter, name)
        for drafter, make in DRAFTERS.items()
        for name, verifier in VERIFIERS.items()
        if make().kind not in verifier.accepts
    }
    assert ("lookup", "k-seq") in refused
    assert ("tree k_config", "k-seq") in refused
    assert ("tree beam", "ensemble") in refused
    with pytest.raises(InvalidInput, match="independent draws from one law"):
        es.run(es.speculate(LAYERED, es.Prefix([0]), es.stop.budget(2), DRAFTERS["lookup"](), v.KSeq(), es.Rng(0)))


@pytest.mark.parametrize("verifier", ["match", "rejection", "block", "recursive"])
@pytest.mark.parametrize("drafter", [*AHEAD, "speculative jacobi", "chain", "staged"])
def test_whole_texts_have_the_law_with_the_drafter_s_state_between_rounds(drafter, verifier):
    """Every flip of three tokens' worth of rounds, drafts that outlive a round included."""
    model = es.models.Table.random(2, 2, seed=3)
    small = es.models.Table.random(2, 1, seed=8)
    make = {
        "pearl": lambda: d.Pearl(small, tokens=2),
        "speculative jacobi": lambda: d.SpeculativeJacobi(2),
        "chain": lambda: d.DraftModel(small, tokens=2),
        "staged": lambda: d.Staged(small, d.PromptLookup(tokens=2), v.SampleMatch(), tokens=2),
    }[drafter]
    x, stop, rule = es.Prefix([0, 1, 0]), es.stop.budget(3), VERIFIERS[verifier]
    law = exact_law(lambda rng: es.speculate(model, x, stop, make(), rule, rng), lambda y: tuple(y.written()))
    assert_same_law(law, model.joint(x, 3))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("drafter", [*DRAFTERS, *AHEAD])
def test_matching_gives_the_very_tokens_of_plain_decoding(drafter, target):
    """Through the loop: the same seed, the same tokens; and the most probable ones under temperature 0."""
    make = (DRAFTERS | AHEAD)[drafter]
    stop = es.stop.budget(10) | es.stop.end({END})
    for seed in range(4):
        x = es.Prefix([0, 1, seed % 2])
        pairs = [(TARGETS[target], v.SampleMatch(), TARGETS[target])]
        if seed == 0 and TARGETS[target].stage <= Stage.CONSTRAINT:
            pairs.append((TARGETS[target], v.GreedyMatch(), TARGETS[target] | es.temperature(0)))
        for scorer, verifier, plain in pairs:
            [expected] = es.run(es.sample(plain, x, stop, es.Rng(seed)))
            [got] = es.run(es.speculate(scorer, x, stop, make(), verifier, es.Rng(seed)))
            assert got.ids() == expected.ids()
