"""`es.faithful`: samples of p(text | text is valid) from a language model, with what is known of their quality."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, overload

import torch

from espalier import stop as stops
from espalier.constraints.heal import heal
from espalier.decoders.budget import Budget, Spent
from espalier.decoders.faithful.attempts import Attempt
from espalier.decoders.faithful.awrs import Awrs
from espalier.decoders.faithful.final_check import FinalCheck
from espalier.decoders.faithful.particles import pick
from espalier.decoders.faithful.populations import Populations
from espalier.decoders.faithful.rejection import ARS, CARS, ASAp, Local, Reject, Rejecting
from espalier.decoders.faithful.smc import SMC
from espalier.engine import run
from espalier.errors import expect, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.run import Decoder
from espalier.scorer import Scorer
from espalier.stop import Stop
from espalier.token_constraint import restricts

if TYPE_CHECKING:
    from espalier.lm import LanguageModel
    from espalier.requests.prompt import Prompt

Method = Literal["auto", "cars", "ars", "asap", "smc", "reject", "local"]
_ATTEMPTS: dict[str, type[Rejecting]] = {"cars": CARS, "ars": ARS, "asap": ASAp, "reject": Reject, "local": Local}
_EXACT = ("cars", "ars", "reject")
_PARTICLES, _ISLANDS, _TRIES, _PATIENCE = 64, 4, 20_000, 64
_EXPLORE = 0.1  # of the draws of particles, so that rare beginnings are seen


@dataclass(frozen=True, slots=True)
class Sample:
    """One text: `logp` is the model's log-probability of its tokens, `log_weight` what it owes (0 for exact methods).

    >>> Sample("a", (3,), -1.0, 0.0).text
    'a'
    """

    text: str
    tokens: tuple[int, ...]
    logp: float
    log_weight: float


@dataclass(frozen=True)
class Faithful(Sequence[Sample]):
    """Samples, and how far they can be trusted.

    `log_z`: an estimate of log p(valid), `log_z_error` one standard error of it, `log_z_bound` a sure upper bound. `reliable`
    is True iff: n samples came (cars, ars, reject); or (smc) there are two islands or more, their log-masses differ by less
    than 3 standard errors, at least 20 of the first particles have descendants, log_z is at most 0.2 above its bound and at
    most 0.2 below the mass of the texts that the rows showed to be valid, drawn or not, and log_z - log_z_bound > -5;
    `reason` says what failed. Samples by weights (asap, local) are never called reliable.

    >>> Faithful([Sample("a", (3,), -1.0, 0.0)], method="cars", reliable=True)[0].text
    'a'
    """

    samples: Sequence[Sample]
    log_z: float = -math.inf
    log_z_error: float = math.inf
    log_z_bound: float = 0.0
    method: str = "cars"
    reliable: bool = False
    reason: str = ""
    attempts: int = 0
    passes: int = 0
    positions: int = 0

    @overload
    def __getitem__(self, at: int) -> Sample: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Sample]: ...
    def __getitem__(self, at: int | slice) -> Sample | Sequence[Sample]:
        return self.samples[at]

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)


def faithful(
    lm: LanguageModel,
    prompt: Prompt,
    guide: Any,
    n: int = 1,
    *,
    method: Method = "auto",
    budget: int | float | None = None,
    seed: int | None = None,
    strings: bool = False,
    max_tokens: int = 64,
    target: Literal["finished", "prefix"] = "finished",
) -> Faithful:
    """n samples of p(text | text satisfies the guide), where masking step by step would draw from another law.

    cars, ars, reject: every sample is exact, the first one too. asap, local, smc: weighted samples. auto: cars, and smc where
    attempts fail too often, for which a part of the budget is kept. `guide`: a guide, a constraint on tokens, or a function of
    a whole text (bytes → bool), checked at the end alone. `budget`: passes (whole number) or seconds; at its end what is there
    is returned. `strings`: the law is that of strings: the tokens at the end of the prompt are taken back and written anew,
    every way to split the text counts, and `logp` is of the prompt's tail and the text. `target`: "finished" asks for
    p(text | valid, at most max_tokens tokens), "prefix" counts texts that were cut. Raises `Unsatisfiable` if no text can be
    valid.

    Parys et al. 2025 (arXiv 2510.01902), Park et al. 2024 (arXiv 2405.21047), Loula et al. 2025 (arXiv 2504.13139).

    >>> import espalier as es
    >>> lm = es.load()  # doctest: +SKIP
    >>> es.faithful(lm, "A number:", es.regex("[0-9]{3}"), n=5, seed=0)  # doctest: +SKIP
    """
    call = _Call.of(lm, prompt, guide, n, method, budget, seed, strings, max_tokens, target)
    [result] = run(call.decoder())
    return result


def by_checks(lm: LanguageModel, prompt: Prompt, guide: Any, n: int, budget: int, seed: int, max_tokens: int) -> Faithful:
    """`faithful(method="smc")` with steps by adaptive weighted rejection: the constraint is checked, no mask is asked for."""
    call = _Call.of(lm, prompt, guide, n, "smc", budget, seed, False, max_tokens, "finished")
    [result] = run(call._smc(Awrs(masks=False)))
    return replace(result, method="awrs")


@dataclass(frozen=True)
class _Call:
    lm: LanguageModel
    x: Prefix
    scorer: Scorer
    stop: Stop
    n: int
    method: Method
    spent: Spent
    rng: Rng
    target: Literal["finished", "prefix"]
    healed: int = 0  # bytes of the prompt that are written anew
    told: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        lm: LanguageModel,
        prompt: Prompt,
        guide: Any,
        n: int,
        method: Method,
        budget: int | float | None,
        seed: int | None,
        strings: bool,
        max_tokens: int,
        target: Literal["finished", "prefix"],
    ) -> _Call:
        known = ["auto", *_ATTEMPTS, "smc"]
        require(method in known, f"method={method!r}; use one of {', '.join(map(repr, known))}")
        expect(n, Integral, "n", "a whole number")
        require(n >= 1, f"n={n}: at least one sample must be asked for")
        require(target in ("finished", "prefix"), f"target={target!r}; use target='finished' or target='prefix'")
        if not restricts(guide):
            require(callable(guide), f"the guide of faithful was {guide!r}; expected a guide such as es.regex('[a-z]+')")
            guide = FinalCheck(guide, lm.vocab)
        x, healed = lm.prompt(prompt), b""
        if strings:
            require(hasattr(guide, "native"), "strings=True writes the end of the prompt anew, which needs a guide over bytes")
            tokens, guide, healed = heal(x.ids(), lm.vocab, guide)
            x = Prefix(tokens) if healed else x
        stop = stops.end(lm.vocab.end) | stops.budget(min(max_tokens, lm.context - len(x)))
        spent = Spent(_budget(budget))
        rng = Rng(secrets.randbits(63) if seed is None else seed)
        return cls(lm, x, lm.scorer * guide, stop, int(n), method, spent, rng, target, len(healed))

    def decoder(self) -> Decoder[Faithful]:
        if self.method == "smc":
            return (yield from self._smc())
        if self.method != "auto":
            return (yield from self._attempts(self.method))
        limit = _PATIENCE + 16 * self.n
        first = yield from self._attempts("cars", tries=limit, spent=self._share())
        if len(first) == self.n or self.spent.left() <= 0:
            return first
        if len(first) and first.log_z - first.log_z_bound > -3:  # attempts succeed often enough to go on
            second = yield from self._attempts("cars", tries=_TRIES)
            return replace(second, attempts=second.attempts + first.attempts)
        return (yield from self._smc())

    def _share(self) -> Spent:
        """What the first attempts of `auto` may spend: what leaves particles enough to finish, or a quarter."""
        b = self.spent.budget
        passes = None if b.passes is None else max(b.passes - (getattr(self.stop, "most", None) or 0), b.passes // 4, 1)
        seconds = None if b.seconds is None else b.seconds / 2
        return Spent(Budget(passes=passes, seconds=seconds), started=self.spent.started)

    def _attempts(self, method: str, tries: int = _TRIES, spent: Spent | None = None) -> Decoder[Faithful]:
        kind = _ATTEMPTS[method]
        attempts = kind(target=self.target, tries=tries).attempts(self.scorer, self.x, self.stop, self.rng.split())
        attempts.spent = spent or self.spent
        valid = yield from attempts.collect(self.n)
        if spent is not None:
            self.spent.passes, self.spent.tokens = self.spent.passes + spent.passes, self.spent.tokens + spent.tokens
        log_z, error = _mass(attempts.finished, len(valid) >= self.n)
        missing = f"{len(valid)} of {self.n} samples came: {attempts.exhausted}" if len(valid) < self.n else ""
        never = "" if method in _EXACT else f"{method} is exact only in the limit of many samples"
        weights = [0.0 if method in _EXACT else a.log_weight for a in valid]
        samples = [self._sample(a.node.prefix, _logp(a), w) for a, w in zip(valid, weights, strict=True)]
        bound = math.log(attempts.trie.root.bound) if attempts.trie.root.bound > 0 else -math.inf
        return self._result(samples, method, missing or never, len(attempts.began), log_z, error, bound)

    def _smc(self, propose: Awrs | None = None) -> Decoder[Faithful]:
        particles, propose = max(_PARTICLES, self.n), propose or Awrs()
        smc = SMC(particles, islands=_ISLANDS, target=self.target, explore=_EXPLORE, propose=propose)
        populations = smc.populations(self.scorer, self.x, self.stop, self.rng.split(), self.spent)
        yield from populations.advance()
        alive = [p for p in populations.pooled() if p.log_weight > -math.inf]
        bound = math.log(populations.bounds.root.bound) if populations.bounds.root.bound > 0 else -math.inf
        chosen = [pick(alive, self.rng) for _ in range(self.n)] if alive else []
        samples = [self._sample(p.prefix, p.logp, populations.log_z) for p in chosen]
        reason = _doubts(populations, bound)
        error, began = populations.log_z_error, particles * _ISLANDS
        return self._result(samples, "smc", reason, began, populations.log_z, error, bound)

    def _sample(self, x: Prefix, logp: float, log_weight: float) -> Sample:
        tokens = tuple(x.written())
        data = self.lm.vocab.join(tokens)[self.healed :]
        return Sample(data.decode("utf-8", "replace"), tokens, logp, log_weight)

    def _result(
        self, samples: list[Sample], method: str, reason: str, began: int, log_z: float, error: float, bound: float
    ) -> Faithful:
        spent = self.spent
        return Faithful(
            samples, log_z, error, bound, method, not reason, reason, began, passes=spent.passes, positions=spent.tokens
        )


def _budget(budget: int | float | None) -> Budget:
    if budget is None:
        return Budget()
    expect(budget, (Integral, float), "budget", "passes (a whole number) or seconds (a float)")
    return Budget(seconds=budget) if isinstance(budget, float) else Budget(passes=int(budget))


def _mass(attempts: list[Attempt], complete: bool) -> tuple[float, float]:
    """log of the mean value of the attempts, and its standard error. Stopping at the n-th success favours successes, so the
    last one is left out where there are others."""
    counted = attempts[:-1] if complete and sum(a.outcome == "valid" for a in attempts) > 1 else attempts
    values = torch.tensor([a.value for a in counted], dtype=torch.float64)
    mean = float(values.mean()) if len(values) else 0.0
    if mean <= 0:
        return -math.inf, math.inf
    m, valid = len(values), sum(a.outcome == "valid" for a in counted)
    rate = (valid + 1) / (m + 2)  # what never failed may still fail
    spread = float(values.std()) / mean / math.sqrt(m) if m > 1 else 0.0
    return math.log(mean), max(spread, math.sqrt((1 - rate) / rate / m))


def _logp(a: Attempt) -> float:
    total, node = 0.0, a.node
    while node.parent is not None:
        total, node = total + math.log(node.p), node.parent
    return total


def _doubts(populations: Populations, bound: float) -> str:
    """Why the particles are not to be trusted; empty if they are."""
    masses, variances = populations.log_masses, populations.variances
    shown = math.log(populations.bounds.shown) if populations.bounds.shown > 0 else -math.inf
    checks: list[tuple[bool, Callable[[], str]]] = [
        (not populations.exhausted, lambda: "the budget was used up before the particles were finished"),
        (populations.log_z > -math.inf, lambda: "all particles died"),
        (len(masses) >= 2 and min(masses) > -math.inf, lambda: "an island died, or there is only one"),
        (_agree(masses, variances), lambda: f"islands disagree about log p(valid): {[round(m, 2) for m in masses]}"),
        (
            populations.ancestors >= 20,
            lambda: f"only {populations.ancestors} of the first particles have descendants; 20 needed",
        ),
        (
            shown - 0.2 < populations.log_z < bound + 0.2,  # further out, the estimate is wrong for sure
            lambda: f"log_z {populations.log_z:.1f} is not between its sure bounds {shown:.1f} and {bound:.1f}",
        ),
        (populations.log_z - bound > -5, lambda: f"log_z {populations.log_z:.1f} is far below its bound {bound:.1f}"),
    ]
    return next((say() for holds, say in checks if not holds), "")


def _agree(masses: list[float], variances: list[float]) -> bool:
    pairs = [(i, j) for i in range(len(masses)) for j in range(i)]
    return all(abs(masses[i] - masses[j]) < 3 * math.sqrt(variances[i] + variances[j]) + 1e-9 for i, j in pairs)
