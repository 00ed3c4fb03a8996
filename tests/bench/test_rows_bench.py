"""The benchmark of what lies between two passes: every line is there, for both kinds of rows."""

from __future__ import annotations

import json

from espalier.bench import rows as bench
from espalier.models.executors import native


def test_a_line_for_everything_that_is_asked(monkeypatch, capsys):
    monkeypatch.setattr(bench, "SIZE", 4096)
    before = native.chosen()
    results = bench.rows_bench(batch=3, tokens=2, rounds=1)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == len(results) == 2 * 10 * len(native.kernels()[:2])
    assert {(line["kernels"], line["rows"]) for line in lines} == {
        (name, kind) for name in native.kernels()[:2] for kind in ("peaked", "flat")
    }
    assert all(line["us"] > 0 and line["processor_us"] > 0 for line in lines)
    assert native.chosen() == before
