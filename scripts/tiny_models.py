"""Trains the tiny models of `espalier/models/tiny` on made-up strings, on a CPU, from fixed seeds.

    python scripts/tiny_models.py code translation value encoders

"code": short functions whose name says what they compute; half of them as prefix <suffix> suffix <middle> middle <end>, so
that the model fills in the middle. "translation": a source whose letters are swapped in pairs and written in capitals; the
model sees what wait-k would have read, for a random k. "value": functions, half of them wrong, read by a model of the same size
with a logistic head on its hidden states: is what begins so right? "encoders": two projections of the mean hidden states of
"code" (does this follow that?), by contrast within a batch. Needs transformers.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from espalier.models.tiny.open import tokenizer

FOLDER = Path(__file__).resolve().parents[1] / "espalier" / "models" / "tiny"
SIZES = {
    "model_type": "llama",
    "vocab_size": 260,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
    "eos_token_id": 256,
}
END, SUFFIX, MIDDLE, WRITTEN = 256, 257, 258, 259
OPERATIONS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
LETTERS = "abcdef"
ENCODE = tokenizer().encode


def function(bits: random.Random, wrong: bool = False) -> tuple[str, str]:
    """A head and a body; with `wrong` the body does not compute what the name says."""
    name = bits.choice(sorted(OPERATIONS))
    said = bits.choice([other for other in sorted(OPERATIONS) if other != name]) if wrong else name
    a, b = bits.sample("mnpqxyz", 2)
    return f"def {name}({a},{b}):\n", f" r={a}{OPERATIONS[said]}{b}\n return r\n"


def code(bits: random.Random) -> tuple[list[int], int]:
    """A text of the code model, and from which token on it is learnt."""
    head, body = function(bits)
    text = head + body
    if bits.random() < 0.5:
        return [*ENCODE(text), END], 1
    first = bits.randrange(4, len(head) + 4)
    last = text.index("return") if bits.random() < 0.5 else bits.randrange(first, len(text))
    prefix, middle, suffix = text[:first], text[first : max(first, last)], text[max(first, last) :]
    return [*ENCODE(prefix), SUFFIX, *ENCODE(suffix), MIDDLE, *ENCODE(middle), END], 1


def source(bits: random.Random) -> str:
    """An even number of letters, and a full stop."""
    return "".join(bits.choice(LETTERS) for _ in range(2 * bits.randint(1, 3))) + "."


def translated(text: str) -> str:
    """Capitals, each pair swapped."""
    return "".join(text[i + 1] + text[i] for i in range(0, len(text) - 1, 2)).upper()


def translation(bits: random.Random) -> tuple[list[int], int]:
    """What wait-k has read when a token is due, and all tokens up to it; those before it see more than they would."""
    text = source(bits)
    target, k = [*ENCODE(translated(text)), END], bits.choice((1, 2, 2, 3, 4, len(text)))
    at = bits.randrange(len(target))
    ids = [*ENCODE(text)[: k + at], WRITTEN, *target[: at + 1]]
    return ids, len(ids) - 1 - at


def model() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**{k: v for k, v in SIZES.items() if k != "model_type"}))


def batch(make: Any, bits: random.Random, size: int) -> tuple[Tensor, Tensor]:
    drawn = [make(bits) for _ in range(size)]
    width = max(len(ids) for ids, _ in drawn)
    ids, labels = torch.zeros(size, width, dtype=torch.long), torch.full((size, width), -100)
    for row, (text, start) in enumerate(drawn):
        ids[row, : len(text)] = torch.tensor(text)
        labels[row, start : len(text)] = torch.tensor(text[start:])
    return ids, labels


def train(name: str, make: Any, steps: int, size: int) -> None:
    net, bits, began = model(), random.Random(1), time.monotonic()
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    for step in range(steps):
        ids, labels = batch(make, bits, size)
        loss = net(input_ids=ids, labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"{name} {step}: loss {float(loss.detach()):.3f}, {time.monotonic() - began:.0f} s", flush=True)
    weights = {key: tensor.detach().half().contiguous() for key, tensor in net.state_dict().items() if key != "lm_head.weight"}
    save_file(weights, FOLDER / f"{name}.safetensors")


def hidden(net: Any, texts: list[str]) -> list[Tensor]:
    """The hidden states [T, D] of each text."""
    ids = [ENCODE(text) for text in texts]
    padded = torch.zeros(len(ids), max(map(len, ids)), dtype=torch.long)
    for row, text in zip(padded, ids, strict=True):
        row[: len(text)] = torch.tensor(text)
    with torch.no_grad():
        states = net.model(input_ids=padded).last_hidden_state
    return [state[: len(text)] for state, text in zip(states, ids, strict=True)]


def value() -> None:
    """A model and its head: the chance that a function is right, at every token behind its operation."""
    net, bits = model().model, random.Random(3)
    head = nn.Linear(64, 1)
    optimiser = torch.optim.AdamW([*net.parameters(), *head.parameters()], lr=2e-3)
    for step in range(500):
        drawn = [(*function(bits, wrong), not wrong) for wrong in (bits.random() < 0.5 for _ in range(48))]
        texts = [(ENCODE(head), ENCODE(body), right) for head, body, right in drawn]
        ids, labels = torch.zeros(len(texts), 40, dtype=torch.long), torch.full((len(texts), 40), -1)
        for row, (head_ids, body_ids, right) in enumerate(texts):
            whole = [*head_ids, *body_ids]
            ids[row, : len(whole)] = torch.tensor(whole)
            labels[row, len(head_ids) + 4 : len(whole)] = int(right)  # from the operation on
        states = net(input_ids=ids).last_hidden_state
        known = labels >= 0
        loss = F.binary_cross_entropy_with_logits(head(states)[..., 0][known], labels[known].float())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 100 == 0 or step == 499:
            print(f"value {step}: loss {float(loss.detach()):.3f}", flush=True)
    weights = {f"model.{key}": tensor.detach().half().contiguous() for key, tensor in net.state_dict().items()}
    save_file(weights, FOLDER / "value.safetensors")
    save_file(
        {"weight": head.weight.detach()[0].contiguous(), "bias": head.bias.detach()[0]}, FOLDER / "value_head.safetensors"
    )


def encoders() -> None:
    net, bits = model(), random.Random(2)
    net.load_state_dict({key: tensor.float() for key, tensor in load_file(FOLDER / "code.safetensors").items()}, strict=False)
    net.tie_weights()
    first, second = (torch.randn(64, 32).mul(0.05).requires_grad_() for _ in range(2))
    optimiser = torch.optim.Adam([first, second], lr=1e-2)
    for step in range(400):
        true = [function(bits) for _ in range(64)]
        a = torch.stack([s.mean(0) for s in hidden(net, [head for head, _ in true])]) @ first
        b = torch.stack([s.mean(0) for s in hidden(net, [body for _, body in true])]) @ second
        same = torch.tensor([[head == other for other, _ in true] for head, _ in true], dtype=torch.float)
        contrast = -(torch.log_softmax(a @ b.T, -1) * same / same.sum(-1, keepdim=True)).sum(-1).mean()
        optimiser.zero_grad()
        contrast.backward()
        optimiser.step()
        if step % 100 == 0 or step == 399:
            print(f"encoders {step}: contrast {float(contrast.detach()):.3f}", flush=True)
    found = {"first": first, "second": second}
    save_file({key: tensor.detach().contiguous() for key, tensor in found.items()}, FOLDER / "encoders.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", default=["code", "translation", "value", "encoders"])
    (FOLDER / "sizes.json").write_text(json.dumps(SIZES, indent=1) + "\n")
    for part in parser.parse_args().parts:
        if part in ("value", "encoders"):
            {"value": value, "encoders": encoders}[part]()
        else:
            train(part, {"code": code, "translation": translation}[part], *{"code": (700, 48), "translation": (800, 64)}[part])


if __name__ == "__main__":
    main()
