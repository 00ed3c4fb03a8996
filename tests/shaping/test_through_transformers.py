"""Shapers both ways between this library and transformers."""

from __future__ import annotations

import pytest
import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM, LogitsProcessorList

import espalier as es
from espalier import catalogue
from espalier import shaping as s
from espalier.models.families import Config
from espalier.models.transformer import Transformer
from espalier.text import Vocab

VOCAB = Vocab([bytes([97 + i % 26]) * (1 + i // 26) for i in range(39)] + [None], end=[39])


@pytest.fixture(scope="module")
def both():
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, initializer_range=0.4, eos_token_id=39, bos_token_id=None, pad_token_id=38,
    )  # fmt: skip
    theirs = LlamaForCausalLM(config).eval()
    ours = Transformer.from_weights(Config.from_hf(config.to_dict()), theirs.state_dict())
    ours.vocab = VOCAB
    return theirs, ours


PROCESSORS = {
    "repetition": (lambda: transformers.RepetitionPenaltyLogitsProcessor(1.4), lambda: es.repetition(1.4)),
    "no repeat": (lambda: transformers.NoRepeatNGramLogitsProcessor(2), lambda: s.no_repeat(2)),
    "temperature": (lambda: transformers.TemperatureLogitsWarper(0.7), lambda: es.temperature(0.7)),
    "top-k": (lambda: transformers.TopKLogitsWarper(4), lambda: es.top_k(4)),
    "top-p": (lambda: transformers.TopPLogitsWarper(0.8), lambda: es.top_p(0.8)),
    "min-p": (lambda: transformers.MinPLogitsWarper(0.2), lambda: es.min_p(0.2)),
    "typical": (lambda: transformers.TypicalLogitsWarper(0.7), lambda: s.typical(0.7)),
    "epsilon": (lambda: transformers.EpsilonLogitsWarper(0.05), lambda: s.epsilon(0.05)),
    "eta": (lambda: transformers.EtaLogitsWarper(0.05), lambda: s.eta(0.05)),
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_a_processor_here_is_the_shaper_that_it_is(name, both):
    theirs, ours = PROCESSORS[name]
    made = s.from_transformers(theirs())
    assert made.stage is ours().stage
    for seed in range(3):
        texts = []
        for shaper in (made, ours()):
            [x] = es.run(es.sample(both[1] | shaper, es.Prefix([1, 2, 1]), es.stop.budget(20), es.Rng(seed)))
            texts.append(x.ids())
        assert texts[0] == texts[1]


def test_a_processor_here_works_under_a_guide_and_in_drafts(both):
    scorer = (both[1] | s.from_transformers(transformers.NoRepeatNGramLogitsProcessor(1))) * es.regex("(ab)*")
    stop = es.stop.budget(6) | es.stop.end([39])
    [plain] = es.run(es.sample(scorer, es.Prefix([0]), stop, es.Rng(0)))
    rule = es.verification.SampleMatch()
    [fast] = es.run(es.speculate(scorer, es.Prefix([0]), stop, es.drafting.TokenRecycling(nodes=6), rule, es.Rng(0)))
    assert plain.ids() == fast.ids()


GREEDY = {
    "dry": lambda: s.dry(3.0, 2.0, allowed=1, breakers=()),
    "momentum": lambda: s.momentum(4, 0.3),
    "frequency": lambda: es.frequency(0.9),
    "end_decay": lambda: s.end_decay(3, 1.4),
    "rpg": lambda: s.rpg(es.regex("[a-z]*"), 0.3),
    "mirostat": lambda: s.mirostat(2.0),
}


@pytest.mark.parametrize("name", GREEDY)
@pytest.mark.parametrize("rows", [1, 2])
def test_a_shaper_in_generate_gives_the_text_that_it_gives_here(name, rows, both):
    """Greedy, with prompts of unlike lengths in one padded batch."""
    theirs, ours = both
    prompts = [[5, 7, 5], [9, 8, 7, 6, 5]][:rows]
    width = max(map(len, prompts))
    ids = torch.tensor([[38] * (width - len(p)) + p for p in prompts])
    process = s.to_transformers(GREEDY[name](), type("Padded", (), {"vocab": VOCAB, "pad_token_id": 38})())
    with torch.no_grad():
        out = theirs.generate(
            ids, attention_mask=(ids != 38).long(), max_new_tokens=14, do_sample=False,
            logits_processor=LogitsProcessorList([process]), pad_token_id=38,
        )  # fmt: skip
    stop = es.stop.budget(14) | es.stop.end([39])
    for prompt, row in zip(prompts, out.tolist(), strict=True):
        [x] = es.run(es.sample(ours | GREEDY[name]() | es.temperature(0), es.Prefix(prompt), stop, es.Rng(0)))\
            if GREEDY[name]().stage is es.Stage.LOGITS else\
            es.run(es.sample(ours | es.temperature(0), es.Prefix(prompt), stop, es.Rng(0)))  # fmt: skip
        assert row[width : width + len(x.written())] == x.written()


MORE = {
    "sequence bias": lambda: transformers.SequenceBiasLogitsProcessor(sequence_bias=[[[7, 5], 3.0], [[3], -2.0]]),
    "bad words": lambda: transformers.NoBadWordsLogitsProcessor([[5, 7], [9]], eos_token_id=39),
    "least new tokens": lambda: transformers.MinNewTokensLengthLogitsProcessor(3, 4, 39),
    "decay": lambda: transformers.ExponentialDecayLengthPenalty((1, 1.5), [39], 3),
    "suppressed": lambda: transformers.SuppressTokensLogitsProcessor([4, 5]),
    "forced end": lambda: transformers.ForcedEOSTokenLogitsProcessor(7, 39),
    "no infinity": lambda: transformers.InfNanRemoveLogitsProcessor(),
    "top-h": lambda: transformers.TopHLogitsWarper(0.5),
    "allowed by prefix": lambda: transformers.PrefixConstrainedLogitsProcessor(lambda _, ids: [int(ids[-1]) % 39, 38], 1),
    "watermark": lambda: transformers.WatermarkLogitsProcessor(vocab_size=40, device="cpu"),
}


@pytest.mark.parametrize("name", MORE)
def test_any_processor_gives_its_own_row(name, both):
    """In a tree of prefixes, against the processor called on each path alone."""
    x = es.Prefix([1, 2, 1])
    nodes = [x, x + 5, x + 5 + 7, x + 9, x + 5 + 7 + 3]
    logits = both[1].forward(nodes, frozenset()).logits

    def ask(scorer):
        return (yield es.Ask(scorer, nodes))

    [found] = es.run(ask(both[1] | s.from_transformers(MORE[name]())))
    for i, node in enumerate(nodes):
        after = MORE[name]()(torch.tensor([node.ids()]), logits[i : i + 1].clone())[0]
        assert torch.allclose(found[i].probs(), torch.softmax(after, -1), atol=1e-6)


KINDS = [entry.name for entry in catalogue.entries("shaper") if not entry.needs]


@pytest.mark.parametrize("name", [*KINDS, "rpg", "mirostat 1", "self_terminating, monotone"])
def test_a_shaper_of_any_kind_has_its_law_in_generate(name, both):
    """Three texts side by side, reordered as beams are: each row is the one that the shaper gives here on that text."""
    special = {
        "rpg": lambda: s.rpg(es.regex("[a-z]*"), 0.3),
        "mirostat 1": lambda: s.mirostat(2.0, version=1),
        "self_terminating, monotone": lambda: s.self_terminating(0.1, monotone=True, relative=True),
    }
    make = special[name] if name in special else lambda: catalogue.find("shaper", name).typical()
    process, prompt = s.to_transformers(make(), VOCAB), [5, 7, 5]
    texts = [es.Prefix(prompt)] * 3
    for step in range(5):
        logits = both[1].forward(texts, frozenset()).logits
        after = process(torch.tensor([x.ids() for x in texts]), logits.clone())
        for i, x in enumerate(texts):
            shaper = make().bound(VOCAB)
            path = [x]
            while path[-1] is not x.origin:
                path.append(path[-1].parent)
            for node in reversed(path):  # one row after the other, as plain decoding shapes them
                [row] = both[1].forward([node], frozenset()).logits
                row = row if shaper.stage is es.Stage.LOGITS else torch.log_softmax(row, -1)
                expected = shaper(row[None], [node])[0]
            assert torch.allclose(torch.softmax(after[i], -1), torch.softmax(expected, -1), atol=1e-5), (step, i)
        best = [int(torch.softmax(after[i], -1).topk(2).indices[j]) for i, j in ((0, 0), (0, 1), (2 if step else 0, 0))]
        texts = [texts[0] + best[0], texts[0] + best[1], texts[2] + best[2]]


def test_what_is_no_processor_and_no_shaper_is_refused():
    for wrong in (
        lambda: s.from_transformers("top_k"),
        lambda: s.from_transformers(es.top_k(3)),
        lambda: s.from_transformers(LogitsProcessorList([transformers.TopKLogitsWarper(4)])),
        lambda: s.from_transformers(transformers.ClassifierFreeGuidanceLogitsProcessor(1.5)),
        lambda: s.to_transformers(transformers.TopKLogitsWarper(4), VOCAB),
        lambda: s.to_transformers(s.end_decay(1, 1.2), Vocab([b"a"])),
    ):
        with pytest.raises(es.InvalidInput):
            wrong()
