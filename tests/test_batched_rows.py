"""Rows at once: what `Rows` gives is what each `Row` gives, flip for flip, and the kernel's law is the readable one."""

from __future__ import annotations

import itertools
import math

import numpy
import pytest
import torch

import espalier as es
from espalier.errors import BrokenRow, DeadEnd, InvalidInput, Unsatisfiable
from espalier.models.executors import batched_rows, native
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.shaping import not_before, penalty, sequence_bias
from espalier.text.vocab import Vocab
from espalier.token_constraint import StateLimit, token_constraint

V = 4099  # longer than what goes the readable way, and no whole number of vectors
SHAPERS = {
    "plain": (),
    "warm": (es.temperature(0.7),),
    "k": (es.top_k(40),),
    "many": (es.temperature(1.3), es.top_k(700)),
    "p": (es.temperature(0.8), es.top_p(0.9)),
    "small p": (es.top_p(0.05),),
    "wide p": (es.temperature(1.5), es.top_p(0.999)),
    "min": (es.temperature(0.9), es.min_p(0.02)),
    "all": (es.temperature(0.9), es.top_k(100), es.top_p(0.8), es.min_p(0.01)),
    "p then k": (es.top_p(0.9), es.top_k(20)),
    "cold": (es.temperature(0),),
    "cool k": (es.temperature(0.02), es.top_k(40)),  # most of the kept weigh nothing in a float
}
ROUNDED = ("p", "small p", "wide p", "all", "p then k")  # where a sum decides what is kept


class Some:
    """A limit that allows some tokens; with or without a mask."""

    def __init__(self, allowed: torch.Tensor, masked: bool = True) -> None:
        self.of, self.masked = allowed, masked

    def allowed(self, token: int) -> bool:
        return bool(self.of[token])

    def mask(self) -> torch.Tensor | None:
        return self.of if self.masked else None


@pytest.fixture(params=native.kernels() or [""])
def instructions(request):
    if not request.param:
        pytest.skip("the native kernels are not built")
    before = native.chosen()
    native.choose(request.param)
    yield request.param
    native.choose(before)


def random_rows(count: int, seed: int, after=(), density: float | None = None, masked: bool = True) -> Rows:
    bits = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, V, generator=bits) * torch.linspace(0.5, 6, count)[:, None]
    logits[:, ::7] = (logits[:, ::7] * 2).round() / 2  # many equal ones
    logits[0, 100:] = -torch.inf
    limits = None
    if density is not None:
        limits = [Some(torch.rand(V, generator=bits) < density, masked) if i % 3 else None for i in range(count)]
    return Rows(logits, [Prefix([i]) for i in range(count)], limits=limits, after=after)


@pytest.mark.parametrize("name", SHAPERS)
@pytest.mark.parametrize("density", [None, 0.9, 0.01])
def test_rows_draw_what_each_row_draws(name, density, instructions):
    for seed in range(2):
        rows = random_rows(32, seed, SHAPERS[name], density)
        together, alone = [[Rng(1000 * seed + i) for i in range(32)] for _ in range(2)]
        assert rows.draw(together) == [rows[i].draw(alone[i]) for i in range(32)]
        assert [rng.flip(0.5) for rng in together] == [rng.flip(0.5) for rng in alone]  # as many flips were taken
        assert rows.argmax() == [row.argmax() for row in rows]


class Replayed(Rng):
    """The same flips, but of another class: drawn the readable way."""


@pytest.mark.parametrize("name", SHAPERS)
@pytest.mark.parametrize("density", [None, 0.2])
def test_the_kernel_draws_as_the_readable_way(name, density, instructions):
    """Of thousands of rows the same tokens, but for flips that fall within rounding of a border between two of them."""
    different = total = 0
    for seed in range(2):
        rows = random_rows(24, seed, SHAPERS[name], density)
        for i, token in enumerate(rows.draw([Rng(31 * seed + i) for i in range(24)])):
            total += 1
            if token != rows[i].draw(Replayed(31 * seed + i)):
                different += 1
                assert rows[i].logp(token) > -math.inf
    assert different <= 0.01 * total


@pytest.mark.parametrize("after", [SHAPERS[name] for name in ("warm", "k", "p", "min", "all")], ids=str)
def test_the_kernel_s_law_is_the_row_s(after, instructions):
    """Even flips through the whole of [0, 1): how often a token is drawn is its probability, to one flip."""
    if batched_rows._kernels is None:
        pytest.skip("the native kernels are not built")
    rows, flips = random_rows(3, 5, after), 2000
    steps = batched_rows.steps_of(rows.logits, after)
    for row in rows:
        table = row.logits[None].expand(flips, -1).contiguous().numpy()
        points = [(i + 0.5) / flips for i in range(flips)]
        drawn = batched_rows._kernels.draw(list(table), [None] * flips, [], [], [steps] * flips, points)
        share = torch.bincount(torch.tensor(drawn), minlength=V) / flips
        assert float((share - row.probs()).abs().max()) < 2 / flips


