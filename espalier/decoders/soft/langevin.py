"""COLD: a text of soft tokens that gradients of energies move, with noise, and that is then written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from espalier.decoders.beams.beam import longest
from espalier.decoders.decoder import Weighted, check_parts
from espalier.decoders.soft.energies import Energy, SoftText, Tokens
from espalier.decoders.soft.models import embedding_model
from espalier.errors import InvalidInput, Unsatisfiable, expect, require
from espalier.models.transformer import Transformer
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.run import Decoder
from espalier.scorer import Ask, Scorer
from espalier.soft_prefix import Soft
from espalier.stop import Stop


class Annealed(list[Weighted]):
    """What `Langevin` found, the most probable first, and the energies of its best chain at each step (the last one after)."""

    energies: list[float]


@dataclass(frozen=True)
class Langevin:
    """Energy-based decoding by Langevin dynamics on soft tokens: ỹ ← ỹ − step · ∇E(ỹ) + noise · N(0, 1), from the greedy rows.

    `energies`: functions of a `SoftText`, or (weight, function) pairs, whose sum is E: `es.decoders.energies.fluency`,
    `future(tokens)`, `keywords(phrases)`, or your own. `length` soft tokens (the stop's limit, or 15, if None); the model reads
    softmax(ỹ / tau). Then place by place the soft token's favourite among the `top_k` of the scorer's row is written, and
    the text goes on greedily to its stop. `chains` are ranked by the scorer's log-probability, their `log_weight`.

    Guarantee: a heuristic; with one seed the same text. A constraint holds, since it restricts those rows. Needs the eager
    executor (gradients). Qin et al. 2022 (arXiv 2202.11705); plain steps instead of Adam's.

    >>> from espalier.decoders import energies
    >>> Langevin([energies.fluency, (0.5, energies.keywords([[3, 4]]))], steps=50).step
    0.1
    """

    energies: Sequence[Energy | tuple[float, Energy]]
    steps: int = 100
    step: float = 0.1
    noise: float = 0.01
    length: int | None = None
    top_k: int = 10
    tau: float = 1.0
    chains: int = 1
    many: ClassVar[bool] = True  # one run finds several texts

    def __post_init__(self) -> None:
        expect(self.energies, Sequence, "energies", "a list of functions of a soft text")
        require(len(self.energies) > 0, "energies is empty, so nothing would move; give es.decoders.energies.fluency")
        for each in self.energies:
            f = each[1] if isinstance(each, tuple) and len(each) == 2 else each
            require(callable(f), f"energies holds {each!r:.80}; give functions of a soft text, or (weight, function)")
        for name, least in (("steps", 0), ("top_k", 1), ("chains", 1)):
            expect(getattr(self, name), int, name, "a whole number")
            require(getattr(self, name) >= least, f"{name}={getattr(self, name)}: at least {least}")
        require(self.length is None or self.length >= 1, f"length={self.length}: at least one soft token")
        require(self.step > 0 and self.tau > 0 and self.noise >= 0, "step and tau are above 0, noise is not below it")

    def __call__(self, scorer: Scorer, x: Prefix, stop: Stop, rng: Rng) -> Decoder[list[Weighted]]:
        check_parts(scorer, x, stop, rng)
        model = embedding_model(scorer, "Langevin", gradients=True)
        limit = longest(stop)
        length = self.length or min(15, limit or 15)
        require(limit is None or length <= limit, f"length={length} soft tokens, but the stop cuts texts at {limit}")
        found: list[tuple[Weighted, list[float]]] = []
        start = yield from self._greedy(scorer, x, length)
        for _ in range(self.chains):
            logits, told = yield from self._moved(model, x, start, rng.split())
            find = yield from self._written(scorer, x, stop, logits)
            found.append((find, told))
        found.sort(key=lambda pair: -pair[0].log_weight)
        finds = Annealed(find for find, _ in found)
        finds.energies = found[0][1]
        return finds

    def _greedy(self, scorer: Scorer, x: Prefix, length: int) -> Decoder[Tensor]:
        """The logits [T, V] along the greedy text."""
        rows: list[Tensor] = []
        for _ in range(length):
            [row] = yield Ask(scorer, [x])
            rows.append(torch.log_softmax(row.logits.float(), -1))
            x = x + int(rows[-1].argmax())
        return torch.stack(rows)

    def _moved(self, model: Transformer, x: Prefix, start: Tensor, rng: Rng) -> Decoder[tuple[Tensor, list[float]]]:
        y, told = start.clone(), list[float]()
        for _ in range(self.steps):
            y.requires_grad_()
            energy = yield from self._energy(model, x, y)
            told.append(float(energy.detach()))
            [gradient] = torch.autograd.grad(energy, y)
            y = y.detach() - self.step * gradient
            if self.noise:
                y = y + self.noise * rng.normal(*y.shape).to(y)
        last = yield from self._energy(model, x, y.requires_grad_())
        return y.detach(), [*told, float(last.detach())]

    def _energy(self, model: Transformer, x: Prefix, logits: Tensor) -> Decoder[Tensor]:
        """E of the soft text: the model reads mixtures of embeddings, so the rows are differentiable in them."""
        embeds = torch.softmax(logits / self.tau, -1).to(model.embedding) @ model.embedding
        nodes = [x]
        for each in embeds:
            nodes.append(Soft(each[None], nodes[-1]))
        rights = {f.right for _, f in self._terms() if hasattr(f, "right")}
        behind: dict[Tokens, list[Prefix]] = {}
        for right in sorted(rights):
            behind[right] = [nodes[-1]]
            for token in right[:-1]:
                behind[right].append(behind[right][-1] + token)
        asked = [*nodes[:-1], *(node for chain in behind.values() for node in chain)]
        rows = yield Ask(model, asked)
        lm, at, after = torch.log_softmax(rows.logits, -1), len(embeds), dict[Tokens, Tensor]()
        for right, chain in behind.items():
            after[right], at = lm[at : at + len(chain)], at + len(chain)
        text = SoftText(logits, lm[: len(embeds)], after)
        total: Tensor = torch.stack([weight * self._checked(f(text), f) for weight, f in self._terms()]).sum()
        return total

    def _terms(self) -> list[tuple[float, Energy]]:
        return [each if isinstance(each, tuple) else (1.0, each) for each in self.energies]

    def _checked(self, value: Tensor, f: Energy) -> Tensor:
        if not isinstance(value, Tensor) or value.dim() or not bool(torch.isfinite(value)):
            raise InvalidInput(
                f"the energy {getattr(f, '__name__', f)!r} gave {value!r:.80}; return one finite number, a tensor []"
            )
        return value

    def _written(self, scorer: Scorer, x: Prefix, stop: Stop, logits: Tensor) -> Decoder[Weighted]:
        """The soft text as tokens, each among the likeliest of its row, completed greedily."""
        total, at = 0.0, 0
        while stop(x) is None:
            [row] = yield Ask(scorer, [x])
            best = row.top(self.top_k if at < len(logits) else 1)
            if not best:
                raise Unsatisfiable("the constraint lets nothing follow what the soft text began; use es.decoders.Beam")
            token, logp = max(best, key=lambda pair: float(logits[at, pair[0]])) if at < len(logits) else best[0]
            x, total, at = x + token, total + logp, at + 1
        return Weighted(x, total)
