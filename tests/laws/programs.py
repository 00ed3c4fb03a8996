"""Random programs: a drafter, a rule, shapers, a constraint, stops and a batch, drawn from a seed, and what they must keep."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from layered import Layers
from toys import tokenizer

import espalier as es
from espalier import drafting as d
from espalier import verification as v
from espalier.constraints import cfg
from espalier.errors import Unsatisfiable
from espalier.lm import LanguageModel
from espalier.requests.options import Options
from espalier.text.vocab import Vocab

MERGED = ("ab", "ra", "bra", "abra")


def language_model() -> LanguageModel:
    """The target of the programs: layers over bytes, some longer tokens and an end, that like a few letters."""
    tok = tokenizer(MERGED)
    vocab, likely = tok.vocab, torch.zeros(tok.vocab.size, dtype=torch.float64)
    likely[[i for i in range(vocab.size) if set(vocab[i]) & set(b"abr ") or i in vocab.end]] = 5.0 / 3

    def table(layer: int) -> es.models.Table:
        noise = es.models.Table.random(vocab.size, 1 + layer % 2, seed=40 + layer, scale=1.2)
        return es.models.Table(vocab.size, noise.depth, lambda context: noise.row(context) + likely)

    return LanguageModel(Layers([table(layer) for layer in range(3)], vocab), tok, "programs")


LM = language_model()
MODEL = LM.model
SMALL = MODEL.partial([0, 1])  # type: ignore[attr-defined]
FOREIGN = es.models.Table.random(7, 1, seed=3, vocab=Vocab([b"b", None, b"a", b"ab", b" ", b"r", b"ra"], end=[1]))
TEXTS = [LM.tokenizer.encode(text) for text in ("abra abra bar", "rara barb ab ra", "a b r a b a")]


def draft_model(rng: random.Random) -> Callable[[], d.Drafter]:
    """A draft model with any tree and any length policy."""
    trees: list[Callable[[], d.TreePolicy]] = [
        lambda: d.Chain(4),
        lambda: d.Chain(4, kind="deterministic"),
        lambda: d.Chain(3, kind="without replacement"),
        lambda: d.Chains(3, 3),
        lambda: d.KConfig((3, 2, 1)),
        lambda: d.KConfig((2, 2), kind="with replacement"),
        lambda: d.KConfig((3, 1), kind="deterministic"),
        lambda: d.Template([(0,), (1,), (0, 0), (0, 1), (1, 0), (0, 0, 0)]),
        lambda: d.StochasticBeam(3, 3),
        lambda: d.DySpec(nodes=7),
        lambda: d.Sequoia(nodes=7, depth=4, refit=3),
        lambda: d.Sequoia(depth=3, draft_cost=0.1, verify_cost=lambda n: 1 + 0.1 * n, refit=2),
        lambda: d.Beam(width=2, depth=3, nodes=6),
        lambda: d.OptTree(nodes=6, depth=4, delta=0.1),
        lambda: d.Siblings(((0.5, 1), (0.0, 3)), most=3),
    ]
    lengths: list[Callable[[], d.LengthPolicy]] = [
        lambda: d.Constant(3),
        lambda: d.Heuristic(2, most=5),
        lambda: d.SVIP(0.5, most=5),
        lambda: d.Confidence(0.2, most=5),
        lambda: d.AdaptiveConfidence(0.2, most=5),
        lambda: d.FittedConfidence(0.1, most=5),
        lambda: d.DDD(-2.0, depths=(1, 3), most=4),
        lambda: d.Thompson(most=5),
        lambda: d.BanditLength((0, 1, 3), d.UCB),
        lambda: d.BanditLength((1, 2, 4), d.EXP3),
        lambda: d.Goodput(lambda n: 5.0 + n, most=4),
        lambda: d.BASS(2, most=5),
        lambda: d.SpecDecPP(lambda h: float(h.max() > 6), least=1, most=4),
        lambda: d.DISCO(lambda f: float(f[0]), threshold=0.2, most=5),
        lambda: d.AdaEAGLE(lambda token, h: float(token % 4), most=4, first=2),
        lambda: d.Both(d.Heuristic(2, most=5), d.SVIP(0.6)),
    ]
    models: list[Callable[[], es.Scorer]] = [
        lambda: SMALL,
        lambda: SMALL | es.temperature(0.7) | es.top_k(5),
        lambda: MODEL | es.temperature(1.4),
        lambda: SMALL | d.VocabTrim(range(96, 120)),
        lambda: d.Shortened(MODEL, lambda ids: ids[-1:]),
        lambda: d.Intersection(FOREIGN, LM.vocab),
    ]

    tree, length, model = rng.choice(trees), rng.choice(lengths), rng.choice(models)
    return lambda: d.DraftModel(model(), tree=tree(), length=length())


def deterministic() -> list[Callable[[], d.Drafter]]:
    """Drafters that choose, from text, stores, rows and layers."""
    return [
        lambda: d.PromptLookup(),
        lambda: d.PromptLookup(tokens=3, longest=4, shortest=2),
        lambda: d.NGramCache(tokens=4, order=3, static=d.NGramCounts.of(TEXTS, order=3)),
        lambda: d.ADED(TEXTS, nodes=8, depth=3, rollouts=8),
        lambda: d.TokenRecycling(nodes=8),
        lambda: d.Lookahead(window=3, n=3, guesses=2),
        lambda: d.Jacobi(4),
        lambda: d.gauss_seidel(4),
        lambda: d.hybrid(3, parallel=6),
        lambda: d.Aggressive(tokens=4, match=1),
        lambda: d.Aggressive(TEXTS[0], tokens=4, match=1),
        lambda: d.REST(d.TextStore(TEXTS), nodes=8, tokens=3, shortest=1),
        lambda: d.Hierarchy(n=3, guesses=3, store=d.TextStore(TEXTS), context=1),
        lambda: d.DReSD(d.HiddenStore(size=8), k=2, tokens=2),
        lambda: d.RASD(SMALL, d.REST(d.TextStore(TEXTS), nodes=8, tokens=3, shortest=1), tokens=3, top=4),
        lambda: d.Graft(SMALL, d.TokenRecycling(nodes=6), nodes=9, width=2, depth=3),
        lambda: d.Retokenised(FOREIGN, LM.vocab, tokens=3),
        lambda: d.Staged(SMALL, d.PromptLookup(tokens=3), v.GreedyMatch(), tokens=4),
        lambda: d.SWIFT(MODEL, ratio=0.9, tree=d.Siblings(((0.5, 1), (0.0, 2)), most=3), window=2, context=1, trials=3),
        lambda: d.skip_layers(MODEL, {1}),
        lambda: d.early_exit(MODEL, 2),
        lambda: d.DEL(MODEL, exits=[1, 2], most=3),
        lambda: d.ProPD(d.PromptLookup(), SMALL, top=20),
        lambda: d.Auto(nodes=8, slack=1e6),
        lambda: d.Cascade(d.PromptLookup(tokens=3, shortest=2), d.TokenRecycling(nodes=6)),
        lambda: d.Fuse(d.PromptLookup(tokens=3), d.TokenRecycling(nodes=6), d.Jacobi(3), nodes=12),
        lambda: d.Cascade(d.Auto(nodes=6, slack=1e6), d.Lookahead(window=2, n=3)),
        lambda: d.BanditDrafter([d.PromptLookup(), d.TokenRecycling(nodes=6), d.Jacobi(3)]),
    ]


def drawn() -> list[Callable[[], d.Drafter]]:
    """Drafters that draw, besides draft models with policies."""
    return [
        lambda: d.STAND(LM.vocab.size, nodes=8),
        lambda: d.SpeculativeJacobi(3),
        lambda: d.Pearl(SMALL, tokens=2),
        lambda: d.Staged(SMALL, d.DraftModel(MODEL.partial([0]), tokens=2), v.Rejection(), tokens=3),  # type: ignore[attr-defined]
        lambda: d.Tetris(SMALL, d.Capacity(3), tree=d.Chain(4)),
        lambda: d.Cascade(d.SpeculativeJacobi(2), d.DraftModel(SMALL, tokens=2)),
    ]


EXACT = [v.SampleMatch(), v.GreedyMatch(), v.MultiCandidate(), v.Rejection(), v.Recursive(), v.KSeq(), v.Block()]
LOSSY: list[v.Verifier] = [
    v.Lenient(0.4),
    v.Ensemble(0.3),
    v.Typical(),
    v.Reflective([97, 98], weight=0.4),
    v.Judge(torch.linspace(-1, 1, LM.vocab.size, dtype=torch.float64)),
]
PROMPTS = ["a", "abra", "abra abra ab", "r", "bar bar bar bar ba", " "]
CONSTRAINTS: list[Callable[[], dict[str, Any]]] = [
    dict,
    dict,
    dict,
    lambda: {"regex": "(a|b|ra)+ (ab|r)*"},
    lambda: {"regex": "[abr]{2,9}"},
    lambda: {"choices": ["abra", "ab", "bar", "barra"]},
    lambda: {"schema": {"type": "object", "properties": {"ab": {"enum": ["r", "ra"]}, "n": {"type": "integer"}}}},
    lambda: {"grammar": 'start: "a" start "b" | "ab"'},
    lambda: {"constraint": DEAD_ENDS},
    lambda: {"constraint": Trap()},
]
# Both grammars are followed, but not what they have in common: "aabcc" alone, and every other beginning is a dead end.
DEAD_ENDS = cfg('start: "a" start "c" | "a" b "c"\nb: "b"+') & cfg('start: "a"* "bcc" | s\ns: "a" s "b" | "ab"')


class Trap:
    """A constraint over tokens: after "a" and "b", or after "ra" twice, nothing may follow, and no mask says so beforehand."""

    exactness = "over"

    def start(self) -> tuple[int, ...]:
        return ()

    def advance(self, state: tuple[int, ...], token: int) -> tuple[int, ...] | None:
        return (*state, token)[-2:] if self.allowed(state, token) else None

    def allowed(self, state: tuple[int, ...], token: int) -> bool:
        return state not in {(97, 98), (257, 257)}

    def mask(self, state: tuple[int, ...]) -> torch.Tensor:
        return torch.full((LM.vocab.size,), self.allowed(state, 0))


@dataclass(frozen=True)
class Program:
    """What a seed says: the drafter, the rule, the prompts and the options of the request."""

    drafter: Callable[[], d.Drafter]
    rule: v.Verifier
    prompts: list[str]
    options: dict[str, Any]


def any_drafter(rng: random.Random) -> Callable[[], d.Drafter]:
    """One of all of these."""
    return rng.choice([*deterministic(), *drawn(), *(draft_model(rng) for _ in range(20))])


def program(seed: int) -> Program:
    """The program of a seed."""
    rng = random.Random(seed)
    drafter = any_drafter(rng)
    kind = drafter().kind
    rule = rng.choice([rule for rule in [*EXACT, v.SampleMatch(), v.SampleMatch(), *LOSSY] if kind in rule.accepts])
    options: dict[str, Any] = {
        "temperature": rng.choice([0.0, 0.0, 0.7, 1.0, 1.3]),
        "max_tokens": rng.choice([1, 2, 3, 7, 12, 20]),
        "seed": rng.randrange(1000),
        "n": rng.choice([1, 1, 2, 3]),
        **rng.choice(CONSTRAINTS)(),
    }
    extra = {
        "top_k": rng.choice([1, 2, 5, 40]),
        "top_p": rng.choice([0.3, 0.8, 0.95]),
        "min_p": rng.choice([0.01, 0.2]),
        "repetition_penalty": rng.choice([1.3, 2.0]),
        "presence_penalty": rng.choice([0.7, 2.0]),
        "frequency_penalty": rng.choice([0.5, 1.5]),
        "logit_bias": {97: rng.choice([-3.0, 4.0]), 98: rng.choice([2.0, float("-inf")])},
        "stop": rng.choice([["ab"], ["a b", "rr"], ["b"], ["raab", "bra"]]),
    }
    options |= {name: value for name, value in extra.items() if rng.random() < 0.25}
    if isinstance(rule, v.GreedyMatch):
        options["temperature"] = 0.0
    return Program(drafter, rule, [rng.choice(PROMPTS) for _ in range(rng.choice([1, 1, 2, 4]))], options)


def outcome(prompts: Sequence[str], options: dict[str, Any]) -> Any:
    """What a batch gives: its completions, flat, or `Unsatisfiable` where nothing can be said."""
    try:
        done = LM.complete_all([es.raw(prompt) for prompt in prompts], **options)
    except Unsatisfiable as error:
        return type(error)
    return [one for completion in done for one in completion]


def check(this: Program) -> None:
    """Asserts what must hold: the very completion of plain decoding where the rule matches or the target is greedy; else
    that the text is one that the request allows, with the model's log-probabilities."""
    plain = outcome(this.prompts, this.options | {"drafter": None})
    drafted = outcome(this.prompts, this.options | {"drafter": this.drafter(), "verifier": this.rule})
    exact = this.rule.guarantee != "lossy" and (isinstance(this.rule, v.SampleMatch) or this.options["temperature"] == 0)
    if exact:
        assert_same(plain, drafted)
    elif not isinstance(drafted, type):
        for one in drafted:
            assert_allowed(one, this.options)
    if isinstance(drafted, list):
        assert_booked(drafted, this.prompts)
        if exact and this.options["n"] == 1 and len(this.prompts) == 1:
            options = this.options | {"drafter": this.drafter(), "verifier": this.rule}
            assert "".join(LM.stream(es.raw(this.prompts[0]), **options)) == drafted[0].text


