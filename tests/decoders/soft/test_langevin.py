"""COLD: energies fall, seeds reproduce, constraints hold, and what a model cannot give is said."""

from __future__ import annotations

import pytest
import torch
from toys import transformer

import espalier as es
from espalier.decoders import Langevin, energies
from espalier.decoders.soft.energies import SoftText
from espalier.errors import InvalidInput

MODEL = transformer(seed=5)
X = es.Prefix([1, 2])
STOP = es.stop.budget(4)


def found(decoder: Langevin, scorer: es.Scorer = MODEL, stop: es.stop.Stop = STOP, seed: int = 0):
    [finds] = es.run(decoder(scorer, X, stop, es.Rng(seed)))
    return finds


def test_energies_fall_and_seeds_reproduce():
    decoder = Langevin([energies.fluency], steps=6, step=0.5, noise=0.0)
    finds = found(decoder)
    assert len(finds.energies) == 7
    assert all(b < a for a, b in zip(finds.energies, finds.energies[1:], strict=False))
    noisy = Langevin([energies.fluency], steps=5, step=0.5, noise=0.5)
    assert found(noisy, seed=3).energies == found(noisy, seed=3).energies
    assert found(noisy, seed=3).energies != found(noisy, seed=4).energies


def test_noise_has_its_size():
    """A flat energy: after n steps a logit has moved by a normal number with variance n · noise²."""
    seen = []

    def flat(text: SoftText) -> torch.Tensor:
        seen.append(text.logits.detach().clone())
        return (text.logits * 0.0).sum()

    found(Langevin([flat], steps=9, noise=0.2))
    moved = (seen[-1] - seen[0]).flatten()
    assert float(moved.std()) == pytest.approx(0.6, rel=0.2)


def test_without_steps_it_is_greedy_decoding():
    [greedy] = es.run(es.sample(MODEL | es.temperature(0), X, es.stop.budget(7), es.Rng(0)))
    [find] = found(Langevin([energies.fluency], steps=0, length=3), stop=es.stop.budget(7))
    assert find.prefix.written() == greedy.written()


def test_keywords_come_and_right_contexts_grow_likely():
    phrase = [7, 9]
    plain = found(Langevin([energies.fluency], steps=0))[0].prefix.written()
    assert 7 not in plain
    pulled = found(Langevin([(0.1, energies.fluency), (5.0, energies.keywords([phrase]))], steps=25, step=2.5, top_k=23))
    text = pulled[0].prefix.written()
    assert any(text[i : i + 2] == phrase for i in range(3))
    right = [3, 3]
    led = found(Langevin([energies.future(right)], steps=10, step=4.0, noise=0.0))
    assert led.energies[-1] < led.energies[0] - 0.1


def test_energies_are_those_of_their_definitions():
    bits = torch.Generator().manual_seed(0)
    logits, lm = torch.randn(3, 4, generator=bits), torch.randn(3, 4, generator=bits).log_softmax(-1)
    text = SoftText(logits, lm, {(1, 2): lm[:2]})
    p = logits.softmax(-1)
    entropy = sum(-float(lm[t, v].exp() * p[t, v].log()) for t in range(3) for v in range(4)) / 3
    assert float(energies.fluency(text)) == pytest.approx(entropy, rel=1e-5)
    assert float(energies.future([1, 2])(text)) == pytest.approx(-float(lm[0, 1] + lm[1, 2]) / 2, rel=1e-5)
    expected = float(p[0, 1] * p[1, 2] + p[1, 1] * p[2, 2])
    assert float(energies.keywords([[1, 2]])(text).neg().exp()) == pytest.approx(expected, rel=1e-5)


def test_the_soft_text_is_read_as_mixtures():
    """One-hot soft tokens are tokens: the rows that an energy sees are those of the text."""
    seen = []

    def look(text: SoftText) -> torch.Tensor:
        seen.append(text.lm.detach())
        return text.logits.sum() * 0.0

    found(Langevin([look], steps=0, tau=1e-4, length=3))
    [x] = es.run(es.sample(MODEL | es.temperature(0), X, es.stop.budget(3), es.Rng(0)))
    rows = MODEL.forward(list(x.path()[:3]), frozenset()).logits.log_softmax(-1)
    assert torch.allclose(seen[0], rows, atol=1e-4)


def test_a_guide_holds_and_chains_are_ranked():
    vocab = es.text.vocab.Vocab([bytes([97 + i]) for i in range(22)] + [None], end=[22])
    model = transformer(seed=5)
    model.vocab = vocab
    guide, stop = es.regex("(ab|cd){1,2}"), es.stop.end([22]) | es.stop.budget(6)
    finds = found(Langevin([energies.fluency], steps=2, noise=1.0, chains=3), model * guide, stop)
    assert len(finds) == 3
    assert all(guide.matches(vocab.join(f.prefix.written())) for f in finds)
    assert [f.log_weight for f in finds] == sorted((f.log_weight for f in finds), reverse=True)


def test_what_cannot_be_is_said():
    with pytest.raises(InvalidInput, match="gradients"):
        found(Langevin([energies.fluency]), es.models.Table.random(23, 1, seed=0))
    with pytest.raises(InvalidInput, match="soft tokens, but the stop"):
        found(Langevin([energies.fluency], length=9))
    with pytest.raises(InvalidInput, match="one finite number"):
        found(Langevin([lambda text: text.logits], steps=1))
    with pytest.raises(InvalidInput, match="longer than the text"):
        found(Langevin([energies.keywords([[1, 2, 3, 4, 5]])], steps=1))
    for wrong in (
        {"energies": []},
        {"energies": [3]},
        {"steps": -1},
        {"step": 0.0},
        {"noise": -1.0},
        {"chains": 0},
        {"tau": 0.0},
    ):
        with pytest.raises(InvalidInput):
            Langevin(**{"energies": [energies.fluency], **wrong})
