"""Shapers on SmolLM2 itself, against transformers' hidden states and transformers' own processors."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, log_softmax, softmax

import espalier as es
from espalier import shaping as s
from espalier.models.load.open import locate
from espalier.shaping.layers.dola import bucket

pytestmark = pytest.mark.real
NAME = "smollm2-135m-instruct"
TEXT = "The three largest moons of Jupiter are Ganymede, Callisto and Io. The three largest moons of"


class Both:
    """The model here and in transformers, both in float32."""

    def __init__(self) -> None:
        self.lm = es.load(NAME, dtype="float32")
        self.theirs: Any = transformers.AutoModelForCausalLM.from_pretrained(locate(NAME), dtype=torch.float32).eval()

    def states(self, ids: list[list[int]]) -> Any:
        with torch.no_grad():
            return self.theirs(torch.tensor(ids), output_hidden_states=True)


@pytest.fixture(scope="module")
def both() -> Both:
    return Both()


def row(scorer: es.Scorer, x: es.Prefix) -> Tensor:
    def ask():
        [found] = yield es.Ask(scorer, [x])
        return found.logits

    [found] = es.run(ask())
    return found


@pytest.mark.parametrize("layers", ["low", "high"])
def test_dola_as_released_is_that_of_transformers_hidden_states(both: Both, layers: Any) -> None:
    """The released rule: early layers without the final norm, and both KLs of the divergence the other way round."""
    x = es.Prefix(both.lm.tokenizer.encode(TEXT))
    scorer, chosen = s.dola(both.lm.scorer, layers, released=True), set()
    for _ in range(3):
        out = both.states([x.ids()])
        last = log_softmax(out.logits[0, -1], -1)
        early = {}
        for layer in bucket(layers, both.theirs.config.num_hidden_layers, True):
            with torch.no_grad():
                early[layer] = log_softmax(both.theirs.lm_head(out.hidden_states[layer][0, -1]), -1)

        def far(layer: int, last: Tensor = last, early: dict[int, Tensor] = early) -> float:
            m = (last.exp() + early[layer].exp()) / 2
            kl = [torch.nn.functional.kl_div(logp, m, reduction="sum") for logp in (last, early[layer])]
            return float(sum(kl)) / 2

        best = max(early, key=far)
        chosen.add(best)
        keep = last >= last.max() + math.log(0.1)
        expected = last - early[best]
        found = row(scorer, x)
        torch.testing.assert_close(softmax(found, -1)[keep], softmax(expected[keep], -1), atol=1e-5, rtol=0)
        assert int((found > found.max() - 5000).sum()) == int(keep.sum())
        x = x + int(found.argmax())
    assert chosen


def test_contrastive_search_is_that_of_transformers_hidden_states(both: Both) -> None:
    x = es.Prefix(both.lm.tokenizer.encode(TEXT))
    scorer, moved = s.contrastive_search(both.lm.scorer, 4, 0.6), 0
    for _ in range(6):
        ids = x.ids()
        out = both.states([ids])
        p = softmax(out.logits[0, -1], -1)
        candidates = p.topk(4).indices.tolist()
        ahead = both.states([[*ids, v] for v in candidates]).hidden_states[-1][:, -1]
        context = torch.nn.functional.normalize(out.hidden_states[-1][0], dim=-1)
        alike = (torch.nn.functional.normalize(ahead, dim=-1) @ context.T).amax(-1)
        expected = 0.4 * p[candidates] - 0.6 * alike
        found = row(scorer, x)
        torch.testing.assert_close(found[candidates], expected, atol=1e-5, rtol=0)
        token = candidates[int(expected.argmax())]
        assert int(found.argmax()) == token
        moved += token != int(p.argmax())
        x = x + token
    assert moved


PROCESSORS = {
    "temperature": (lambda: transformers.TemperatureLogitsWarper(0.7), lambda: es.temperature(0.7)),
    "top_k": (lambda: transformers.TopKLogitsWarper(40), lambda: es.top_k(40)),
    "top_p": (lambda: transformers.TopPLogitsWarper(0.9), lambda: es.top_p(0.9)),
    "min_p": (lambda: transformers.MinPLogitsWarper(0.05), lambda: es.min_p(0.05)),
    "typical": (lambda: transformers.TypicalLogitsWarper(0.9), lambda: s.typical(0.9)),
    "epsilon": (lambda: transformers.EpsilonLogitsWarper(3e-4), lambda: s.epsilon(3e-4)),
    "eta": (lambda: transformers.EtaLogitsWarper(2e-3), lambda: s.eta(2e-3)),
    "repetition": (lambda: transformers.RepetitionPenaltyLogitsProcessor(1.3), lambda: es.repetition(1.3)),
    "no_repeat": (lambda: transformers.NoRepeatNGramLogitsProcessor(3), lambda: s.no_repeat(3)),
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_a_row_is_that_of_transformers_own_processor(both: Both, name: str) -> None:
    theirs, ours = PROCESSORS[name]
    ids = both.lm.tokenizer.encode(TEXT)
    for cut in (5, 9, len(ids)):
        logits = both.states([ids[:cut]]).logits[:, -1]
        expected = softmax(theirs()(torch.tensor([ids[:cut]]), logits), -1)[0]

        def law(ids: list[int] = ids[:cut]):
            [found] = yield es.Ask(both.lm.scorer | ours(), [es.Prefix(ids)])
            return found.probs()

        [found] = es.run(law())
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_sequence_bias_is_that_of_transformers(both: Both) -> None:
    ids = both.lm.tokenizer.encode(TEXT)
    phrase = both.lm.tokenizer.encode(" Jupiter are")
    amounts = {tuple(phrase): -4.0, (ids[0],): 2.0}
    theirs = transformers.SequenceBiasLogitsProcessor(sequence_bias=[[list(k), v] for k, v in amounts.items()])
    at = [ids, [*ids, phrase[0]]]
    for tokens in at:
        logits = both.states([tokens]).logits[:, -1]
        expected = softmax(theirs(torch.tensor([tokens]), logits), -1)[0]
        found = softmax(row(both.lm.scorer | s.sequence_bias(amounts), es.Prefix(tokens)), -1)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