def assert_same(plain: Any, drafted: Any) -> None:
    if isinstance(plain, type) or isinstance(drafted, type):
        assert plain is drafted
        return
    for a, b in zip(plain, drafted, strict=True):
        assert (a.tokens, a.text, a.finish_reason) == (b.tokens, b.text, b.finish_reason)
        assert a.logprobs == b.logprobs


def assert_allowed(one: Any, options: dict[str, Any]) -> None:
    """What any rule must leave alone: the constraint, the stops, the budget."""
    guide = Options(**options).guide()
    text = b"".join(LM.vocab[t] for t in one.tokens)
    stops = [s.encode() for s in options.get("stop", ())]
    assert 1 <= len(one.tokens) <= options["max_tokens"]
    assert not any(s.decode() in one.text for s in stops)
    assert not any(t in LM.vocab.end for t in one.tokens[:-1])
    if isinstance(guide, es.Guide):
        state = guide.advance(guide.start(), text)
        assert state is not None
        assert one.tokens[-1] not in LM.vocab.end or guide.accepts(state)
    ended = one.tokens[-1] in LM.vocab.end or any(s in text for s in stops)
    assert one.finish_reason == ("stop" if ended else "length")
    assert one.finish_reason == "stop" or len(one.tokens) == options["max_tokens"]


def assert_booked(done: Sequence[Any], prompts: Sequence[str]) -> None:
    """Log-probabilities are the model's own, and the statistics add up."""
    each = len(done) // len(prompts)
    for at, one in enumerate(done):
        x = es.Prefix(LM.tokenizer.encode(prompts[at // each]))
        for token, logp in zip(one.tokens, one.logprobs, strict=True):
            row = MODEL.forward([x], frozenset()).logits[0]
            assert logp == float(row[token] - torch.logsumexp(row, -1))
            x = x + token
        stats = one.stats
        assert sum(stats.per_pass.values()) <= stats.passes <= sum(k * n for k, n in stats.per_pass.items()) + 10_000
        assert stats.tokens == sum(k * n for k, n in stats.per_pass.items()) >= len(one.tokens)
        assert stats.draft_seconds >= 0
        assert stats.pass_seconds >= 0
        assert stats.seconds > 0
