"""The native kernels: the same bits in every pass, close to the reference, on every instruction set."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

import espalier as es
from espalier.drafting.model_free.token_recycling import top_tokens
from espalier.errors import InvalidInput
from espalier.models.executors import native
from espalier.models.kv import fourbit
from espalier.models.kv.layout import Pass
from espalier.models.transformer import Transformer
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.testing import check_kv

from .families import HEADS
from .test_transformer import chain, ours, peer, tokens

if not native.available():
    pytest.skip("the native kernels are not built", allow_module_level=True)

KERNELS = native.kernels()


@pytest.fixture(params=KERNELS)
def instructions(request: pytest.FixtureRequest) -> Iterator[str]:
    native.choose(request.param)
    yield request.param
    native.choose(KERNELS[0])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int8", "int4"])
@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3"])
def test_a_row_has_the_same_bits_in_every_pass(family: str, dtype: str, instructions: str) -> None:
    check_kv(ours(peer(family), "native", dtype), Rng(3), tolerance=0.0)


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 7, 8, 9, 11, 12, 13, 19, 24, 25, 40, 95])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "int4"])
def test_every_height_of_tile_gives_the_same_bits(rows: int, dtype: str) -> None:
    model = ours(peer("mistral"), "native", dtype)
    x = Prefix(tokens(9))
    together = model.forward([x + i for i in range(rows)], frozenset()).logits
    alone = model.forward([x + (rows - 1)], frozenset()).logits
    assert torch.equal(together[-1], alone[0])


@pytest.mark.parametrize("v", [7, 300, 8192 + 5, 49_152])
def test_the_greatest_of_a_row_and_their_sum(v: int, instructions: str) -> None:
    logits = torch.randn(3, v, generator=torch.Generator().manual_seed(v))
    logits[1] = torch.arange(v)  # every one is greater than all before it
    logits[2] = (logits[2] * 2).round()  # many are equal: the first ones count
    values, places = native.top(logits, 8)
    assert torch.equal(values, logits.topk(min(8, v)).values)
    assert torch.equal(logits.gather(1, places.long()), values)
    assert places[2].tolist() == logits[2].sort(descending=True, stable=True).indices[:8].tolist()
    logits[0, 1:] = -torch.inf
    assert top_tokens(logits, 4)[0] == [0]
    for row in (*logits, logits[2] * 20, logits[2] - 500):
        assert native.log_sum_exp(row) == pytest.approx(float(row.double().logsumexp(-1)), rel=1e-6, abs=2e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("heads", HEADS)
def test_trees_over_long_texts_have_the_same_bits_and_are_close_to_the_reference(
    heads: str, dtype: torch.dtype, instructions: str
) -> None:
    model, text = peer(heads), Prefix(tokens(70))
    tree = [text, text + 1, text + 1 + 2, text + 1 + 3, text + 4, *chain(text.ids() + tokens(30, seed=2), 71), text + 1 + 2 + 9]
    fast = ours(model, "native", dtype)
    together = fast.forward(tree, frozenset()).logits
    for i in (0, 3, 17, len(tree) - 1):
        assert torch.equal(ours(model, "native", dtype).forward([tree[i]], frozenset()).logits[0], together[i])
        assert torch.equal(fast.forward([tree[i]], frozenset()).logits[0], together[i])
    exact = ours(model).forward(tree, frozenset()).logits
    reference = ours(model, "eager", dtype).forward(tree, frozenset()).logits
    assert float((together - exact).abs().mean()) <= 1.5 * float((reference - exact).abs().mean()) + 1e-4


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
    with pytest.raises(InvalidInput, match="int8 already"):
        fresh.quantised()
    fresh = with_exact_kv(fresh) if dtype == "float32" else fresh
    assert torch.equal(rounded.forward(ids, frozenset()).logits, fresh.forward(ids, frozenset()).logits)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_draft_in_8_bits_reads_what_the_model_has_read_where_it_lies(dtype: str) -> None:
    """No slot but its own token's; then the row is that of a draft whose 40 slots hold copies of the model's."""
    model = ours(peer("llama"), "native", dtype)
    draft, x = model.quantised(), Prefix(tokens(40))
    y = x + 7
    model.forward([x], frozenset())
    before = model.kv.keys[:, : model.kv.used].clone()
    found = draft.forward([y], frozenset()).logits
    assert draft.kv.used == 1
    assert model.kv.used == 41
    assert torch.equal(model.kv.keys[:, : before.shape[1]], before)
    alone = Transformer(model.config, draft.executor)
    own = alone.forward([Prefix(tokens(40)) + 7], frozenset()).logits
    copy = Prefix(tokens(40))
    alone.forward([copy], frozenset())
    slots, theirs = (kv.plan([z + 9]).spans[0].path[:-1].astype("int64") for kv, z in ((alone.kv, copy), (model.kv, x)))
    alone.kv.keys[:, slots], alone.kv.values[:, slots] = model.kv.keys[:, theirs], model.kv.values[:, theirs]
    assert torch.equal(alone.forward([copy + 7], frozenset()).logits, found)
    exact = model.forward([y], frozenset()).logits
    assert float((found - exact).abs().mean()) <= 1.2 * float((own - exact).abs().mean())


def with_exact_kv(model: Transformer) -> Transformer:
    """The same weights with keys and values in float32."""
    engine = object.__new__(native.Engine)
    engine.__dict__.update(model.executor.__dict__)
    engine.kv_dtype = torch.float32
    engine._build()
    return Transformer(model.config, engine)


@pytest.mark.parametrize("bits", [16, 4])
def test_a_draft_goes_on_from_the_model_in_another_thread_while_slots_move(bits: int) -> None:
    """The model grows and shrinks its pool in this thread; what a draft in another reads, or copies, is that of its prefix."""
    model = ours(peer("llama"), "native")
    kept = [Prefix(tokens(30, seed)) for seed in range(12)]
    model.forward(kept, frozenset())
    alone = Transformer(model.config, model.quantised(bits).executor)
    expected = [alone.forward([Prefix(x.ids()) + 7], frozenset()).logits[0] for x in kept]
    drafts = [model.quantised(bits) for _ in kept]
    over = threading.Event()

    def move() -> None:
        while not over.is_set():
            model.forward([Prefix(tokens(400, 99))], frozenset())  # forgotten at once
            assert model.kv.used >= 0

    mover = threading.Thread(target=move)
    mover.start()
    try:
        found = [draft.forward([x + 7], frozenset()).logits[0] for draft, x in zip(drafts, kept, strict=True)]
    finally:
        over.set()
        mover.join()
    again = [model.quantised(bits).forward([x + 7], frozenset()).logits[0] for x in kept]
    for mine, calm, own in zip(found, again, expected, strict=True):
        assert torch.equal(mine, calm)
        assert not torch.equal(mine, own)  # it did go on from the model: exact keys and values, not those of rounded weights


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3"])
def test_a_row_over_keys_of_4_bits_has_the_same_bits_in_every_pass(family: str, instructions: str) -> None:
    check_kv(ours(peer(family), "native").quantised(4), Rng(3), tolerance=0.0)


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_keys_and_values_of_4_bits_are_the_packed_ones(family: str, instructions: str) -> None:
    """What is written is `fourbit.pack` of the exact keys and values; what is read is `fourbit.unpack` of that."""
    packed = ours(peer(family), "native").quantised(4)
    exact, x = with_exact_kv(packed), Prefix(tokens(40))
    y = x + 7
    both = [model.forward([x, y], frozenset()).logits[1] for model in (packed, exact)]
    slots, theirs = (kv.plan([y]).spans[0].path.astype("int64") for kv in (packed.kv, exact.kv))
    for mine, full in ((packed.kv.keys, exact.kv.keys), (packed.kv.values, exact.kv.values)):
        assert torch.equal(mine[0, slots], fourbit.pack(full[0, theirs]))  # before any attention they are those of the model
        full[:, theirs] = fourbit.unpack(mine[:, slots])
    read = exact.forward([y], frozenset()).logits[0]  # only the last token's own keys and values are exact here
    assert packed.kv.bytes_per_token == 0.1875 * exact.kv.bytes_per_token
    assert float((read - both[0]).abs().mean()) < 0.5 * float((both[1] - both[0]).abs().mean())


def test_4_bits_are_off_by_half_a_step_and_its_rounding() -> None:
    numbers = torch.randn(200, 64, generator=torch.Generator().manual_seed(0)) * 10
    groups = numbers.unflatten(-1, (-1, 16))
    low, high = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
    bound = ((high - low) / 30 + (high - low).abs() / 256 + low.abs() / 256).expand_as(groups).flatten(1)
    packed = fourbit.pack(numbers)
    assert packed.shape == (200, fourbit.width(64)) == (200, 48)
    assert bool(((fourbit.unpack(packed) - numbers).abs() <= bound).all())
    assert torch.equal(fourbit.unpack(fourbit.pack(torch.full((16,), 3.0))), torch.full((16,), 3.0))


def test_a_draft_in_4_bits_packs_what_the_model_has_read() -> None:
    model = ours(peer("llama"), "native")
    draft, x = model.quantised(4), Prefix(tokens(40))
    model.forward([x], frozenset())
    draft.forward([x + 7], frozenset())
    slots, theirs = (kv.plan([x]).spans[0].path[:-1].astype("int64") for kv in (draft.kv, model.kv))
    assert torch.equal(draft.kv.keys[:, slots], fourbit.pack(model.kv.keys[:, theirs]))
    assert torch.equal(draft.kv.values[:, slots], fourbit.pack(model.kv.values[:, theirs]))
    with pytest.raises(InvalidInput, match="16 bits or in 4"):
        model.quantised(8)


def test_weights_are_rounded_once() -> None:
    model = ours(peer("llama3"), "native")
    first, second = model.quantised().executor, model.quantised(4).executor
    assert isinstance(first, native.Engine)
    assert isinstance(second, native.Engine)
    assert first._head is second._head
    assert first._layers is second._layers
    part = model.partial([0]).quantised().executor
    assert isinstance(part, native.Engine)
    assert len(part._layers) == 1


def test_the_prompt_is_read_by_the_target_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, rows = ours(peer("llama"), "native"), Prefix(tokens(60)), list[int]()
    drafter = es.drafting.quantised(model)
    draft, run = drafter.scorer, Transformer._run

    def counted(self: Transformer, some: Pass, taps: bool) -> tuple[Tensor, Tensor | None]:
        if self is draft:
            rows.append(len(some.tokens))
        return run(self, some, taps)

    monkeypatch.setattr(Transformer, "_run", counted)
    es.run(es.speculate(model, x, es.stop.budget(12), drafter, es.verification.GreedyMatch(), Rng(0)))
    assert rows
    assert max(rows) < 10


def test_a_draft_in_another_thread_waits_while_slots_move() -> None:
    model, x = ours(peer("llama"), "native"), Prefix(tokens(40))
    draft = model.quantised()
    model.forward([x], frozenset())
    alone = draft.forward([x], frozenset()).logits
    thread = threading.Thread(target=lambda: draft.forward([x + 7], frozenset()))
    with model.kv._moving:
        thread.start()
        thread.join(0.05)
        assert thread.is_alive()
    thread.join()
    assert torch.equal(draft.forward([x], frozenset()).logits, alone)


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


def test_an_instruction_set_can_be_forced() -> None:
    script = "from espalier.models.executors import native; print(native.chosen())"
    for name in KERNELS:
        done = subprocess.run([sys.executable, "-c", script], env={**os.environ, "ESPALIER_KERNELS": name}, capture_output=True)
        assert done.stdout.decode().strip() == name
    with pytest.raises(InvalidInput, match="'sse9' cannot be used here"):
        native.choose("sse9")
    assert native.chosen() in KERNELS


def test_a_forced_instruction_set_that_is_not_there_is_said_when_a_model_is_loaded() -> None:
    script = "from espalier.models.executors import native; native.runs(None)"
    done = subprocess.run([sys.executable, "-c", script], env={**os.environ, "ESPALIER_KERNELS": "sse9"}, capture_output=True)
    assert "ESPALIER_KERNELS=sse9" in done.stderr.decode()
    assert done.returncode == 1


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_a_long_past_cut_among_threads_gives_the_bits_of_one_that_is_not(family: str, dtype: str, instructions: str) -> None:
    """1,300 positions are three stretches: of a row alone each is a task, beside another text and on any number of threads;
    of forty rows they are not."""
    model, x = ours(peer(family), "native", dtype), Prefix(tokens(1300))
    model.kv.context = None
    before = native.threads()
    try:
        native.set_threads(3)
        cut = model.forward([x + 5], frozenset()).logits[0]
        together = model.forward([x + i for i in range(40)], frozenset()).logits[5]
        beside = model.forward([Prefix(tokens(700)) + 1, x + 5], frozenset()).logits[1]
        native.set_threads(1)
        whole = model.forward([x + 5], frozenset()).logits[0]
    finally:
        native.set_threads(before)
    assert torch.equal(cut, together)
    assert torch.equal(cut, beside)
    assert torch.equal(cut, whole)


def test_a_long_past_is_read_as_the_reference_reads_it(instructions: str) -> None:
    ids = chain(tokens(1300), 3)
    for family in ("llama", "gemma3"):
        models = [ours(peer(family), kind) for kind in ("native", "eager")]
        for model in models:
            model.kv.context = None
        mine, plain = (model.forward(ids, frozenset()).logits for model in models)
        assert float((mine - plain).abs().max()) < 1e-3


def in_four_bits(weight: Tensor) -> Tensor:
    """Weights that lie on sixteen steps of their group of 32, as those of a checkpoint of 4 bits do."""
    groups = torch.nn.functional.pad(weight, (0, -weight.shape[1] % 32)).unflatten(1, (-1, 32))
    scale = (groups.abs().amax(-1, keepdim=True) / 7).half().float()
    held = (groups / scale.clamp_min(1e-30)).round().clamp(-8, 7) * scale
    return held.flatten(1)[:, : weight.shape[1]]


@pytest.mark.parametrize("family", ["llama3", "gemma3"])
def test_int4_keeps_weights_that_are_in_4_bits_already(family: str, instructions: str) -> None:
    model = peer(family)
    for name, weight in model.named_parameters():
        if weight.dim() == 2 and name != "model.embed_tokens.weight":
            weight.data = in_four_bits(weight.data)
    if family == "gemma3":  # the head is tied to the embeddings
        model.get_input_embeddings().weight.data = in_four_bits(model.get_input_embeddings().weight.data)
    ids = chain(tokens(30), 20)
    exact = ours(model, "eager").forward(ids, frozenset()).logits
    packed = with_exact_kv(ours(model, "native", "int4")).forward(ids, frozenset()).logits
    assert float((packed - exact).abs().max()) < 0.02  # inputs have 14 bits, leasts are float16
