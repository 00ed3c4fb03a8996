"""Our guide in transformers' own `generate`: the texts satisfy the pattern, whatever the model would have said."""

import re

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import espalier as es


def main() -> str:
    lm = es.load()
    vocab = lm.vocab
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=vocab.size, **sizes))  # any transformers model with this tokenizer
    processor = es.constraints.logits_processor(es.regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}"), vocab)
    prompt = torch.tensor([lm.tokenizer.encode("Today is ")])
    written = model.generate(
        prompt,
        logits_processor=[processor],
        max_new_tokens=16,
        eos_token_id=list(vocab.end),
        pad_token_id=next(iter(vocab.end)),
    )
    text = lm.tokenizer.decode(written[0, prompt.shape[1] :].tolist())
    print(text)
    assert re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text)
    return text


if __name__ == "__main__":
    main()
