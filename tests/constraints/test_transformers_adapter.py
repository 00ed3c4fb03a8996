"""The LogitsProcessor: what it lets through, in `generate` with sampling and with beams."""

from __future__ import annotations

import json

import pytest
import torch

import espalier.constraints as es
from espalier.constraints.adapters.transformers import logits_processor
from espalier.errors import InvalidInput
from espalier.text.vocab import Vocab

transformers = pytest.importorskip("transformers")
CHARACTERS = '{}[]":,0123456789.-truefalsn ab'
VOCAB = Vocab([*(c.encode() for c in sorted(set(CHARACTERS))), b'{"', b'": ', b"true", None], end=[len(set(CHARACTERS)) + 3])


@pytest.fixture(scope="module")
def model() -> object:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=VOCAB.size + 3,  # padded, as models are
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        eos_token_id=VOCAB.size - 1,
        pad_token_id=VOCAB.size - 1,
        bos_token_id=0,
    )
    return transformers.LlamaForCausalLM(config).eval()


@pytest.mark.parametrize("how", [{"do_sample": True, "num_return_sequences": 4}, {"num_beams": 3}, {"do_sample": False}])
def test_generate_writes_texts_of_the_guide(model: object, how: dict[str, object]) -> None:
    guide = es.cfg('o ::= "{" "}" | "[" o "]" | "{" \'"a": \' [0-9]{1,3} "}" | "true"')
    processor = logits_processor(guide, VOCAB)
    assert isinstance(processor, transformers.LogitsProcessor)
    prompt = torch.tensor([[1, 2, 3]])
    out = model.generate(prompt, max_new_tokens=40, logits_processor=transformers.LogitsProcessorList([processor]), **how)  # type: ignore[attr-defined]
    for row in out[:, 3:].tolist():
        ended = (VOCAB.size - 1) in row
        tokens = row[: row.index(VOCAB.size - 1)] if ended else row
        text = VOCAB.join(tokens)
        assert guide.advance(guide.start(), text) is not None
        if ended:
            assert guide.matches(text)
            json.loads(text)


def test_allowed_scores_stay_and_rows_may_move() -> None:
    process = logits_processor(es.regex("ab|ba"), Vocab([b"a", b"b", None], end=[2]))
    scores = torch.tensor([[0.5, -1.0, 2.0], [0.25, 1.0, 3.0]])
    assert process(torch.tensor([[9], [9]]), scores).tolist() == [[0.5, -1.0, -torch.inf], [0.25, 1.0, -torch.inf]]
    moved = process(torch.tensor([[9, 1], [9, 0]]), scores)
    assert moved.tolist() == [[0.5, -torch.inf, -torch.inf], [-torch.inf, 1.0, -torch.inf]]


def test_something_that_is_no_vocabulary() -> None:
    with pytest.raises(InvalidInput, match="neither a Vocab nor a fast tokenizer"):
        logits_processor(es.regex("a"), object())
