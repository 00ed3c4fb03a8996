"""`dtype="auto"`: the fastest format that keeps every bit of a checkpoint."""

from __future__ import annotations

import inspect

import pytest
import torch
from safetensors.torch import load_file, save_file

import espalier as es
from espalier.models.executors import native
from espalier.models.load.weight_format import fitting
from tests.models.folders import folder

CPU = torch.device("cpu")


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
def test_matrices_that_bfloat16_holds_run_in_it_whatever_they_are_stored_in(stored):
    exact = torch.randn(40, 30, generator=torch.Generator().manual_seed(0)).bfloat16().to(stored)
    norm = torch.full((30,), 0.1)  # vectors are float32 in every format
    assert fitting({"a.weight": exact, "norm.weight": norm}, CPU)[0] == torch.bfloat16


@pytest.mark.parametrize("stored", [torch.float32, torch.float16])
def test_one_number_that_bfloat16_would_round_is_enough_for_float32(stored):
    exact = torch.randn(40, 30, generator=torch.Generator().manual_seed(0)).bfloat16()
    rounded = exact.float()
    rounded[39, 29] = 1 + 2**-9
    kind, why = fitting({"a.weight": exact.to(stored), "b.weight": rounded.to(stored)}, CPU)
    assert kind == torch.float32
    assert "b.weight" in why
    assert "a.weight" not in why


def test_auto_is_the_default_and_says_what_it_chose():
    assert inspect.signature(es.load).parameters["dtype"].default == "auto"
    place = folder()
    lm = es.load(place)
    assert lm.dtype == "float32"
    assert lm.why.startswith("bfloat16 would round ")
    path = place / "model.safetensors"
    save_file({name: tensor.bfloat16() for name, tensor in load_file(path).items()}, path, {"format": "pt"})
    lm = es.load(place)
    assert lm.dtype == ("bfloat16" if native.available() and native.quick() else "float32")
    assert es.load(place, dtype="fp32").dtype == "float32"
    assert es.load(place, dtype="fp32").why == "it was asked for"
    gpt = es.load(folder("GPT2", n_embd=64, n_layer=1, n_head=4))
    assert (gpt.dtype, gpt.why) == ("float32", "torch's own bfloat16 is slow on a CPU")


def test_without_the_native_kernels_it_is_float32():
    assert fitting({"a.weight": torch.ones(2, 2)}, CPU, kernels=False)[0] == torch.float32
