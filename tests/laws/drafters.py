"""The drafters of the law matrix, on a vocabulary of three tokens: those of the catalogue, and variants of them.

Length and tree policies, and drafters made of other things than a model, come by their examples in the catalogue. What drafts
from the text alone stands in VARIANTS, in small sizes. Every factory makes a fresh drafter for a target of V tokens
with vocabulary VOCAB. Drafts are enumerated with all that a
verifier may do to them, so keep them to two levels and about three nodes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from layered import Layers
from toys import transformer

import espalier as es
from espalier import catalogue
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
TWO_LEVELS = es.models.TwoLevelTransformer(transformer(vocab_size=V), group=4)
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


OBJECTS: dict[str, Callable[[], object]] = {  # what the examples of the catalogue need
    "draft": lambda: SMALL,
    "middle": lambda: MIDDLE,
    "early": lambda: MIDDLE,
    "foreign": lambda: FOREIGN,
    "two_levels": lambda: TWO_LEVELS,
    "vocab": lambda: VOCAB,
    "guide": lambda: es.regex("(ab)*"),
    "drafter": lambda: d.DraftModel(SMALL, tree=d.KConfig((2, 1), kind="deterministic")),
    "drafters": lambda: [d.DraftModel(SMALL, tokens=1), d.DraftModel(MIDDLE, tokens=2)],
    "verifier": SampleMatch,
    "length": lambda: d.Heuristic(1, most=2),
    "store": lambda: d.TextStore(TEXTS),
    "retrieve": lambda: d.REST(d.TextStore(TEXTS), nodes=4, tokens=2, shortest=1),
    "capacity": lambda: d.Capacity(1),
    "tree": lambda: d.Chain(2),
    "verify_cost": lambda: lambda tokens: 10.0 + tokens,
    "acceptance": lambda: lambda features: float(features[0] > 0),
    "predict": lambda: lambda last, hidden: 1.0 + float(hidden[0] > 0),
}


def catalogued(kind: catalogue.Kind, name: str) -> object:
    """The object that an entry's example makes."""
    return catalogue.find(kind, name).typical(**{need: make() for need, make in OBJECTS.items()})


def with_policy(kind: catalogue.Kind, name: str) -> d.DraftModel:
    """A drafter with a length or tree policy of the catalogue."""
    policy = catalogued(kind, name)
    if isinstance(policy, d.TreePolicy):
        return d.DraftModel(SMALL, tree=policy)
    assert isinstance(policy, d.LengthPolicy)
    return d.DraftModel(SMALL, tree=d.Chain(2), length=policy)


VARIANTS: dict[str, Callable[[], d.Drafter]] = {
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
    "lattice": lambda: d.Lattice(tokens=2, top=2, paths=2),
    "limited stand": lambda: d.Limited(d.STAND(V, nodes=3, depth=2, order=2), d.Heuristic(1, most=2)),
    "hierarchy": lambda: d.Hierarchy(n=3, guesses=2, store=d.TextStore(TEXTS), context=1),
    "dresd": lambda: d.DReSD(d.HiddenStore(size=4), k=2, tokens=1),
    "stand": lambda: d.STAND(V, nodes=3, depth=2, order=2),
    # with a draft model
    "shaped chain": lambda: d.DraftModel(SMALL | es.temperature(0.5) | es.top_k(2), tokens=2),
    "greedy chain": lambda: d.DraftModel(SMALL, tree=d.Chain(2, kind="deterministic")),
    "three draws": lambda: d.DraftModel(SMALL, tree=d.Chains(3, 1)),
    "k-config with": lambda: d.DraftModel(SMALL, tree=d.KConfig((2, 1), kind="with replacement")),
    "all tokens": lambda: d.DraftModel(SMALL, tree=d.KConfig((3,))),
    "trimmed": lambda: d.DraftModel(SMALL | d.VocabTrim([0, 1]), tokens=2),
    "staged, drawn": lambda: d.Staged(MIDDLE, d.DraftModel(SMALL, tokens=1), Rejection(), tokens=2),
    "staged greedy": lambda: d.Staged(MIDDLE, d.PromptLookup(tokens=2), GreedyMatch(), tokens=3),
    "staged tree": lambda: d.Staged(MIDDLE, d.PromptLookup(tokens=2), SampleMatch(), tokens=2, tree=d.KConfig((2, 1))),
    "staged beam": lambda: d.Staged(
        MIDDLE, d.DraftModel(SMALL, tree=d.Chain(1, kind="deterministic")), SampleMatch(), tokens=2, tree=d.Beam(2, 2, 3)
    ),
    "last row": lambda: d.DraftModel(SMALL, tree=d.KConfig((2, 1), last_row=0.5)),
    "speculative jacobi": lambda: d.SpeculativeJacobi(2),
    "intersection": lambda: d.DraftModel(d.Intersection(FOREIGN, VOCAB), tokens=2),
    "string law": lambda: d.DraftModel(d.StringLaw(FOREIGN, VOCAB), tokens=2),
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
    "exp3": lambda: d.DraftModel(SMALL, tree=d.Chain(2), length=d.BanditLength((0, 1, 2), d.EXP3)),
    "mixed": Mixed,
    "exhausted law": Exhausts,
    # made of drafters
    "auto": lambda: d.Auto(nodes=4, slack=1e6),
    "cascade": lambda: d.Cascade(d.PromptLookup(tokens=2, shortest=2), d.TokenRecycling(nodes=3, top=2)),
    "fuse": lambda: d.Fuse(d.PromptLookup(tokens=2), d.TokenRecycling(nodes=4, top=2), nodes=5),
}

DRAFTERS = VARIANTS | {
    entry.name: functools.partial(catalogued, entry.kind, entry.name)
    for entry in catalogue.entries("drafter")
    if not entry.typed and entry.name != "pearl"
}
for kind in ("length", "tree"):
    DRAFTERS |= {f"{kind} {name}": functools.partial(with_policy, kind, name) for name in catalogue.names(kind)}

# The chain that is pending was drawn in an earlier round, so the law of one round alone says nothing; see test_law_matrix.
AHEAD: dict[str, Callable[[], d.Drafter]] = {"pearl": lambda: d.Pearl(SMALL, tokens=2)}
