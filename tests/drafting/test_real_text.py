"""On a real model: the greedy text with every drafter is that of plain decoding, token for token, in each type of number."""

from __future__ import annotations

import pytest

import espalier as es
from espalier import catalogue
from espalier.bench.peers import Ours
from espalier.bench.speculation import OWN, load_questions


@pytest.mark.real
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_greedy_text_is_plain_decodings(dtype):
    try:
        lm = es.load(None, dtype=dtype)
    except es.EspalierError as error:
        pytest.skip(f"the built-in model cannot be had: {error}")
    if not lm.model.invariant:
        pytest.skip("without the native kernels rows depend on what else is in a pass")
    prompts = [ids for _, ids in load_questions(OWN, 1, 512, lm)][:2]
    plain = [Ours("plain", lm).continue_greedily(ids, 16) for ids in prompts]
    for name in catalogue.names("drafter", typed=True):
        peer = Ours(name, lm, catalogue.find("drafter", name).typical(lm.model))
        assert [peer.continue_greedily(ids, 16) for ids in prompts] == plain, name
