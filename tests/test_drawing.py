"""`Draw`: a token for each decoder of a turn, drawn together, is the token that each row's own draw gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from test_batched_rows import SHAPERS, Some, V, random_rows

import espalier as es
from espalier.errors import DeadEnd, Interrupted, InvalidInput
from espalier.models.executors import native
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Row, Rows


def own(row: Row, rng: Rng, times: int = 3) -> Any:
    """A decoder that draws from a row it has."""
    found = []
    for _ in range(times):
        found.append((yield es.Draw(row, rng)))
    return found


def mixed() -> list[Row]:
    """Rows of many kinds: every truncation, masks, checks without a mask, few tokens, other formats, edits."""
    found, bits = [], torch.Generator().manual_seed(7)
    for seed, after in enumerate(SHAPERS.values()):
        for density, masked in ((None, True), (0.5, True), (0.01, True), (0.5, False)):
            found += list(random_rows(3, seed, after, density, masked))
    found += list(Rows(torch.randn(2, 7, generator=bits), [Prefix([0]), Prefix([1])], after=(es.top_p(0.5),)))
    found += list(Rows(torch.randn(2, V, generator=bits).double(), [Prefix([0]), Prefix([1])]))
    found += list(Rows(torch.randn(2, V + 64, generator=bits), [Prefix([0]), Prefix([1])], after=(es.top_k(9),)))
    return found + list(Rows(torch.randn(1, V, generator=bits), [Prefix([5, 6])]).reshaped(es.repetition(1.4)))


@pytest.mark.parametrize("instructions", native.kernels() or [""])
def test_a_token_drawn_together_is_the_token_drawn_alone(instructions: str) -> None:
    before = native.chosen()
    native.choose(instructions)
    try:
        rows = mixed()
        together, alone = [[Rng(i) for i in range(len(rows))] for _ in range(2)]
        found = es.run(*(own(row, rng) for row, rng in zip(rows, together, strict=True)))
        assert found == [[row.draw(rng) for _ in range(3)] for row, rng in zip(mixed(), alone, strict=True)]
        assert [rng.flip(0.5) for rng in together] == [rng.flip(0.5) for rng in alone]  # as many flips were taken
    finally:
        native.choose(before)


class Raises:
    """A limit that goes wrong when it is asked."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def allowed(self, token: int) -> bool:
        raise self.error

    def mask(self) -> None:
        return None


def limited(limit: Any) -> Row:
    return Rows(torch.zeros(1, V), [Prefix([0])], limits=[limit])[0]


def test_what_cannot_be_drawn_ends_its_decoder_alone() -> None:
    broken = [limited(Some(torch.zeros(V, dtype=torch.bool))), limited(Raises(RuntimeError("mine"))), "a row"]
    loop = es.Loop()
    bad = [loop.add(own(row, Rng(0))) for row in broken]
    fine = loop.add(own(limited(None), Rng(0)))
    while loop:
        loop.turn()
    assert loop.results[fine] == [limited(None).draw(rng) for rng in [Rng(0)] for _ in range(3)]
    assert [type(loop.errors[number]) for number in bad] == [DeadEnd, RuntimeError, InvalidInput]


def test_a_decoder_may_catch_what_its_draw_raises() -> None:
    def careful(row: Row) -> Any:
        try:
            return (yield es.Draw(row, Rng(0)))
        except DeadEnd:
            return "none"

    assert es.run(careful(limited(Some(torch.zeros(V, dtype=torch.bool))))) == ["none"]


def test_an_interrupt_in_a_draw_ends_those_that_were_drawn_for() -> None:
    model = es.models.Table.random(vocab_size=4, depth=2, seed=0)
    loop, hit = es.Loop(), []

    def waits(x: Prefix, row: Row) -> Any:
        yield es.Ask(model, [x])
        hit.append(loop)
        return (yield es.Draw(row, Rng(0)))

    other = loop.add(es.sample(model | es.temperature(0), Prefix([1]), es.stop.budget(4), Rng(0)))
    torn = loop.add(waits(Prefix([2]), limited(Raises(KeyboardInterrupt()))))
    with pytest.raises(KeyboardInterrupt):
        loop.turn()
    while loop:
        loop.turn()
    assert isinstance(loop.errors[torn], Interrupted)
    assert other in loop.results or isinstance(loop.errors[other], Interrupted)


def test_a_cancelled_decoder_is_not_drawn_for() -> None:
    model, loop = es.models.Table.random(vocab_size=4, depth=2, seed=0), es.Loop()
    numbers: list[int] = []

    def cancels(x: Prefix) -> Any:
        yield es.Ask(model, [x])
        loop.cancel(numbers[0])

    def waits(x: Prefix) -> Any:
        [row] = yield es.Ask(model, [x])
        return (yield es.Draw(row, Rng(0)))

    numbers += [loop.add(waits(Prefix([1]))), loop.add(cancels(Prefix([2])))]
    while loop:
        loop.turn()
    assert numbers[0] not in loop.results
    assert numbers[1] in loop.results
