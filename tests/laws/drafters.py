"""The drafters of the law matrix, on a vocabulary of three tokens. A new drafter is one line in DRAFTERS.

Every factory makes a fresh drafter for a target of V tokens with vocabulary VOCAB. Drafts are enumerated with all that a
verifier may do to them, so keep them to two levels and about three nodes.
"""

from __future__ import annotations

from collections.abc import Callable

from layered import Layers

import espalier as es
from espalier import drafting as d
from espalier.text import Vocab
from espalier.verification import GreedyMatch, Rejection, SampleMatch

V, END = 3, 2
VOCAB = Vocab([b"a", b"b", None], end=[END])
OTHER = Vocab([b"b", None, b"ab", b"a"], end=[1])  # another vocabulary over the same letters
TEXTS = [[0, 1, 0, 0, 1, 1, 0, 1], [1, 0, 0, 0, 1]]


LAYERED = Layers([es.models.Table.random(V, 2, seed=30 + layer) for layer in range(3)], VOCAB)
SMALL = es.models.Table.random(V, 1, seed=8)
MIDDLE = es.models.Table.random(V, 2, seed=12)
FOREIGN = es.models.Table.random(OTHER.size, 1, seed=5, vocab=OTHER)


class Mixed(d.Drafter):
    """A tree in which some siblings were chosen and others drawn."""

    kind = "with replacement"

    def propose(self, x, rng):  # type: ignore[no-untyped-def]
        draft = d.Draft(x)
        a = draft.add(0, 1)
        draft.add(0, 0)
        [row] = yield es.Ask(SMALL, [draft.prefixes[a]])
        draft.drawn(a, row.probs())
        draft.draw(a, rng)
        draft.draw(a, rng)
        return draft


class Exhausts(d.Drafter):
    """Three draws without replacement from a law with two possible tokens: the third is uniform over what is left."""

    kind = "without replacement"

    def propose(self, x, rng):  # type: ignore[no-untyped-def]
        draft = d.Draft(x)
        [row] = yield es.Ask(SMALL | es.top_k(2), [x])
        draft.drawn(0, row.probs(), replacement=False)
        for _ in range(3):
            draft.draw(0, rng)
        return draft


