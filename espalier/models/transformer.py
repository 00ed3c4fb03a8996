"""Decoder-only transformers: the model that answers for prefixes, with the executor that suits the device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from threading import RLock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from espalier.capabilities import Capabilities, Extra
from espalier.errors import InvalidInput, require
from espalier.models.executors import native
from espalier.models.executors.choose_executor import executor_of
from espalier.models.executors.eager import Eager, Executor
from espalier.models.executors.soft_rows import Given, joined, to_given
from espalier.models.executors.sublayers import Sublayers, chosen
from espalier.models.executors.torch_threads import one_thread
from espalier.models.exits import Exit, staged
from espalier.models.families import Config, Sizes
from espalier.models.kv import fourbit
from espalier.models.kv.copied_slots import borrow
from espalier.models.kv.draft_scratch import Tail
from espalier.models.kv.layout import Pass, Plan
from espalier.models.kv.planning import row_costs, slots_of
from espalier.models.kv.pool import FULL
from espalier.models.kv.store import KV
from espalier.prefix import Prefix
from espalier.rows import Rows
from espalier.scorer import Model

__all__ = ["Eager", "Executor", "Transformer"]

EXTRAS: frozenset[str] = frozenset({Extra.HIDDEN, Extra.LAYERS})
ATTENTIVE = EXTRAS | {Extra.ATTENTION}


class Transformer(Model):
    """A model that answers with the law of the next token after each prefix, [N, V] float32 logits, one packed pass.

    Prefixes may be any trees of any requests; what they share is computed once and kept for as long as the prefix lives (`kv`).
    `want`: "hidden" gives extras["hidden"] [N, D], the last residual stream after the final norm; "layers" gives
    extras["layers"] [N, L + 1, D], the residual stream before the first and after every layer, not normed (`read` turns
    rows of it into logits). Long prompts are computed in chunks of `chunk` rows; `prefill` does so over several calls.

    Guarantee of the native kernels (any format, on a CPU): a row's result is bitwise the same whatever else is in the pass,
    however its prefix was cut into nodes or chunks, and whether its past was cached, shared or computed again. The
    eager reference guarantees the same up to rounding.
    """

    def __init__(
        self, config: Sizes, executor: Executor, budget: int = 4 << 30, chunk: int = 256, kv: KV | None = None
    ) -> None:
        self.config = config
        self.vocab_size, self.context = config.vocab_size, config.context
        self.executor = executor
        self.invariant = isinstance(executor, native.Engine)
        self._budget, self._chunk = budget, chunk
        width = config.kv_heads * config.head_dim
        width = fourbit.width(width) if executor.kv_dtype == torch.uint8 else width
        self.kv = kv or KV(executor.layers, width, executor.kv_dtype, executor.device, budget, config.context)
        self._lender: Transformer | None = None
        self._whole: Transformer | None = None  # of a part that reads this model's keys and values where they lie
        self._stages: dict[tuple[int, int], Executor] = {}

    @property
    def device(self) -> torch.device:
        """Where passes run."""
        return self.executor.device

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            extras=ATTENTIVE if isinstance(self.executor, Eager) else EXTRAS,
            hidden=getattr(self.config, "hidden", None),
            layers=self.executor.layers,
            partial=True,
            lens=True,
            rounded=isinstance(self.executor, native.Engine),
            invariant=self.invariant,
            embeddings=isinstance(self.executor, Eager | native.Engine),
            gradients=isinstance(self.executor, Eager),
            chunked=True,
            shared=True,
            sublayers=self.executor.stages,
            exits=self.executor.stages and self._whole is None,
        )

    @property
    def fingerprint(self) -> str:
        """What decides how long a pass takes: the sizes, how many layers run, on which executor, in which kind of numbers."""
        run = self.executor
        return f"{type(run).__name__} {getattr(run, 'kind', '')}, {run.layers} layers, {run.kv_dtype} kept, {self.config}"

    @classmethod
    def from_weights(
        cls,
        config: Config,
        tensors: Mapping[str, Tensor],
        dtype: torch.dtype | str = torch.float32,
        device: torch.device | str = "cpu",
        *,
        eager: bool = False,
        graphs: bool = False,
        budget: int = 4 << 30,
        chunk: int = 256,
    ) -> Transformer:
        """The model with these weights, named as Hugging Face names them. `eager` asks for the plain torch reference,
        `graphs` for captured passes on CUDA.

        `dtype` is float32, bfloat16, float16, int8 (weights in 8 bits with a scale per 64 inputs) or int4 (a scale and a least
        per 32 inputs; those of a checkpoint in groups of 32 are kept); the last two on the native kernels only.
        """
        config, executor = executor_of(config, tensors, dtype, device, eager=eager, graphs=graphs)
        return cls(config, executor, budget, chunk)

    def forward(self, prefixes: Sequence[Prefix], want: frozenset[str] = frozenset()) -> Rows:
        return self.forward_beside(prefixes, want, ())

    def forward_beside(self, prefixes: Sequence[Prefix], want: frozenset[str], ahead: Sequence[tuple[Prefix, int]]) -> Rows:
        with self.passing, torch.no_grad():  # two passes at once would write into slots that the other one moves
            return self.answers(prefixes, want, ahead)

    @property
    def passing(self) -> RLock:
        return super().passing if self._whole is None else self._whole.passing

    def _borrow(self, prefixes: Sequence[Prefix]) -> None:
        if self._lender is not None:
            with one_thread():
                for x in prefixes:
                    borrow(self.kv, self._lender.kv, x)

    def costs(self, prefixes: Sequence[Prefix]) -> list[int]:
        with self.passing:
            self._borrow(prefixes)
            return row_costs(self.kv, prefixes)

    @property
    def room(self) -> int:
        return self.kv.limit

    def answers(
        self, prefixes: Sequence[Prefix], want: frozenset[str], ahead: Sequence[tuple[Prefix, int]], depth: int = FULL
    ) -> Rows:
        """The rows after `depth` layers; for whoever holds `passing`."""
        if unknown := want - self.extras:
            raise InvalidInput(f"this model cannot give {sorted(unknown)}; it can give {sorted(self.extras)}")
        self._borrow([*prefixes, *(x for x, _ in ahead)])
        plan = self.kv.plan(prefixes, ahead=ahead, depth=depth)
        try:
            given = Given.of(plan, prefixes, Extra.ATTENTION in want, self.capabilities)
            require(given is None or depth == FULL, "an early exit reads tokens alone and tells nothing of attention")
            with torch.set_grad_enabled(given is not None and given.gradients):
                rows = self._answered(plan, prefixes, want, given)
        except BaseException:
            self.kv.abandon(plan)
            raise
        self.kv.commit(plan)
        return rows

    def _answered(self, plan: Plan, prefixes: Sequence[Prefix], want: frozenset[str], given: Given | None) -> Rows:
        taps, noted, exits = "layers" in want, list[Tensor]() if Extra.ATTENTION in want else None, plan.depth < FULL
        chunk = plan.rows if given is not None and given.gradients else self._chunk  # gradients do not cross passes
        more = () if given is None else (given, noted)
        parts = [self._exited(p, plan.depth) if exits else self._run(p, taps, *more) for p in plan.passes(chunk)]
        tapped = torch.cat([part for _, part in parts if part is not None]) if taps or exits else None
        plan.states = tapped if exits else None  # of all rows: what the model goes on from
        if not plan.asked:
            return Rows(torch.empty(0, self.vocab_size), [])
        hidden = parts[0][0] if len(parts) == 1 else torch.cat([part for part, _ in parts])
        rank = {row: row if exits else i for i, row in enumerate(sorted(set(plan.asked)))}
        order = [rank[row] for row in plan.asked]
        if order != list(range(len(hidden))):
            hidden, tapped = hidden[order], None if tapped is None else tapped[order]
        extras = ({"hidden": hidden} if "hidden" in want else {}) | ({"layers": tapped} if taps and tapped is not None else {})
        if noted:
            extras["attention"] = to_given(joined(noted)[order], prefixes)
        return Rows(self.executor.read(hidden, norm=False), prefixes, extras)

    def _run(
        self, rows: Pass, taps: bool, given: Given | None = None, noted: list[Tensor] | None = None
    ) -> tuple[Tensor, Tensor | None]:
        if given is not None:
            rows = given.tokens(rows)
        self._known(rows)
        if given is None:
            if rows.states:
                return staged(self, rows, self.executor.layers, False, taps)
            return self.executor.run(rows, self.kv.keys, self.kv.values, taps)
        soft = given.rows(rows, noted is not None)
        run: Any = self.executor.run  # of an executor that reads embeddings
        found: tuple[Tensor, Tensor | None] = run(rows, self.kv.keys, self.kv.values, taps, soft)
        if noted is not None and soft.told is not None:
            noted.append(soft.told)
        return found

    def _exited(self, rows: Pass, depth: int) -> tuple[Tensor, Tensor | None]:
        self._known(rows)
        return staged(self, rows, depth, True, True)

    def _known(self, rows: Pass) -> None:
        if (highest := int(rows.tokens.view(np.uint32).max())) >= self.config.vocab_size:
            raise InvalidInput(
                f"token {np.uint32(highest).astype(np.int32)} is not in the vocabulary of {self.config.vocab_size} tokens"
            )

    def between(self, first: int, last: int) -> Executor:
        """The executor of the layers from `first` to `last`, made once."""
        if (first, last) not in self._stages:
            self._stages[first, last] = self.executor.partial(range(first, last))
        return self._stages[first, last]

    def prefill(self, x: Prefix, rows: int) -> int:
        """Computes at most `rows` more tokens of `x`, a long prompt in pieces; returns how many are missing then."""
        self.forward_beside([], frozenset(), [(x, rows)])
        return self.kv.missing(x)

    def embed(self, tokens: Sequence[int]) -> Tensor:
        """The input embeddings [n, D] of some tokens, as `es.Soft` and `Ask(…, embeds=…)` take them; float32, a copy."""
        require(self.capabilities.embeddings, f"{type(self.executor).__name__} does not show its input embeddings")
        return self.embedding[torch.as_tensor(list(tokens), dtype=torch.long)].float()

    @property
    def embedding(self) -> Tensor:
        """The input embeddings of all tokens [V, D]; not to be written to."""
        weights: Tensor = self.executor.embedding  # type: ignore[attr-defined]
        return weights

    def cached(self, x: Prefix) -> tuple[Tensor, Tensor]:
        """The keys and values [L, T, width] of a prefix that was asked about, copied: what `es.Soft(cache=…)` takes."""
        slots = torch.from_numpy(slots_of(self.kv, x)).long()
        return self.kv.keys[:, slots].float(), self.kv.values[:, slots].float()

    def read(self, hidden: Tensor, norm: bool = True) -> Tensor:
        """Float32 logits [n, V] of rows [n, D] of the residual stream, say extras["layers"][:, l] (the logit lens), through
        the final norm unless `norm` is False."""
        with torch.set_grad_enabled(hidden.requires_grad):
            return self.executor.read(hidden, norm=norm)

    def partial(self, layers: Sequence[int]) -> Transformer:
        """The model that runs only these layers, in this order, with the same weights and a KV of its own."""
        if not layers or not all(0 <= layer < self.executor.layers for layer in layers):
            raise InvalidInput(f"layers {list(layers)} must be a non-empty choice from 0 … {self.executor.layers - 1}")
        return self.on(self.executor.partial(layers))

    def sharing(self, layers: Iterable[int | Sublayers]) -> Transformer:
        """The part of these layers, or halves of layers, that reads this model's keys and values where this model has read.

        They stay where they lie: what a row is asked for, and what was drafted below it, has slots of the part's own in the
        same pool until this model has read it (a scratch tail, `kv.used`), and there is no other store.
        """
        whole = self if self._whole is None else self._whole
        executor = whole.executor.within(chosen(whole.executor.layers, layers))
        part = Transformer(self.config, executor, self._budget, self._chunk, Tail(whole.kv))
        part.vocab, part._whole = self.vocab, whole
        return part

    def exit(self, layer: int) -> Exit:
        """The model's first layers as a model; the whole goes on from what they have computed (`models.exits.Exit`)."""
        if not self.capabilities.exits:
            raise InvalidInput(
                "this model cannot go on from the middle of its layers (it is a part, or another library's code runs it); "
                f"write partial(range({layer})), a part with keys and values of its own"
            )
        require(1 <= layer < self.executor.layers, f"layer={layer}: an exit is after 1 … {self.executor.layers - 1} layers")
        return Exit(self, layer)

    def quantised(self, kv_bits: int = 16) -> Transformer:
        """The model with its weights rounded to int8, its keys and values as they are (`kv_bits=16`) or in 4 bits.

        What this one has read it does not read again: it reads those keys and values where they lie, as `sharing` does, or
        copies them in 4 bits. Weights are rounded at the first call and kept. Raises InvalidInput unless it runs on the native
        kernels, and if nothing would become coarser.
        """
        if not isinstance(self.executor, native.Engine):
            raise InvalidInput("8 bits run on the native CPU kernels only; load the model with device='cpu' and kernels built")
        executor = self.executor.quantised(kv_bits)
        if executor.kv_dtype == self.executor.kv_dtype and self._whole is None:
            rough = Transformer(self.config, executor, self._budget, self._chunk, Tail(self.kv))
            rough.vocab, rough._whole = self.vocab, self
        else:
            rough = self.on(executor)
            rough._lender = self
        return rough

    @property
    def borrows(self) -> bool:
        """Whether this is a copy of a model, rounded or in part, that goes on from the keys and values of that one."""
        return self._lender is not None or self._whole is not None

    def on(self, executor: Executor) -> Transformer:
        """The same model on another executor, with keys and values of its own."""
        model = Transformer(self.config, executor, self._budget, self._chunk)
        model.vocab = self.vocab
        return model
