"""Predictors of length: labels, fits, and policies driven by oracles."""

from __future__ import annotations

import math

import pytest
import torch
from policy_laws import PROMPT, assert_lossless

import espalier as es
from espalier.drafting import Chain, Constant, DraftModel, KConfig
from espalier.drafting.lengths.predict import (
    DISCO,
    AdaEAGLE,
    Example,
    Predictor,
    Recorder,
    SpecDecPP,
    fit,
    fit_length,
    hidden,
    statistics,
)
from espalier.drafting.policies import Signals, grow
from espalier.verification import Recursive, Rejection, SampleMatch

V = 4
TARGET = es.models.Table.random(vocab_size=V, depth=1, seed=3)
DRAFT = es.models.Table.random(vocab_size=V, depth=1, seed=8)
SMALL = [es.models.Table.random(vocab_size=3, depth=2, seed=seed) for seed in (3, 8)]


def recorded(features, tokens=400):  # type: ignore[no-untyped-def]
    recorder = Recorder(Constant(4), features)
    stop = es.stop.budget(tokens)
    es.run(es.speculate(TARGET, PROMPT, stop, DraftModel(DRAFT, length=recorder), Rejection(), es.Rng(0)))
    return recorder.examples


def test_labels_are_the_probabilities_of_acceptance():
    """On tables the hidden state is the row of logits, so each example's label can be computed again from it."""
    rows = {tuple(DRAFT.row((t,)).tolist()): t for t in range(V)}
    seen = set()
    for example in recorded(hidden):
        [context] = [t for row, t in rows.items() if torch.allclose(torch.tensor(row).float(), example.features)]
        p, q = (m.row((context,)).softmax(-1) for m in (TARGET, DRAFT))
        possible = torch.minimum(p / q, torch.ones(V))
        assert float((possible - example.label).abs().min()) < 1e-12
        seen.add((context, int((possible - example.label).abs().argmin())))
    assert len(seen) > V  # many tokens in many contexts


def test_every_drafted_token_is_an_example():
    recorder = Recorder(Constant(3))
    drafter = DraftModel(DRAFT, length=recorder)
    es.run(es.speculate(TARGET, PROMPT, es.stop.budget(3), drafter, Rejection(), es.Rng(0)))
    first = recorder.examples[:3]  # of the first round; drafts of later ones end where the text does
    assert all(example.features.shape == (8,) for example in recorder.examples)
    assert [float(example.features[-1]) for example in first] == [1, 2, 3]


def test_a_fitted_predictor_knows_where_drafts_are_accepted():
    """Trained on one run, it must order the contexts of another by their true acceptance Σ min(p, q)."""
    predictor = fit(recorded(hidden, 400), weight=1.0)
    true = {c: float(torch.minimum(TARGET.row((c,)).softmax(-1), DRAFT.row((c,)).softmax(-1)).sum()) for c in range(V)}
    guess = {c: predictor(DRAFT.row((c,)).float()) for c in range(V)}
    assert sorted(true, key=true.__getitem__) == sorted(guess, key=guess.__getitem__)
    assert all(abs(true[c] - guess[c]) < 0.12 for c in range(V))


def test_weight_makes_rejections_count(tmp_path):
    examples = [Example(torch.zeros(2), 1.0)] * 3 + [Example(torch.zeros(2), 0.0)]
    assert fit(examples, weight=1.0)(torch.zeros(2)) == pytest.approx(0.75, abs=0.02)
    heavy = fit(examples, weight=6.0)
    assert heavy(torch.zeros(2)) == pytest.approx(3 / 9, abs=0.02)
    heavy.save(tmp_path / "p.pt")
    assert Predictor.load(tmp_path / "p.pt")(torch.ones(2)) == heavy(torch.ones(2))
    (tmp_path / "p.pt").write_bytes(b"no")
    with pytest.raises(es.EspalierError, match="not a predictor"):
        Predictor.load(tmp_path / "p.pt")


def drafted(length, model=DRAFT):  # type: ignore[no-untyped-def]
    [draft] = es.run(grow(model, PROMPT, Chain(99), length, es.Rng(0)))
    return len(draft)


def test_specdec_stops_when_a_rejection_is_likely():
    assert drafted(SpecDecPP(lambda f: 0.9, threshold=0.0)) == 2
    assert drafted(SpecDecPP(lambda f: 0.1, threshold=1.0)) == 20
    for threshold in (0.1, 0.5, 0.7):
        expected = next(n for n in range(1, 99) if 1 - 0.9**n > threshold)
        assert drafted(SpecDecPP(lambda f: 0.9, threshold=threshold, least=1, most=50)) == expected


def test_a_shared_policy_starts_every_round_anew():
    policy = SpecDecPP(lambda f: 0.5, threshold=0.4, least=1)
    assert [drafted(policy), drafted(policy)] == [1, 1]


