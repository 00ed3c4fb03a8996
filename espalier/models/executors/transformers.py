"""Any causal language model of transformers, through its attention and mask registries, with our keys and values.

Needs `transformers` (`pip install espalier[hf]`). The model's own code runs unchanged on a packed batch of one; only what
attention sees comes from us: the mask function of each kind of layer is asked about *positions* instead of places in the batch,
and keys and values are those of each row's own ancestors. So windows, chunks, soft caps and sinks are the model's own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from espalier.errors import InvalidInput, LoadError
from espalier.models.executors.eager import visible
from espalier.models.executors.sublayers import Sublayers
from espalier.models.executors.transformers_attention import NAME, Turn, current, register
from espalier.models.kv.layout import Pass
from espalier.models.transformer import Transformer
from espalier.prefix import Prefix

__all__ = ["HuggingFace", "from_transformers"]


@dataclass(frozen=True)
class Sizes:
    """What the pool of keys and values must know: `kv_heads` is 1 and `head_dim` the widest row of any layer."""

    vocab_size: int
    context: int
    head_dim: int
    kv_heads: int = 1


class HuggingFace:
    """The executor that runs a transformers causal language model. Raises LoadError for one that it cannot run.

    Guarantee: what `from_transformers` checked against the model's own attention, up to rounding.
    """

    stages = False

    def __init__(self, model: Any, kinds: Sequence[int] | None = None, widest: int = 0) -> None:
        self._model, self._base = model, model.base_model
        self._config = model.config.get_text_config()
        self._parent, self._name, self._stack = _stack(self._base, int(self._config.num_hidden_layers))
        self._kinds = list(range(len(self._stack))) if kinds is None else list(kinds)
        self._places = {kind: index for index, kind in enumerate(self._kinds)}
        self.layers = len(self._kinds)
        self.device: torch.device = model.device
        self.kv_dtype: torch.dtype = model.dtype
        self.kind = f"{type(model).__name__}, {sum(parameter.numel() for parameter in model.parameters())} parameters"
        self._lock = threading.Lock()  # of the model, whose layers and forward are exchanged for a while; parts share it
        self._norm: nn.Module | None = None
        self._output: Any = None  # the class of what the model's layers return to its head
        self.widest = widest or self._probe()

    @property
    def sizes(self) -> Sizes:
        limits = [getattr(self._config, name, None) for name in ("max_position_embeddings", "n_positions")]
        context = next((int(limit) for limit in limits if limit), 1 << 30)
        return Sizes(int(self._config.vocab_size), context, self.widest)

    @torch.no_grad()
    def run(
        self, rows: Pass, keys: Tensor, values: Tensor, taps: bool, start: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        if start is not None:
            raise InvalidInput(f"{type(self._model).__name__} runs from its tokens on; only the library's own executors go on")
        columns, distance = visible(rows)
        at = {
            name: torch.from_numpy(array.astype(np.int64)).to(self.device)
            for name, array in vars(rows).items()
            if isinstance(array, np.ndarray)
        }
        places = np.zeros(len(columns), np.int64)
        where = distance >= 0
        places[np.nonzero(where)[1]] = (rows.positions[:, None] - distance)[where]
        turn = Turn(
            positions=at["positions"],
            columns=torch.from_numpy(places).to(self.device),
            sees=torch.from_numpy(where).to(self.device),
            place=self._places,
            slots=at["slots"],
            seen=torch.from_numpy(columns).to(self.device),
            keys=keys,
            values=values,
        )
        tapped: list[Tensor] = []
        with self._lock, ExitStack() as during:
            during.enter_context(self._chosen())
            if taps:
                during.enter_context(self._tapping(tapped))
            hidden = self._pass(turn, at["tokens"])
        out = at["out"]
        return hidden[out].float(), torch.stack([x[out].float() for x in tapped], 1) if taps else None

    @torch.no_grad()
    def read(self, hidden: Tensor, norm: bool) -> Tensor:
        hidden = hidden.to(self.device, self.kv_dtype)
        if norm:
            if self._norm is None:
                raise InvalidInput(f"the final norm of {type(self._model).__name__} was not found, so layers cannot be read")
            hidden = self._norm(hidden)
        with self._lock:
            self._base.forward = lambda *_, **__: self._output(last_hidden_state=hidden[None])
            try:  # the model's own head, with whatever scales and caps it has
                tokens = torch.zeros(1, len(hidden), dtype=torch.long, device=self.device)
                logits: Tensor = self._model(input_ids=tokens, use_cache=False).logits[0]
            finally:
                del self._base.forward
        return logits.float()

    def partial(self, layers: Sequence[int]) -> HuggingFace:
        part = HuggingFace(self._model, [self._kinds[layer] for layer in layers], self.widest)
        part._norm, part._output, part._lock = self._norm, self._output, self._lock
        return part

    def within(self, layers: Sequence[Sublayers]) -> HuggingFace:
        if not all(each.whole for each in layers):
            raise InvalidInput(
                f"attention and MLP of {type(self._model).__name__} cannot be skipped apart: its own code runs its layers; "
                "skip whole layers, or load a family that espalier runs itself"
            )
        part = self.partial([each.layer for each in layers])
        part._places = {self._kinds[each.layer]: each.layer for each in layers}
        return part

    def _pass(self, turn: Turn, tokens: Tensor) -> Tensor:
        token = current.set(turn)
        try:
            ones = torch.ones(1, len(tokens), dtype=torch.long, device=self.device)  # without it, texts packed are looked for
            states = self._base(input_ids=tokens[None], attention_mask=ones, position_ids=turn.positions[None], use_cache=False)
        finally:
            current.reset(token)
        self._output = type(states)
        hidden: Tensor = states.last_hidden_state[0]
        return hidden

    def _probe(self) -> int:
        """The widest row of keys or values, from one pass over two tokens that also finds the final norm."""
        places = torch.arange(2, device=self.device)
        turn = Turn(places, places, places[:, None] >= places, {})
        after: list[tuple[nn.Module, Any]] = []
        hooks = [
            child.register_forward_hook(lambda module, _, output: after.append((module, output)))
            for child in self._parent.children()
            if child is not self._stack
        ]
        try:
            with torch.no_grad():
                hidden = self._pass(turn, places)
        except (TypeError, ValueError, RuntimeError) as error:
            raise LoadError(f"{type(self._model).__name__} does not run on packed rows: {error}") from error
        finally:
            for hook in hooks:
                hook.remove()
        if silent := sorted(set(range(len(self._stack))) - set(turn.shapes)):
            raise LoadError(
                f"layers {silent[:4]} … of {type(self._model).__name__} do not attend through transformers' registry "
                "(recurrent layers, or attention of their own), so their state cannot follow a tree of prefixes"
            )
        for module, output in after:
            if isinstance(output, Tensor) and output.numel() == hidden.numel() and torch.equal(output.view_as(hidden), hidden):
                self._norm = module
        return max(max(shape) for shape in turn.shapes.values())

    @contextmanager
    def _chosen(self) -> Iterator[None]:
        """While it lasts, the model has only the chosen layers."""
        if self._kinds == list(range(len(self._stack))):
            yield
            return
        types, count = getattr(self._config, "layer_types", None), self._config.num_hidden_layers
        setattr(self._parent, self._name, nn.ModuleList([self._stack[kind] for kind in self._kinds]))
        self._config.num_hidden_layers = len(self._kinds)
        if types:
            self._config.layer_types = [types[kind] for kind in self._kinds]
        try:
            yield
        finally:
            setattr(self._parent, self._name, self._stack)
            self._config.num_hidden_layers = count
            if types:
                self._config.layer_types = types

    @contextmanager
    def _tapping(self, tapped: list[Tensor]) -> Iterator[None]:
        """While it lasts, what goes into the first and comes out of every layer is appended to `tapped`."""

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            tapped.append((args[0] if args else kwargs["hidden_states"])[0])

        def after(_: nn.Module, __: Any, output: Any) -> None:
            tapped.append((output[0] if isinstance(output, tuple) else output)[0])

        chosen = [self._stack[kind] for kind in self._kinds]
        hooks = [chosen[0].register_forward_pre_hook(before, with_kwargs=True)]
        hooks += [layer.register_forward_hook(after) for layer in dict.fromkeys(chosen)]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def _stack(base: nn.Module, layers: int) -> tuple[nn.Module, str, nn.ModuleList]:
    """The module that holds the list of decoder layers, its name there, and the list."""
    for parent in base.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.ModuleList) and len(child) == layers:
                return parent, name, child
    raise LoadError(f"{type(base).__name__} has no list of its {layers} layers, so attention cannot be told apart")


def from_transformers(model: Any, budget: int = 4 << 30, chunk: int = 256) -> Transformer:
    """A transformers causal language model as a model of ours; from then on it must not be called directly.

    Its answers for a small tree are compared with its own eager attention first. Raises LoadError where they differ, or where
    the model cannot run this way (recurrent layers, attention that does not go through transformers' registry).
    """
    register()
    model.eval()
    ids = [(7 * i * i + 3 * i + 1) % int(model.config.get_text_config().vocab_size) for i in range(14)]
    texts = [ids[:9] + ids[11:13], ids[:9] + ids[9:11]]
    try:
        model.set_attn_implementation("eager")
        with torch.no_grad():
            expected = torch.stack([model(torch.tensor([text], device=model.device)).logits[0, -1].float() for text in texts])
        model.set_attn_implementation(NAME)
    except (ValueError, TypeError) as error:
        raise LoadError(f"{type(model).__name__} does not take another attention: {error}") from error
    executor = HuggingFace(model)
    ours = Transformer(executor.sizes, executor, budget, chunk)
    x = Prefix(ids[:6]) + ids[6:9]
    got = ours.forward([x + text[9:] for text in texts], frozenset()).logits
    worst, scale = float((got - expected).abs().max()), float(expected.abs().max())
    if not worst <= (1e-3 if model.dtype == torch.float32 else 0.1) * max(1.0, scale):
        raise LoadError(
            f"{type(model).__name__} answers otherwise on a tree of prefixes than on plain text (by {worst:.2g}): "
            "its attention depends on something that transformers' registry does not say"
        )
    ours.kv.clear()
    return ours