def test_a_limit_without_a_mask_is_checked_to_the_end():
    only = torch.zeros(V, dtype=torch.bool)
    only[77] = True
    rows = Rows(torch.zeros(2, V), [Prefix([0]), Prefix([1])], limits=[Some(only, False), Some(only)], after=(es.top_p(0.9),))
    assert rows.draw([Rng(0), Rng(1)]) == [77, 77]
    assert rows.argmax() == [77, 77]
    assert rows.top(3) == [row.top(3) for row in rows]


def test_what_cannot_be_drawn_is_said():
    none = Some(torch.zeros(V, dtype=torch.bool))
    rows = Rows(torch.zeros(2, V), [Prefix([0]), Prefix([1])], limits=[None, none])
    with pytest.raises(DeadEnd):
        rows.draw([Rng(0), Rng(1)])
    with pytest.raises(InvalidInput, match="3 sources of flips for 2 rows"):
        rows.draw([Rng(0)] * 3)
    for value in (math.nan, math.inf, -math.inf):
        logits = torch.full((1, V), -math.inf if value < 0 else 0.0)
        logits[0, 9] = value
        for limits in (None, [Some(torch.arange(V) < 5)]):  # broken is broken, masked or not
            broken = Rows(logits, [Prefix([0])], limits=limits)
            with pytest.raises(Unsatisfiable if value < 0 else BrokenRow):
                broken.draw([Rng(0)])
            with pytest.raises(Unsatisfiable if value < 0 else BrokenRow):
                broken.argmax()


def test_short_rows_draw_as_each_row_does():
    logits = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))
    for after in itertools.chain(SHAPERS.values(), [(es.temperature(0.5), es.typical(0.9))] if hasattr(es, "typical") else []):
        rows = Rows(logits, [Prefix([i]) for i in range(40)], after=tuple(after))
        assert rows.draw([Rng(i) for i in range(40)]) == [row.draw(Rng(i)) for i, row in enumerate(rows)]


@pytest.mark.parametrize(
    "after", [(es.top_p(0.5),), (es.top_p(0.97),), (es.top_k(3000),), (es.top_k(2), es.top_p(0.3))], ids=str
)
def test_truncation_keeps_the_readable_way_s_tokens(after, instructions):
    """Flat rows, rows of one number only and of two, far below a mask or not: the same tokens are left, by many flips."""
    bits = torch.Generator().manual_seed(3)
    flat = torch.randn(V, generator=bits)
    two = (torch.rand(V, generator=bits) < 0.5).float()
    logits = torch.stack([flat, torch.zeros(V), two, two * 30])
    limits = [None, Some(torch.arange(V) >= 2048), Some(torch.rand(V, generator=bits) < 0.3), None]
    rows = Rows(logits, [Prefix([i]) for i in range(4)], limits=limits, after=after)
    for i, row in enumerate(rows):
        drawn = {rows[i].draw(Rng(seed)) for seed in range(200)}
        kept = set((row.dense() > -math.inf).nonzero().flatten().tolist())
        assert drawn <= kept
        assert len(drawn) > min(len(kept), 120) / 2