class Oracle:
    """Greedy target and draft tables: knows where the draft's next token is the target's."""

    target = es.models.Table.random(vocab_size=V, depth=1, seed=11) | es.temperature(0)
    draft = es.models.Table.random(vocab_size=V, depth=1, seed=12)

    @classmethod
    def agrees(cls, features) -> float:  # type: ignore[no-untyped-def]
        """From the drafter's hidden state: whether the token it chooses is the target's."""
        inner = cls.target.inner
        for c in range(V):
            if torch.allclose(cls.draft.row((c,)).float(), features):
                return float(inner.row((c,)).argmax() == cls.draft.row((c,)).argmax())
        raise AssertionError("a hidden state of another table")


def test_an_oracle_classifier_wastes_one_token_at_most():
    """It stops after the first token that will be rejected: every round drafts one token more than are or fewer."""
    wasted = []

    class Watching(DraftModel):
        def begin(self, x):  # type: ignore[no-untyped-def]
            return self

        def observe(self, x, draft, rows):  # type: ignore[no-untyped-def]
            wasted.append(len(draft) - len(draft.accepted(x)))

    length = DISCO(Oracle.agrees, hidden, most=6)
    drafter = Watching(Oracle.draft, tree=Chain(kind="deterministic"), length=length)
    es.run(es.speculate(Oracle.target, PROMPT, es.stop.budget(60), drafter, SampleMatch(), es.Rng(0)))
    assert max(wasted[:-1]) <= 1
    assert 0 in wasted or 1 in wasted


def test_an_oracle_length_wastes_nothing():
    """AdaEAGLE with the true acceptance length: no drafted token is rejected."""
    inner, counts = Oracle.target.inner, []

    def true_length(token: int, state: torch.Tensor) -> float:
        for n in range(6):
            if inner.row((token,)).argmax() != Oracle.draft.row((token,)).argmax():
                return n
            token = int(inner.row((token,)).argmax())
        return 6

    class Watching(DraftModel):
        def begin(self, x):  # type: ignore[no-untyped-def]
            return self

        def observe(self, x, draft, rows):  # type: ignore[no-untyped-def]
            super().observe(x, draft, rows)
            counts.append((len(draft), len(draft.accepted(x))))

    length = AdaEAGLE(true_length, most=6, first=0)
    drafter = Watching(Oracle.draft, tree=Chain(kind="deterministic"), length=length)
    es.run(es.speculate(Oracle.target, PROMPT, es.stop.budget(60), drafter, SampleMatch(), es.Rng(0)))
    assert all(wrote == taken for wrote, taken in counts[:-1])


def test_a_fitted_length_is_long_where_drafts_are_long():
    record = []
    for seed in range(3):
        length = AdaEAGLE(lambda token, state: 4, most=4, first=4, record=record)
        stop = es.stop.budget(200)
        es.run(es.speculate(TARGET, PROMPT, stop, DraftModel(DRAFT, length=length), Rejection(), es.Rng(seed)))
    assert len(record) > 100
    predictor = fit_length([h for h, _ in record], [n for _, n in record], penalty=1.0)
    groups: dict[tuple[float, ...], list[int]] = {}
    for h, n in record:
        groups.setdefault(tuple(h.tolist()), []).append(n)
    for h, counts in groups.items():
        median = sorted(counts)[len(counts) // 2]
        if len(counts) > 30:
            assert abs(predictor(torch.tensor(h)) - median) <= 1.0


POLICIES = {
    "specdec++": lambda: SpecDecPP(lambda f: float(f.sigmoid().mean()), threshold=0.4, least=1, most=2),
    "disco": lambda: DISCO(lambda f: float(f[0]), threshold=0.6, most=2),
    "adaeagle": lambda: AdaEAGLE(lambda token, h: float(h.argmax()), most=2, first=1),
    "recorder": lambda: Recorder(DISCO(lambda f: float(f[0]), threshold=0.6, most=2), hidden),
}


@pytest.mark.parametrize("name", POLICIES)
def test_predictors_keep_the_law(name):
    target, draft = SMALL
    assert_lossless(target, lambda: DraftModel(draft, tree=Chain(), length=POLICIES[name]()), Rejection(), length=3)


def test_predictors_keep_the_law_of_trees():
    target, draft = SMALL
    assert_lossless(target, lambda: DraftModel(draft, tree=KConfig((2, 1)), length=POLICIES["specdec++"]()), Recursive())


def test_impossible_settings_are_refused():
    for wrong in (
        lambda: SpecDecPP(lambda f: 0.5, threshold=2),
        lambda: SpecDecPP(lambda f: 0.5, least=5, most=2),
        lambda: DISCO(lambda f: 0.5, most=0),
        lambda: AdaEAGLE(lambda t, h: 1, most=0),
        lambda: fit([]),
        lambda: fit_length([], []),
    ):
        with pytest.raises(es.InvalidInput):
            wrong()
    with pytest.raises(es.InvalidInput, match="hidden"):
        hidden(Signals(1, 1, torch.ones(2), 0.5, [0.0], None, PROMPT))


def test_statistics_are_the_largest_probabilities_the_entropy_the_token_and_the_depth():
    found = statistics(Signals(2, 1, torch.tensor([0.25, 0.75]), 0.25, [0.0], None, PROMPT)).tolist()
    h = -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    assert found == pytest.approx([0.75, 0.25, 0, 0, 0, h, 0.25, 2], abs=1e-6)
