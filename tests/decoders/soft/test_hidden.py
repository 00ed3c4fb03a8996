"""Hidden-state optimisation: step 0 is the identity, small steps lower the loss of the window that they look at."""

from __future__ import annotations

import pytest
import torch
import toys

import espalier as es
from espalier.decoders import optimise_hidden
from espalier.errors import InvalidInput

TEXT = "the cat sat on the mat, and the dog sat on the cat."


def language_model(eager: bool = True) -> es.LanguageModel:
    tok = toys.tokenizer()
    return es.LanguageModel(toys.transformer(eager, tok.vocab.size, seed=2), tok, "tiny")


LM = language_model()


def plain(ids: list[int]) -> torch.Tensor:
    """−log p of each token from the second on."""
    x, nodes = es.Prefix(ids[:1]), []
    for token in ids[1:]:
        nodes.append(x)
        x = x + token
    logp = LM.model.forward(nodes, frozenset()).logits.log_softmax(-1)
    return -logp[torch.arange(len(nodes)), torch.tensor(ids[1:])]


def test_no_step_is_the_identity():
    found, losses = optimise_hidden(LM, TEXT, 0, window=16), plain(LM.tokenizer.encode(TEXT))
    assert found.nll == found.after
    windows = [losses[:15].sum(), *(losses[at - 1 : at + 15].sum() for at in range(16, len(losses) + 1, 16))]
    assert found.nll == pytest.approx([float(w) for w in windows], rel=1e-4)
    assert found.total == pytest.approx(float(losses.sum()), rel=1e-4)


@pytest.mark.parametrize("steps", [1, 3])
def test_small_steps_lower_the_loss_of_their_window(steps):
    found = optimise_hidden(LM, TEXT, steps, window=16, rate=1e-3)
    assert found.nll[0] == found.after[0], "nothing was read before the first window"
    assert all(after < before for before, after in zip(found.nll[1:], found.after[1:], strict=True))
    base = optimise_hidden(LM, TEXT, 0, window=16)
    assert found.nll[1] == pytest.approx(base.nll[1], rel=1e-4), "a window is read before it teaches"
    assert found.nll[2] != pytest.approx(base.nll[2], rel=1e-5), "what it taught is kept"


def test_more_steps_lower_it_more_and_leave_the_model_alone():
    one, five = (optimise_hidden(LM, TEXT, steps, window=16, rate=1e-3) for steps in (1, 5))
    assert five.after[1] < one.after[1]
    assert optimise_hidden(LM, TEXT, 1, window=16, rate=1e-3) == one
    assert not any(weight.requires_grad for weight in (LM.model.embedding, LM.model.kv.keys))


def test_what_cannot_be_is_said():
    with pytest.raises(InvalidInput, match="gradients"):
        optimise_hidden(toys.random_lm(0), TEXT, 1)
    if not language_model(eager=False).model.capabilities.gradients:
        with pytest.raises(InvalidInput, match="eager=True"):
            optimise_hidden(language_model(eager=False), TEXT, 1)
    with pytest.raises(InvalidInput, match="at least 2"):
        optimise_hidden(LM, "a", 1)
    for wrong in ({"steps": -1}, {"window": 1}, {"rate": 0.0}):
        with pytest.raises(InvalidInput):
            optimise_hidden(LM, TEXT, **{"steps": 1, **wrong})