def test_a_guide_s_bitmap_is_its_mask(instructions):
    vocab = Vocab([bytes([97 + i % 26, 97 + i // 26 % 26, 97 + i // 676]) for i in range(V - 1)] + [None], end=[V - 1])
    law = token_constraint(es.regex("[a-f]{3,9}"), vocab)
    mask, packed = law.mask(law.start()), law.bits(law.start())
    assert torch.equal(mask, torch.from_numpy(numpy.unpackbits(packed, bitorder="little")[:V]).bool())
    assert int(mask.sum()) == 216
    limits = [StateLimit(law, law.start(), shut, V) for shut in (frozenset[int](), frozenset([0, 1, 2]))]
    after = (es.temperature(0.8), es.top_p(0.9))
    logits = torch.randn(2, V, generator=torch.Generator().manual_seed(0))
    with_bits = Rows(logits, [Prefix([0]), Prefix([1])], limits=limits, after=after)
    plain = with_bits.limited([Some(limit.mask()) for limit in limits])
    for seed in range(20):
        drawn = with_bits.draw([Rng(seed), Rng(seed)])
        assert drawn == plain.draw([Rng(seed), Rng(seed)])
        assert all(limit.mask()[token] for limit, token in zip(limits, drawn, strict=True))


LOGITS = {
    "bias": [es.bias({3: 4.0, 77: -2.5, 4098: -math.inf})],
    "repetition": [es.repetition(1.3)],
    "cheered": [es.repetition(0.7), es.presence(-0.5)],
    "counted": [es.frequency(0.3), es.presence(0.2)],
    "phrases": [sequence_bias({(5, 9): 3.0, (8,): -1.0})],
    "window": [penalty(1.5, window=20)],
    "not yet": [not_before(400, [1, 2])],
    "all": [es.bias({3: 4.0}), es.repetition(1.2), es.presence(0.4), es.frequency(0.1), not_before(400, [1])],
}


def written(count: int) -> list[Prefix]:
    """Prefixes that went on after their prompts, by more tokens than are counted at once."""
    found = []
    for i in range(count):
        x = Prefix([7 * j % 50 for j in range(20)])
        for j in range(10 * i):
            x = x + (j * j + i) % 90
        found.append(x + 5)
    return found


@pytest.mark.parametrize("name", LOGITS)
def test_edits_are_what_shapers_of_logits_do(name):
    """What a shaper says it changes is what it makes of rows, to the last bits."""
    for i, x in enumerate(written(24)):
        row = random_rows(1, i).logits
        noted = Rows(row, [x])
        for shaper in LOGITS[name]:
            row = shaper(row, [x])
            noted = noted.reshaped(shaper)
        assert noted._edits is not None or batched_rows._kernels is None
        assert torch.allclose(noted.logits, row, rtol=1e-6, atol=1e-6)
        assert noted._edits is None  # made once


@pytest.mark.parametrize("name", LOGITS)
@pytest.mark.parametrize("density", [None, 0.5])
def test_rows_draw_under_penalties_as_each_row_does(name, density, instructions):
    """The kernel makes the edits as it reads: the tokens of rows whose logits are changed first, flip for flip."""
    rows = random_rows(24, 4, (es.temperature(0.9), es.top_p(0.9)), density)
    rows = Rows(rows.logits, written(24), limits=rows.limits, after=rows.after)
    noted = rows
    for shaper in LOGITS[name]:
        noted = noted.reshaped(shaper)
    tokens = noted.draw([Rng(i) for i in range(24)])
    assert tokens == [row.draw(Rng(i)) for i, row in enumerate(noted)]
    assert noted._edits is not None or batched_rows._kernels is None  # nothing was copied for it
    top = noted.top(5)
    assert noted._edits is not None or batched_rows._kernels is None
    assert tokens == rows.with_logits(noted.logits).draw([Rng(i) for i in range(24)])
    assert [[t for t, _ in each] for each in top] == [[t for t, _ in row.top(5)] for row in rows.with_logits(noted.logits)]
    assert noted.argmax() == [row.argmax() for row in noted]


class Halved(es.repetition):
    """Shapes another way than the class whose edits it inherits."""

    def shape(self, row, state):
        return row / 2


def test_a_shaper_that_shapes_another_way_is_asked():
    rows = random_rows(1, 0)
    noted = Rows(rows.logits, [Prefix([1, 2])]).reshaped(Halved(1.3))
    assert torch.equal(noted.logits, rows.logits / 2)


def reference(row, k: int) -> list[tuple[int, float]]:
    values, tokens = row.dense().sort(descending=True, stable=True)
    return [(t, v) for t, v in zip(tokens[:k].tolist(), values[:k].tolist(), strict=True) if v > -math.inf]


@pytest.mark.parametrize("name", SHAPERS)
@pytest.mark.parametrize("density", [None, 0.9, 0.002])
def test_the_best_of_all_rows_are_those_of_each(name, density, instructions):
    """Of equals the first, none that is masked or -inf, fewer than k where fewer are left; as each `Row` says it."""
    rows = random_rows(8, 2, SHAPERS[name], density)
    each = list(rows)
    for k in (5, 200):
        found = rows.top(k)
        assert found == [row.top(k) for row in each]
        for row, best in zip(each, found, strict=True):
            wanted = reference(row, k)
            assert [v for _, v in best] == pytest.approx([v for _, v in wanted], abs=2e-5)
            if name != "cold":
                order = {t: (-float(row.logits[t]), t) for t, _ in best}
                assert [t for t, _ in best] == sorted(order, key=order.__getitem__)
            differing = {t for t, _ in best} ^ {t for t, _ in wanted}
            assert len(differing) <= (2 if name in ROUNDED else 0)  # at the border of what is kept, within rounding


def test_the_best_of_rows_that_allow_few_or_none():
    few = torch.zeros(V, dtype=torch.bool)
    few[[9, 4000]] = True
    rows = Rows(torch.zeros(3, V), [Prefix([i]) for i in range(3)], limits=[Some(few), Some(few, False), None])
    assert [[t for t, _ in each] for each in rows.top(5)] == [[9, 4000], [9, 4000], [0, 1, 2, 3, 4]]
    assert rows.top(0) == [[], [], []]
    assert [len(each) for each in rows.top(3000)] == [2, 2, 3000]
    with pytest.raises(DeadEnd):
        rows.limited([Some(torch.zeros(V, dtype=torch.bool)), None, None]).top(2)
    with pytest.raises(BrokenRow):
        Rows(torch.full((1, V), math.nan), [Prefix([0])]).top(2)


def test_neighbours_are_taken_where_they_lie():
    rows = random_rows(4, 0)
    assert rows.take([1, 2]).logits.data_ptr() == rows.logits[1].data_ptr()
    assert torch.equal(rows.take([2, 0]).logits, rows.logits[[2, 0]])
    assert torch.equal(rows.take([-1]).logits, rows.logits[[3]])
    for beyond in ([9], [3, 4]):
        with pytest.raises(IndexError):
            rows.take(beyond)
