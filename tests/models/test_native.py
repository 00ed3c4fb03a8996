"""The native kernels: the same bits in every pass, close to the reference, on every instruction set."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from espalier.errors import InvalidInput
from espalier.models import native
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.testing import check_kv

from .test_transformer import chain, ours, peer, tokens

if not native.available():
    pytest.skip("the native kernels are not built", allow_module_level=True)

KERNELS = native.kernels()


@pytest.fixture(params=KERNELS)
def instructions(request: pytest.FixtureRequest) -> Iterator[str]:
    native.choose(request.param)
    yield request.param
    native.choose(KERNELS[0])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int8"])
@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3"])
def test_a_row_has_the_same_bits_in_every_pass(family: str, dtype: str, instructions: str) -> None:
    check_kv(ours(peer(family), "native", dtype), Rng(3), tolerance=0.0)


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 7, 8, 9, 11, 12, 13, 24, 25, 40])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_every_height_of_tile_gives_the_same_bits(rows: int, dtype: str) -> None:
    model = ours(peer("mistral"), "native", dtype)
    x = Prefix(tokens(9))
    together = model.forward([x + i for i in range(rows)], frozenset()).logits
    alone = model.forward([x + (rows - 1)], frozenset()).logits
    assert torch.equal(together[-1], alone[0])


def quantised(weight: Tensor) -> Tensor:
    """The weights as int8 with a scale per output and 64 inputs holds them."""
    groups = torch.nn.functional.pad(weight, (0, -weight.shape[1] % 64)).unflatten(1, (-1, 64))
    scale = groups.abs().amax(-1, keepdim=True) / 127
    held = (groups / scale.clamp_min(1e-30)).round() * scale
    return held.flatten(1)[:, : weight.shape[1]]


@pytest.mark.parametrize("family", ["llama3", "gemma3"])
def test_int8_is_the_model_with_rounded_weights(family: str, instructions: str) -> None:
    model = peer(family)
    ids = chain(tokens(30), 20)
    rough = ours(model, "native", "int8").forward(ids, frozenset()).logits
    embed = model.get_input_embeddings().weight.data.clone()
    for name, weight in model.named_parameters():
        if weight.dim() == 2 and (name != "model.embed_tokens.weight" or family == "gemma3"):
            weight.data = quantised(weight.data)
    exact = ours(peer(family), "eager")  # embeddings are not rounded, the head that is tied to them is
    rounded = ours(model, "eager")
    held = rounded.executor._ends
    object.__setattr__(held, "embed", embed)
    expected = rounded.forward(ids, frozenset()).logits
    unrounded = exact.forward(ids, frozenset()).logits
    error, effect = float((rough - expected).abs().max()), float((unrounded - expected).abs().max())
    assert error < 0.05  # keys and values are bfloat16, inputs have 14 bits
    assert effect > 2 * error  # what rounding the weights does is more than that


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", ["llama3", "gemma3", "qwen2"])
def test_a_loaded_model_in_8_bits_is_the_one_loaded_in_8_bits(family: str, dtype: str) -> None:
    model = peer(family)
    for weight in model.parameters():
        weight.data = weight.data.bfloat16().float()
    loaded, ids = ours(model, "native", dtype), chain(tokens(30), 20)
    rounded, fresh = loaded.quantised(), ours(model, "native", "int8")
    assert torch.equal(rounded.forward(ids, frozenset()).logits, fresh.forward(ids, frozenset()).logits)
    with pytest.raises(InvalidInput, match="int8 already"):
        fresh.quantised()


def test_a_draft_in_8_bits_copies_what_the_model_has_read() -> None:
    model = ours(peer("llama"), "native")
    draft, x = model.quantised(), Prefix(tokens(40))
    y = x + 7
    model.forward([x], frozenset())
    assert draft.kv.missing(y) == 41
    copied = draft.forward([y], frozenset()).logits
    assert draft.kv.missing(y) == 0
    slots, theirs = (kv.plan([x]).spans[0].path[:-1].astype("int64") for kv in (draft.kv, model.kv))
    assert torch.equal(draft.kv.keys[:, slots], model.kv.keys[:, theirs].bfloat16())
    assert torch.equal(draft.kv.values[:, slots], model.kv.values[:, theirs].bfloat16())
    exact = model.forward([y], frozenset()).logits
    read_itself = model.quantised().forward([Prefix(tokens(40)) + 7], frozenset()).logits
    assert float((copied - exact).abs().mean()) <= 1.2 * float((read_itself - exact).abs().mean())


@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_changes_nothing(threads: int) -> None:
    model = ours(peer("qwen2"), "native")
    x = Prefix(tokens(30))
    before = model.forward([x], frozenset()).logits
    usual = native.threads()
    try:
        native.set_threads(threads)
        assert torch.equal(model.forward([x], frozenset()).logits, before)
    finally:
        native.set_threads(usual)


def test_bfloat16_is_close_to_the_reference_in_bfloat16() -> None:
    model = peer("llama")
    ids = chain(tokens(30), 20)
    exact = ours(model).forward(ids, frozenset()).logits
    reference = ours(model, "eager", torch.bfloat16).forward(ids, frozenset()).logits
    fast = ours(model, "native", torch.bfloat16).forward(ids, frozenset()).logits
    assert float((fast - exact).abs().mean()) <= 1.5 * float((reference - exact).abs().mean())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_answers_too() -> None:
    model = ours(peer("llama"), "native")
    x = Prefix(tokens(10))
    model.forward([x], frozenset())
    if (child := os.fork()) == 0:
        signal.alarm(60)  # a child that waits for threads it does not have would wait for ever
        model.forward([x + 1], frozenset())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
