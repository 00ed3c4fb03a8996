"""The exact laws of decoders on table models: every outcome of every coin flip is replayed and summed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest

import espalier as es
from espalier.drafting import Draft, Drafter
from espalier.rows import Rows
from espalier.testing import assert_same_law, exact_law
from espalier.verification import GreedyMatch, Rejection, SampleMatch, Verifier

V, LENGTH = 3, 3
MODEL = es.models.Table.random(vocab_size=V, depth=2, seed=3)
PROMPT = es.Prefix([0, 1])

SHAPERS: dict[str, Callable[[es.Scorer], es.Scorer]] = {
    "plain": lambda s: s,
    "temperature": lambda s: s | es.temperature(0.6),
    "greedy": lambda s: s | es.temperature(0),
    "top_k": lambda s: s | es.top_k(2),
    "top_p": lambda s: s | es.temperature(1.3) | es.top_p(0.7),
    "min_p": lambda s: s | es.min_p(0.3),
    "repetition": lambda s: s | es.repetition(1.7),
    "presence": lambda s: s | es.presence(0.9),
    "frequency": lambda s: s | es.frequency(0.8) | es.temperature(0.9),
    "bias": lambda s: s | es.bias({1: -1.0, 2: float("-inf")}),
}


class Sampled(Drafter):
    """A chain drawn from a small draft model, with the law it was drawn from."""

    kind = "with replacement"

    def __init__(self, model: es.Model, tokens: int) -> None:
        self.model, self.tokens = model, tokens

    def propose(self, x, rng):  # type: ignore[no-untyped-def]
        draft, node = Draft(x), 0
        for _ in range(self.tokens):
            [row] = yield es.Ask(self.model, [draft.prefixes[node]])
            draft.drawn(node, row.probs())
            node = draft.add(node, rng.categorical(row.probs()))
        return draft


class Scripted(Drafter):
    """A fixed tree: two siblings at the top, a chain below the first."""

    def propose(self, x, rng):  # type: ignore[no-untyped-def]
        yield from ()
        draft = Draft(x)
        draft.extend(draft.add(0, 1), [0, 2])
        draft.add(0, 2)
        return draft


class ResamplesFromP(Verifier):
    """A wrong rule on purpose: after a rejection it draws from p instead of the residual."""

    guarantee = "sampling"
    accepts = frozenset({"with replacement"})

    def __call__(self, draft: Draft, rows: Rows, rng: es.Rng) -> Iterator[es.Prefix]:
        node = 0
        while draft.children[node]:
            p, child = rows[node].probs(), draft.children[node][0]
            y, q = draft.token(child), draft.laws[node].q
            if not rng.flip(float(p[y] / q[y])):
                break
            yield draft.prefixes[child]
            node = child
        yield draft.prefixes[node] + rng.categorical(rows[node].probs())


def enumerated(scorer: es.Scorer, x: es.Prefix, length: int) -> dict[tuple[int, ...], float]:
    """The product of the rows' laws: the definition, computed without any decoder."""
    if length == 0:
        return {(): 1.0}
    [p] = es.run(rows_of(scorer, x))
    return {
        (token, *rest): float(p[token]) * weight
        for token in range(scorer.vocab_size)
        if p[token] > 0
        for rest, weight in enumerated(scorer, x + token, length - 1).items()
    }


def rows_of(scorer: es.Scorer, x: es.Prefix):  # type: ignore[no-untyped-def]
    [row] = yield es.Ask(scorer, [x])
    return row.probs()


def written(x: es.Prefix) -> tuple[int, ...]:
    return tuple(x.written())


@pytest.mark.parametrize("shaped", SHAPERS.values(), ids=SHAPERS.keys())
def test_sample_draws_the_product_of_the_rows(shaped):
    scorer = shaped(MODEL)
    law = exact_law(lambda rng: es.sample(scorer, PROMPT, es.stop.budget(LENGTH), rng), written)
    assert_same_law(law, enumerated(scorer, PROMPT, LENGTH))


