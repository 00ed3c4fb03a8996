"""Shapers against repeats: the same as scans of the whole text, transformers' processor, and costs in a long text."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable

import pytest
import torch
from transformers import NoRepeatNGramLogitsProcessor

import espalier as es
from espalier import shaping as s
from espalier.shaping.repeats.persistent_map import PersistentMap
from espalier.shaping.repeats.suffixes import Suffixes
from espalier.text import Vocab


def texts(count, size, length, seed=0):
    rng = random.Random(seed)
    for _ in range(count):
        unit = [rng.randrange(size) for _ in range(rng.choice([1, 2, 5, 40]))]  # some repeat themselves much, some hardly
        text = [rng.choice(unit) if rng.random() < 0.1 else unit[i % len(unit)] for i in range(length)]
        yield text


def prefix(text, given):
    x = es.Prefix(text[:given])
    for token in text[given:]:
        x = x + token
    return x


def longest(text, token, most=10**9):
    """The length of the longest suffix of a text that the token followed earlier, by scanning."""
    best = 0
    for end in range(1, len(text)):
        if text[end] == token:
            length = 0
            while length < min(end, most) and text[end - 1 - length] == text[len(text) - 1 - length]:
                length += 1
            best = max(best, length)
    return best


def test_a_persistent_map_is_a_dict_that_stays():
    rng, held, plain = random.Random(1), [], {}
    new = PersistentMap()
    for _ in range(2000):
        key = rng.choice([rng.randrange(400), (rng.randrange(5), rng.randrange(5)), -rng.randrange(1 << 62)])
        value = rng.randrange(9)
        new, plain = new.put(key, value), {**plain, key: value}
        if rng.random() < 0.01:
            held.append((new, dict(plain)))
    for found, expected in [*held, (new, plain)]:
        assert dict(found.items()) == expected
        assert len(found) == len(expected)
        assert all(found.get(key) == expected.get(key) for key in [*expected, 1000, (9, 9)])


@pytest.mark.parametrize("most", [3, 100])
def test_the_automaton_finds_the_repeats_that_a_scan_finds(most):
    for text in texts(30, 5, 60):
        state = Suffixes(most)
        for at, token in enumerate(text, 1):
            state = state + token
            if at % 7 == 0:
                lengths = {v: min(longest(text[:at], v), most) for v in range(5)}
                assert state.repeats() == {v: n for v, n in lengths.items() if n > 0}, text[:at]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_no_repeat_is_that_of_transformers(n):
    theirs = NoRepeatNGramLogitsProcessor(n)
    for text in texts(20, 6, 30, seed=n):
        row = torch.randn(1, 7, dtype=torch.float64)
        expected = theirs(torch.tensor([text]), row.clone())
        for given in (1, len(text) // 2, len(text)):
            shaped = s.no_repeat(n)(row, [prefix(text, given)])
            shut = shaped < row - 1
            assert torch.equal(shut, expected.isneginf())
            assert torch.equal(shaped[~shut], row[~shut])


def test_dry_is_its_formula():
    for text in texts(30, 6, 40, seed=2):
        row = torch.zeros(1, 6, dtype=torch.float64)
        rule = s.dry(0.8, 1.75, allowed=2, breakers=(5,))
        since = next((i for i, token in enumerate(reversed(text)) if token == 5), len(text))
        lengths = [min(longest(text, v), since) for v in range(6)]
        expected = [-min(0.8 * 1.75 ** (n - 2), 1e4) if n >= 2 else 0.0 for n in lengths]
        assert torch.allclose(rule(row, [prefix(text, 5)])[0], torch.tensor(expected, dtype=torch.float64)), text


def test_breakers_are_texts_with_a_vocabulary():
    vocab = Vocab([b"a", b"b", b"x\n", b"c"])
    scorer = es.models.Table(4, 0, lambda context: torch.zeros(4), vocab) | s.dry(5.0, 1.0, allowed=1)
    x = es.Prefix([0, 1, 2, 3, 0])

    def row(x):
        [found] = yield es.Ask(scorer, [x])
        return found.logits

    [before], [after] = es.run(row(x)), es.run(row(x + 2))
    assert before.tolist() == [0, -5, 0, 0]
    assert after.tolist() == [0, 0, 0, 0]
    with pytest.raises(es.InvalidInput, match="need a vocabulary"):
        es.models.Table.random(4, 1, 0) | s.dry(breakers=("\n\n",))


def test_momentum_is_its_formula():
    table = (0.0, 1.0, 2.0, 3.5)
    for text in texts(30, 5, 20, seed=3):
        p = torch.softmax(torch.randn(5, dtype=torch.float64), -1)
        shaped = s.momentum(3, 0.2, table)(p.log()[None], [prefix(text, 4)])[0]
        for rank, v in enumerate(p.argsort(descending=True).tolist()):
            runs = [[*text[len(text) - n :], v] for n in range(len(table))]
            occurred = [any(text[i : i + len(r)] == r for i in range(len(text) - len(r) + 1)) for r in runs]
            length = next((n for n, there in enumerate(occurred) if not there), len(table))
            if rank < 3 and length < len(table):
                assert float(shaped[v]) == pytest.approx(float(p[v]) - 0.2 * table[length])
            else:
                assert float(shaped[v]) == pytest.approx(math.log(float(p[v])) - 1e4)


def test_momentum_leaves_a_loop_at_the_predicted_repeat():
    """A model that says 0 1 0 1 … with p = 0.8: a run of L tokens costs 0.2 · L, so it goes on while 0.8 - 0.2 L > 0.07."""
    model = es.models.Table(
        4, 1, lambda context: torch.full((4,), 0.1 / 1.5).index_fill(0, torch.tensor(1 - context[0] % 2), 0.8).log()
    )
    [x] = es.run(es.sample(model | s.momentum(4, 0.2) | es.temperature(0), es.Prefix([0]), es.stop.budget(8), es.Rng(0)))
    assert x.ids()[:5] == [0, 1, 0, 1, 0]
    assert x.ids()[5] in (2, 3)


def test_neutral_parameters_change_nothing():
    row, x = torch.log_softmax(torch.randn(1, 5), -1), es.Prefix([0, 1, 0, 1, 0])
    assert torch.equal(s.dry(0.0, breakers=())(row, [x]), row)
    assert torch.equal(s.no_repeat(9)(row, [x]), row)
    assert s.momentum(5, 0.0)(row, [x]).argmax() == row.argmax()


SHAPERS = {
    "no_repeat 1": lambda: s.no_repeat(1),
    "no_repeat 3": lambda: s.no_repeat(3),
    "dry": lambda: s.dry(breakers=()),
    "momentum": lambda: s.momentum(),
    "penalty": lambda: s.penalty(),
    "sequence_bias": lambda: s.sequence_bias({(1, 2): 1.0}),
    "repetition": lambda: s.repetition(1.2),
    "presence": lambda: s.presence(0.5),
    "frequency": lambda: s.frequency(0.5),
}


def lines(work: Callable[[], object]) -> int:
    """How many lines of Python a call runs: its work, whatever the machine does beside it."""
    count, before = 0, sys.gettrace()

    def trace(frame, event, argument):
        nonlocal count
        count += event == "line"
        return trace

    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("name", SHAPERS)
def test_a_row_late_in_a_text_costs_what_one_early_costs(name):
    """Tokens as frequent as words are, so that there are repeats to look up: the median of 200 rows at either end."""
    shaper, row, spent = SHAPERS[name](), torch.randn(1, 4096), {512: [], 8192: []}
    rng, x = random.Random(0), es.Prefix([0])
    for at in range(8300):
        x = x + (int(4096 ** rng.random()) - 1)
        if abs(at - 512) <= 100 or at >= 8100:
            spent[512 if at < 4096 else 8192].append(lines(lambda: (shaper.state(x), shaper(row, [x]))))  # noqa: B023
        else:
            shaper.state(x)
    early, late = (sorted(counts)[len(counts) // 2] for counts in spent.values())
    assert late < 1.5 * early + 20, f"{late} lines at 8,192 tokens, {early} at 512"


@pytest.mark.parametrize("shaper", [s.repetition(1.3), s.presence(0.5), s.frequency(0.5), s.penalty()], ids=str)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_rows_of_other_formats_are_shaped_too(shaper, dtype):
    row, x = torch.randn(1, 9).to(dtype), prefix([3, 4, 3, 5], 1)
    shaped = shaper(row, [x])
    assert shaped.dtype == dtype
    assert torch.allclose(shaped.float(), shaper(row.float(), [x]), rtol=1e-2)


LINES = Vocab([b"a", b"b", b";", b"=", None], end=[4])


def rpg_row(x, decay=0.9, end_boost=0.8, guide="([ab]=[ab];)*"):
    rule = s.rpg(es.regex(guide), decay, end_boost).bound(LINES)
    return rule(torch.zeros(1, 5, dtype=torch.float64), [x])[0]


def test_rpg_lowers_the_next_copy_and_raises_the_end():
    line, x, off, ends = [0, 3, 1, 2], es.Prefix([0]), math.log(0.9), -math.log(0.8)
    assert rpg_row(x + line).tolist() == [0] * 5
    for copies in range(1, 6):
        row = rpg_row(x + line * (copies + 1))
        assert torch.allclose(row, torch.tensor([copies * off, 0, 0, 0, copies * ends], dtype=torch.float64))
    other = rpg_row(x + line + [1, 3, 0, 2])  # "a=b;b=a;": the form repeats, the words do not
    assert torch.allclose(other, torch.tensor([0, off, 0, 0, ends], dtype=torch.float64))
    assert rpg_row(x + line * 2 + [0]).tolist()[4] == 0  # inside a line the text cannot end
    assert rpg_row(x + line * 3, 1.0, 1.0).tolist() == [0] * 5


def test_rpg_leads_out_of_a_loop():
    following = {0: 3, 3: 1, 1: 2, 2: 0}
    model = es.models.Table(5, 1, lambda context: torch.zeros(5).index_fill(0, torch.tensor(following[context[0]]), 3.0), LINES)
    guide, stop = es.regex("([ab]=[ab];)*"), es.stop.end([4]) | es.stop.budget(100)
    [plain] = es.run(es.sample(model * guide | es.temperature(0), es.Prefix([2]), stop, es.Rng(0)))
    [found] = es.run(es.sample((model | s.rpg(guide)) * guide | es.temperature(0), es.Prefix([2]), stop, es.Rng(0)))
    assert len(plain.written()) == 100
    assert found.last == 4
    with pytest.raises(es.InvalidInput, match="has no vocabulary"):
        es.models.Table.random(5, 1, 0) | s.rpg(guide)
    with pytest.raises(es.InvalidInput, match="expected a guide"):
        s.rpg("(a|b)*")
