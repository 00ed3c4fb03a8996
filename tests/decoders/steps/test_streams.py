"""Decoders whose input arrives, or goes round, against direct simulations."""

from __future__ import annotations

import itertools

import pytest
import torch

import espalier as es
from espalier.decoders import Commit, Infill, WaitK, queue
from espalier.errors import InvalidInput, LimitExceeded

MODEL = es.models.Table.random(5, 4, seed=1)
STOP = es.stop.budget(6)


def greedy(x, stop=STOP, model=MODEL):
    [y] = es.run(es.sample(model | es.temperature(0), x, stop, es.Rng(0)))
    return y.written()


def test_waiting_for_all_is_plain_decoding():
    source = [1, 2, 3, 4]
    for k in (4, 9):
        [(written, read)] = es.run(WaitK(k).write(MODEL, source, es.Prefix, STOP))
        assert written == greedy(es.Prefix(source))
        assert read == [4] * 6


def test_the_schedule_is_kept_and_later_source_changes_nothing_before_it():
    [(a, read)] = es.run(WaitK(2).write(MODEL, [1, 2, 3, 4, 0], es.Prefix, STOP))
    assert read == [2, 3, 4, 5, 5, 5]
    [(b, _)] = es.run(WaitK(2).write(MODEL, [1, 2, 3, 1, 1], es.Prefix, STOP))
    assert a[:2] == b[:2], "written before the fourth token was read"
    with pytest.raises(InvalidInput):
        WaitK(0)


@pytest.mark.parametrize("agree", ["greedy", "beams"])
def test_commits_never_change_and_one_chunk_is_plain(agree):
    for seed in range(10):
        model = es.models.Table.random(3, 2, seed=seed)
        prompts = [es.Prefix([0, 1, 2, 1][: n + 1]) for n in range(4)]
        [told] = es.run(Commit(agree).follow(model, prompts, STOP, es.Rng(0)))
        assert len(told) == 4
        for before, after in itertools.pairwise(told):
            assert after[: len(before)] == before
        [[whole]] = es.run(Commit(agree).follow(model, prompts[-1:], STOP, es.Rng(0)))
        if agree == "greedy":
            assert whole == greedy(prompts[-1], model=model)
    with pytest.raises(InvalidInput):
        Commit("most")
    with pytest.raises(InvalidInput):
        es.run(Commit().follow(MODEL, [], STOP, es.Rng(0)))


RULES = {(0, 0): [1], (0, 1): [], (1, 0): [0, 0], (1, 1): [0]}
END = 2


def rules(context):
    """Plays the rule table: after two tokens it says what the rule says, then ends."""
    said = list(context[2:])
    due = RULES.get(tuple(context[:2]), [])
    token = due[len(said)] if len(said) < len(due) else END
    return torch.nn.functional.one_hot(torch.tensor(token), 3).double() * 100


def lag(tokens, rounds):
    line = list(tokens)
    for _ in range(rounds):
        if len(line) < 2:
            return line
        line = [*line[1:], *RULES[tuple(line[:2])]]
    return line


def test_a_queue_is_a_lag_system():
    machine, stop = es.models.Table(3, 5, rules), es.stop.end([END])
    for start in ([0, 1], [1, 0, 1], [0, 0, 1, 1], [1, 1, 1]):
        expected = lag(start, 1000)
        if len(expected) < 2:
            [left] = es.run(queue(machine, start, stop=stop))
            assert left == expected
        else:
            with pytest.raises(LimitExceeded, match="never ends"):
                es.run(queue(machine, start, stop=stop))
        for rounds in range(1, 12):
            assert es.run(queue(machine, start, 2, rounds, stop=stop)) == [lag(start, rounds)], "step by step"
    with pytest.raises(InvalidInput, match="no end token"):
        es.run(queue(machine, [0, 1]))


def test_streams_are_decoders_of_one_chunk():
    x = es.Prefix([1, 2, 3])
    [greedy] = es.run(es.sample(MODEL | es.temperature(0), x, STOP, es.Rng(0)))
    for decoder in (WaitK(3), Commit(), Commit("beams", width=1)):
        [[found]] = es.run(decoder(MODEL, x, STOP, es.Rng(0)))
        assert found.prefix.written() == greedy.written()
        assert found.prefix.origin is x


SUF, MID, EOT = 3, 4, 5


def test_infilling_without_doubt_is_plain_and_in_doubt_writes_the_suffix_first():
    model = es.models.Table.random(6, 3, seed=2)
    stop = es.stop.end([EOT]) | es.stop.budget(5)
    [[plain]] = es.run(Infill((SUF, MID, EOT), tau=0.0)(model, es.Prefix([0]), stop, es.Rng(0)))
    assert plain.prefix.written() == greedy(es.Prefix([0]), stop, model)

    asked = []
    fim = {  # what the model of code-like strings says, and how sure it is
        (0,): (1, 0.9),
        (0, 1): (2, 0.1),
        (0, 1, SUF, 2): (0, 0.9),
        (0, 1, SUF, 2, 0): (EOT, 0.9),
        (0, 1, SUF, 2, 0, MID): (1, 0.9),
        (0, 1, SUF, 2, 0, MID, 1): (EOT, 0.9),
    }

    def row(context):
        asked.append(context)
        token, chance = fim[context]
        probs = torch.full((6,), (1 - chance) / 5, dtype=torch.float64)
        probs[token] = chance
        return probs.log()

    scripted = es.models.Table(6, 9, row)
    [[found]] = es.run(Infill((SUF, MID, EOT), tau=0.25, begin=(2,))(scripted, es.Prefix([0]), stop, es.Rng(0)))
    assert found.prefix.written() == [1, 1, 2, 0], "prefix, middle, suffix in reading order"
    assert asked == list(fim), "prefix, then suffix, then middle"
    for wrong in ({"sentinels": (1, 1, 2)}, {"sentinels": (1, 2, 3), "tau": 2}):
        with pytest.raises(InvalidInput):
            Infill(**wrong)
