"""The benches of the grammar engine: growth, memory and stalls, at sizes of seconds."""

from __future__ import annotations

import json

import pytest

from espalier.bench.structured.growth import BRANCHES, BYTES, ITEMS, branch_ms, item_us
from espalier.bench.structured.memory import memory_bench
from espalier.bench.structured.stalls import stalls_bench
from espalier.constraints.engine_memory import engine_memory


def spelled(text: str) -> list[int]:
    return list(text.encode())


@pytest.mark.parametrize("kind", BRANCHES)
def test_growth_writes_a_document_of_each_kind(kind):
    assert branch_ms(BRANCHES[kind], kind.endswith("range"), 6, 2) > 0


@pytest.mark.parametrize("kind", ITEMS)
def test_growth_times_masks_and_steps(kind):
    times = item_us(kind, 12, BYTES, spelled)
    assert set(times) == {"mask_us", "step_us", "both_us", "all_s"}
    assert times["both_us"] >= max(times["mask_us"], times["step_us"])


def test_what_is_dropped_changes_no_mask(capsys):
    found = []
    try:
        for bound in (1.0, 4096.0):
            engine_memory(memory_mb=bound)
            memory_bench(BYTES, 60, 60, 10)
            found.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
    finally:
        engine_memory(memory_mb=256)
    bounded, free = found
    assert bounded["masks"] == free["masks"]
    assert bounded["held_mb"] < free["held_mb"]


def test_stalls_are_percentiles_of_both():
    found = stalls_bench(BYTES, spelled('{"a": [1, 2]}'), 2, 0.1)
    assert found["ratio"] == pytest.approx(found["beside_us"]["p99"] / found["alone_us"]["p99"], abs=0.01)
