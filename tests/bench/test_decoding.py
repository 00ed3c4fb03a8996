"""The benchmark of decoding: every system is warmed, and a figure that cannot be is refused."""

from __future__ import annotations

import math
import time

from espalier.bench.decoding import possible, throughput
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
