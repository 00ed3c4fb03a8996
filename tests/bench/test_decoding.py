"""The benchmark of decoding: every system is warmed, and a figure that cannot be is refused."""

from __future__ import annotations

import math
import time

from espalier.bench.decoding import possible, throughput, together
from espalier.bench.peers import Peer


class Slow(Peer):
    """Takes long at its first call, as a system does that makes something then, and a little for every token."""

    def __init__(self, name: str, first: float, each: float) -> None:
        self.name, self.first, self.each = name, first, each

    def continue_greedily(self, prompt, tokens):
        time.sleep(self.first + self.each * tokens)
        self.first = 0.0
        return list(range(tokens))


def test_what_a_first_call_makes_is_not_a_token_s():
    rows = throughput([Slow("cold", 0.3, 0.002), Slow("warm", 0.0, 0.002)], [[1, 2]], 20, 1)
    assert [row["ms_per_token"] > 1.0 for row in rows] == [True, True]
    assert all(row["first_token_ms"] < 250 for row in rows)


def test_a_figure_that_cannot_be_is_refused(capsys):
    assert math.isnan(possible("odd", [-35.0, -1.0, 2.0]))
    assert "odd: -1 ms per token cannot be" in capsys.readouterr().err
    assert possible("even", [3.0, 1.0, 2.0]) == 2.0


class Counting(Slow):
    """Takes as long for many requests as for one, and notes what it was asked."""

    def together(self, prompts, tokens):
        self.asked = [*getattr(self, "asked", []), prompts]
        time.sleep(self.each * tokens)


def test_requests_at_once_are_different_prompts_and_their_tokens_count_together():
    ours, alone = Counting("ours", 0.0, 0.002), Slow("alone", 0.0, 0.002)
    rows = together([ours, alone], [[1, 2, 3], [4, 5, 6]], 10, [1, 4], 1)
    assert [(row["system"], row["requests"], row["ours"]) for row in rows] == [("ours", 1, 1.0), ("ours", 4, 1.0)]
    assert 2.5 < rows[1]["tokens_per_s"] / rows[0]["tokens_per_s"] < 6
    assert ours.asked[1] == [[1, 2, 3], [4, 5, 6], [2, 3, 1], [5, 6, 4]]
