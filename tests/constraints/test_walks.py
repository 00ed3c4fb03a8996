"""Random walks over real schemas: a small sample; the full run is `python -m espalier.bench.random_walks`."""

from __future__ import annotations

from pathlib import Path

import pytest

from espalier.bench.maskbench import load
from espalier.bench.random_walks import Walker, choose, run
from espalier.text.vocab import Vocab

PIECES = b'{"|": |": "|", "|"}|"}]|, "|}}|]}|[{"|  |\n|\n  |true|false|null|10|00|0.5|name|id|the|ing| of|http|://|20|-01|T00:|Z"|\xc3\xa9|\xe2\x82'


def vocabulary() -> Vocab:
    """All bytes, and some pieces as tokenizers have them."""
    pieces = [*(bytes([b]) for b in range(256)), *PIECES.split(b"|")]
    return Vocab([*pieces, None], end=[len(pieces)])


@pytest.mark.parametrize("seed", range(15))
def test_every_finished_text_is_valid_and_no_dead_end_is_unannounced(seed: int, shared_data: Path) -> None:
    cases = choose(list(load(shared_data / "maskbench" / "public.jsonl.gz", None, None)), 15, seed=7)[seed : seed + 1]
    result = run(Walker(vocabulary()), cases, walks=2, seed=seed)
    assert result["problems"] == []
    assert sum(result["walks"].values()) == 2