DRAFTERS: dict[str, Callable[[], d.Drafter]] = {
    # from the text
    "lookup": lambda: d.PromptLookup(tokens=2),
    "n-gram cache": lambda: d.NGramCache(tokens=2, order=2, static=d.NGramCounts.of(TEXTS, order=2)),
    "aded": lambda: d.ADED(TEXTS, nodes=3, depth=2, rollouts=6),
    "recycling": lambda: d.TokenRecycling(nodes=4, top=2),
    "lookahead": lambda: d.Lookahead(window=2, n=3, guesses=2),
    "jacobi": lambda: d.Jacobi(3),
    "gauss-seidel": lambda: d.gauss_seidel(3),
    "hybrid": lambda: d.hybrid(2, parallel=3),
    "aggressive": lambda: d.Aggressive([0, 1, 1, 0], tokens=3, match=1),
    "rest": lambda: d.REST(d.TextStore(TEXTS), nodes=4, tokens=2, shortest=1),
    "hierarchy": lambda: d.Hierarchy(n=3, guesses=2, store=d.TextStore(TEXTS), context=1),
    "dresd": lambda: d.DReSD(d.HiddenStore(size=4), k=2, tokens=1),
    "stand": lambda: d.STAND(V, nodes=3, depth=2, order=2),
    # with a draft model
    "chain": lambda: d.DraftModel(SMALL, tokens=2),
    "shaped chain": lambda: d.DraftModel(SMALL | es.temperature(0.5) | es.top_k(2), tokens=2),
    "greedy chain": lambda: d.DraftModel(SMALL, tree=d.Chain(2, kind="deterministic")),
    "chains": lambda: d.DraftModel(SMALL, tree=d.Chains(2, 2)),
    "three draws": lambda: d.DraftModel(SMALL, tree=d.Chains(3, 1)),
    "k-config with": lambda: d.DraftModel(SMALL, tree=d.KConfig((2, 1), kind="with replacement")),
    "k-config without": lambda: d.DraftModel(SMALL, tree=d.KConfig((2, 1))),
    "all tokens": lambda: d.DraftModel(SMALL, tree=d.KConfig((3,))),
    "stochastic beam": lambda: d.DraftModel(SMALL, tree=d.StochasticBeam(2, 2)),
    "dyspec": lambda: d.DraftModel(SMALL, tree=d.DySpec(nodes=2)),
    "sequoia": lambda: d.DraftModel(SMALL, tree=d.Sequoia(nodes=3, depth=2, acceptance=[0.6, 0.5])),
    "beam": lambda: d.DraftModel(SMALL, tree=d.Beam(width=2, depth=2, nodes=3)),
    "opt-tree": lambda: d.DraftModel(SMALL, tree=d.OptTree(nodes=3, depth=3, delta=0.0)),
    "trimmed": lambda: d.DraftModel(SMALL | d.VocabTrim([0, 1]), tokens=2),
    "staged": lambda: d.Staged(MIDDLE, d.DraftModel(SMALL, tokens=1), Rejection(), tokens=2),
    "staged on text": lambda: d.Staged(MIDDLE, d.PromptLookup(tokens=2), SampleMatch(), tokens=2),
    "staged greedy": lambda: d.Staged(MIDDLE, d.PromptLookup(tokens=2), GreedyMatch(), tokens=3),
    "speculative jacobi": lambda: d.SpeculativeJacobi(2),
    "intersection": lambda: d.DraftModel(d.Intersection(FOREIGN, VOCAB), tokens=2),
    "string law": lambda: d.DraftModel(d.StringLaw(FOREIGN, VOCAB), tokens=2),
    "retokenised": lambda: d.Retokenised(FOREIGN, VOCAB, tokens=2),
    "shortened": lambda: d.DraftModel(d.Shortened(MIDDLE, lambda ids: ids[-1:]), tokens=2),
    # the target's own layers
    "skipped layers": lambda: d.skip_layers(LAYERED, {1}, tree=d.Chain(2, kind="deterministic")),
    "skipped layers, drawn": lambda: d.skip_layers(LAYERED, {1}, tree=d.Chain(2), length=d.Constant(2)),
    "swift": lambda: d.SWIFT(LAYERED, ratio=0.9, tree=d.Siblings(((0.5, 1), (0.0, 2)), most=2), window=2, context=1, trials=2),
    "early exit": lambda: d.early_exit(LAYERED, 1, tree=d.Chain(2, kind="deterministic")),
    "early exit, drawn": lambda: d.early_exit(LAYERED, 2, tree=d.Chain(2), length=d.Constant(2)),
    "kangaroo's stop": lambda: d.early_exit(
        LAYERED, 2, tree=d.Chain(3, kind="deterministic"), length=d.Confidence(0.5, most=3)
    ),
    "del": lambda: d.DEL(LAYERED, exits=[1, 2], most=2),
    # with a length that is decided as the draft grows
    "svip": lambda: d.DraftModel(SMALL, tree=d.Chain(2), length=d.SVIP(threshold=0.36)),
    "confidence": lambda: d.DraftModel(SMALL, tree=d.Chain(2), length=d.Confidence(0.6, most=2)),
    "thompson": lambda: d.DraftModel(SMALL, tree=d.Chain(2), length=d.Thompson(1.0, 1.0, most=2)),
    "exp3": lambda: d.DraftModel(SMALL, tree=d.Chain(2), length=d.BanditLength((0, 1, 2), d.EXP3)),
    "heuristic": lambda: d.DraftModel(SMALL, tree=d.Chain(2), length=d.Heuristic(1, most=2)),
    "adaptive confidence": lambda: d.DraftModel(SMALL, tree=d.Chain(2), length=d.AdaptiveConfidence(0.5, most=2)),
    "specdec++": lambda: d.DraftModel(SMALL, tree=d.Chain(2), length=d.SpecDecPP(lambda h: float(h[0] > 0), least=1, most=2)),
    "goodput": lambda: d.DraftModel(SMALL, tree=d.Chain(2), length=d.Goodput(lambda n: 10.0 + n, most=2)),
    "propd": lambda: d.ProPD(d.DraftModel(SMALL, tree=d.KConfig((2, 1), kind="deterministic")), MIDDLE, top=1),
    "bandit": lambda: d.BanditDrafter([d.DraftModel(SMALL, tokens=1), d.DraftModel(MIDDLE, tokens=2)], most=2),
    "tetris": lambda: d.Tetris(SMALL, d.Capacity(1), tree=d.Chain(2)),
    "siblings": lambda: d.DraftModel(SMALL, tree=d.Siblings(((0.5, 1), (0.0, 2)), most=2)),
    "mixed": Mixed,
    "exhausted law": Exhausts,
    # made of drafters
    "auto": lambda: d.Auto(nodes=4, slack=1e6),
    "rasd": lambda: d.RASD(SMALL, d.REST(d.TextStore(TEXTS), nodes=4, tokens=2, shortest=1), tokens=2, top=2),
    "graft": lambda: d.Graft(SMALL, d.TokenRecycling(nodes=4, top=2), nodes=5, width=2, depth=2),
    "cascade": lambda: d.Cascade(d.PromptLookup(tokens=2, shortest=2), d.TokenRecycling(nodes=3, top=2)),
    "fuse": lambda: d.Fuse(d.PromptLookup(tokens=2), d.TokenRecycling(nodes=4, top=2), nodes=5),
}

# The chain that is pending was drawn in an earlier round, so the law of one round alone says nothing; see test_law_matrix.
AHEAD: dict[str, Callable[[], d.Drafter]] = {"pearl": lambda: d.Pearl(SMALL, tokens=2)}
