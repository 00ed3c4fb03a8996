"""`dtype="auto"`: the fastest format that keeps every bit of a checkpoint."""

from __future__ import annotations

import pytest
import torch

from espalier.models.load.formats import fitting

CPU = torch.device("cpu")


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
def test_matrices_that_bfloat16_holds_run_in_it_whatever_they_are_stored_in(stored):
    exact = torch.randn(40, 30, generator=torch.Generator().manual_seed(0)).bfloat16().to(stored)
    norm = torch.full((30,), 0.1)  # vectors are float32 in every format
    assert fitting({"a.weight": exact, "norm.weight": norm}, CPU)[0] == torch.bfloat16


@pytest.mark.parametrize("stored", [torch.float32, torch.float16])
def test_one_number_that_bfloat16_would_round_is_enough_for_float32(stored):
    exact = torch.ones(40, 30)
    rounded = torch.ones(40, 30)
    rounded[39, 29] = 1 + 2**-9
    kind, why = fitting({"a.weight": exact.to(stored), "b.weight": rounded.to(stored)}, CPU)
    assert kind == torch.float32
    assert "b.weight" in why
    assert "a.weight" not in why