def test_the_enumeration_itself_is_the_joint_law_of_the_table():
    assert_same_law(enumerated(MODEL, PROMPT, LENGTH), MODEL.joint(PROMPT, LENGTH))


def speculated(scorer, drafter, verifier):
    stop = es.stop.budget(LENGTH)
    return exact_law(lambda rng: es.speculate(scorer, PROMPT, stop, drafter, verifier, rng), written)


@pytest.mark.parametrize("shaped", SHAPERS.values(), ids=SHAPERS.keys())
@pytest.mark.parametrize("verifier", [SampleMatch(), Rejection()], ids=["match", "rejection"])
@pytest.mark.parametrize(
    "drafter",
    [
        es.drafting.PromptLookup(tokens=2),
        Sampled(es.models.Table.random(V, 1, seed=8), 2),
        Sampled(es.models.Table.random(V, 1, seed=9), 1),
        Scripted(),
    ],
    ids=["lookup", "model-2", "model-1", "tree"],
)
def test_speculate_has_the_same_law(shaped, verifier, drafter):
    scorer = shaped(MODEL)
    assert_same_law(speculated(scorer, drafter, verifier), enumerated(scorer, PROMPT, LENGTH))


def test_greedy_verification_is_greedy():
    [x] = es.run(es.sample(MODEL | es.temperature(0), PROMPT, es.stop.budget(8), es.Rng(0)))
    [y] = es.run(es.speculate(MODEL, PROMPT, es.stop.budget(8), Scripted(), GreedyMatch(), es.Rng(5)))
    assert x.ids() == y.ids()


def test_a_wrong_verifier_is_caught():
    drafter = Sampled(es.models.Table.random(V, 1, seed=8), 2)
    with pytest.raises(AssertionError, match="should be"):
        assert_same_law(speculated(MODEL, drafter, ResamplesFromP()), enumerated(MODEL, PROMPT, LENGTH))


def test_a_drafter_that_is_the_target_is_always_accepted():
    model = es.models.Table.random(V, 2, seed=3)
    es.run(
        es.speculate(model, PROMPT, es.stop.budget(9), Sampled(es.models.Table.random(V, 2, seed=3), 2), Rejection(), es.Rng(1))
    )
    assert model.passes == 3  # nine tokens, three per pass


def test_matching_gives_the_tokens_of_plain_sampling_for_the_same_seed():
    for seed in range(20):
        [x] = es.run(es.sample(MODEL, PROMPT, es.stop.budget(12), es.Rng(seed)))
        [y] = es.run(es.speculate(MODEL, PROMPT, es.stop.budget(12), es.drafting.PromptLookup(), SampleMatch(), es.Rng(seed)))
        assert x.ids() == y.ids()


def test_batches_do_not_change_results():
    def decoder(seed: int):  # type: ignore[no-untyped-def]
        return es.speculate(MODEL, PROMPT, es.stop.budget(10), es.drafting.PromptLookup(), SampleMatch(), es.Rng(seed))

    together = [x.ids() for x in es.run(*(decoder(seed) for seed in range(8)))]
    alone = [es.run(decoder(seed))[0].ids() for seed in range(8)]
    assert together == alone


def test_beam_finds_the_most_probable_text():
    [found] = es.run(es.beam(MODEL, PROMPT, es.stop.budget(4), width=V**4, alpha=0.0))
    joint = MODEL.joint(PROMPT, 4)
    best = max(joint, key=joint.__getitem__)
    assert tuple(found[0].prefix.written()) == best
    assert found[0].logp == pytest.approx(math.log(joint[best]), abs=1e-12)
    assert {tuple(h.prefix.written()): pytest.approx(h.logp) for h in found} == {
        tokens: pytest.approx(math.log(p)) for tokens, p in joint.items()
    }
