"""What every shaper and shaped scorer of the catalogue must keep: a row depends on its own path alone, and is never empty."""

from __future__ import annotations

import itertools

import pytest
import torch
from layered import Layers
from toys import random_lm

import espalier as es
from espalier import verification as v
from espalier.catalogue import entries
from espalier.constraints import regex
from espalier.testing import assert_same_law, exact_law
from espalier.text import Vocab

V, END = 4, 3
VOCAB = Vocab([b"a", b"b", b"ab", None], end=[END])


ENTRIES = {entry.name: entry for entry in entries("shaper")}
SHAPERS = {name: entry for name, entry in ENTRIES.items() if not entry.needs}
OTHERS = {  # made of more than one scorer, or in another form than the catalogue's example
    "fsd by hidden states": lambda scorer: es.shaping.fsd(scorer, 3, 0.45, n=2, vector=True),
    "mirostat 1": lambda scorer: scorer | es.shaping.mirostat(1.0, 0.4, version=1),
    "self_terminating, monotone": lambda scorer: scorer | es.shaping.self_terminating(0.1, monotone=True, relative=True),
}
SMALL = es.models.Table.random(V, 1, seed=5, vocab=VOCAB)
OTHERS |= {
    "contrast, beta": lambda scorer: es.shaping.contrast(scorer, SMALL, beta=0.5, last=1),
    "proxy, of one small model": lambda scorer: es.shaping.proxy(scorer, SMALL, scorer, a=0.5),
    "router that stays": lambda scorer: es.shaping.router(SMALL, scorer, 1.4, window=3, dwell=2),
    "dola, released": lambda scorer: es.shaping.dola(scorer, [0, 1, 3], released=True),
}
PROMPTS = {name: es.Prefix([i % 3, 1]) for i, name in enumerate(("negative", "leading", "safe", "opposite", "prompt"))}
PROMPTS |= {"context": es.Prefix([1]), "question": es.Prefix([0]), "assistant": es.Prefix([1])}


def objects(scorer):
    """What the examples of the catalogue name and nobody can type."""
    models = {"small": SMALL, "amateur": SMALL, "tuned": SMALL, "base": es.models.Table.random(V, 1, seed=6, vocab=VOCAB)}
    value = lambda texts: [x.last * 0.3 for x in texts]  # noqa: E731
    return {**PROMPTS, **models, "parts": [scorer, SMALL], "V": value, "guide": regex("((a|b|ab)b*)*")}


CATALOGUE = [*ENTRIES, *OTHERS]


def model() -> Layers:
    return Layers([es.models.Table.random(V, 2, seed=70 + i, scale=s) for i, s in enumerate((1.2, 0.6, 0.8, 0.7))], VOCAB)


def built(name: str, guide: es.Guide | None = None) -> es.Scorer:
    """The example on the toy model, under a guide in its place on the row."""
    if name in SHAPERS:
        shaper = SHAPERS[name].typical()
        if shaper.stage is es.Stage.LOGITS:
            return model() | shaper if guide is None else (model() | shaper) * guide
        return (model() if guide is None else model() * guide) | shaper
    base = model()
    made = OTHERS[name](base) if name in OTHERS else ENTRIES[name].typical(base, **objects(base))
    scorer = base | made if isinstance(made, es.Shaper) else made
    return scorer if guide is None or scorer.stage > es.Stage.CONSTRAINT else scorer * guide


def asks(scorer, prefixes):
    return (yield es.Ask(scorer, prefixes))


def rows(scorer, prefixes):
    [found] = es.run(asks(scorer, prefixes))
    return [found[i].dense() for i in range(len(prefixes))]


def tree(depth=3):
    """All prefixes of up to `depth` written tokens, as a tree, and the tokens of each."""
    nodes = {(): es.Prefix([1, 0])}
    for length in range(depth):
        for tokens in itertools.product((0, 1, 2), repeat=length):
            nodes |= {(*tokens, token): nodes[tokens] + token for token in (0, 1, 2)}
    return nodes


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_row_in_a_tree_and_in_a_batch_is_that_of_its_path(name):
    scorer, alone = built(name), {}
    for tokens in [(), (0,), (2, 1), (0, 0, 0), (1, 2, 1), (0, 1, 0)]:
        plain, x = built(name), es.Prefix([1, 0])
        [row] = rows(plain, [x])
        for token in tokens:  # one row after the other, as plain decoding asks for them
            x = x + token
            [row] = rows(plain, [x])
        alone[tokens] = row
    nodes = tree()
    for order in (1, -1):
        together = dict(zip(list(nodes)[::order], rows(built(name), list(nodes.values())[::order]), strict=True))
        for tokens, row in alone.items():
            assert torch.allclose(together[tokens].exp(), row.exp(), atol=1e-9), (tokens, order)
    for tokens, row in alone.items():  # and without the rows above it
        x = es.Prefix([1, 0])
        for token in tokens:
            x = x + token
        assert torch.allclose(rows(scorer, [x])[0].exp(), row.exp(), atol=1e-9), tokens


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_row_is_a_law_and_no_guide_empties_it(name):
    guide = regex("(a|ba)*b?")
    scorer = built(name, guide)
    if scorer.stage > es.Stage.CONSTRAINT and name not in SHAPERS:
        return  # its other form is under the guide
    state = {tokens: x for tokens, x in tree().items() if scorer.viable(x)}
    for tokens, row in zip(state, rows(scorer, list(state.values())), strict=True):
        assert abs(float(row.exp().sum()) - 1) < 1e-9, tokens
        text = VOCAB.join(tokens)
        allowed = [t for t in range(V) if guide.advance(guide.start(), text + VOCAB[t]) is not None or t == END]
        assert all(float(p) == 0 or t in allowed for t, p in enumerate(row.exp())), tokens


@pytest.mark.parametrize("name", CATALOGUE)
def test_speculation_gives_the_tokens_of_plain_decoding(name):
    stop = es.stop.budget(8) | es.stop.end([END])
    for seed in range(3):
        [plain] = es.run(es.sample(built(name), es.Prefix([1, 0]), stop, es.Rng(seed)))
        for drafter in (es.drafting.TokenRecycling(nodes=6), es.drafting.DraftModel(model(), tokens=3)):
            rule = v.SampleMatch()
            [fast] = es.run(es.speculate(built(name), es.Prefix([1, 0]), stop, drafter, rule, es.Rng(seed)))
            assert fast.ids() == plain.ids()


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_beam_scores_texts_as_their_paths_do(name):
    scorer = built(name)
    [found] = es.run(es.beam(scorer, es.Prefix([1, 0]), es.stop.budget(3), width=3, alpha=0.0))
    for one in found:
        plain, x, logp = built(name), es.Prefix([1, 0]), 0.0
        for token in one.prefix.written():
            [row] = rows(plain, [x])
            logp, x = logp + float(row[token]), x + token
        assert abs(logp - one.logp) < 1e-9


@pytest.mark.parametrize("name", sorted(SHAPERS.keys() - {"xtc"}))
def test_the_law_of_texts_is_the_product_of_rows(name):
    x, stop = es.Prefix([1, 0]), es.stop.budget(2)
    law = exact_law(lambda rng: es.sample(built(name), x, stop, rng), lambda y: tuple(y.written()))
    expected = {}
    for first in range(V):
        scorer = built(name)
        [row] = rows(scorer, [x])
        [after] = rows(scorer, [x + first])
        expected |= {(first, second): float((row[first] + after[second]).exp()) for second in range(V)}
    assert_same_law(law, {tokens: p for tokens, p in expected.items() if p > 0})


def layered_lm():
    """A language model of layers over bytes that likes letters."""
    tok = random_lm().tokenizer
    likely = torch.zeros(tok.vocab.size, dtype=torch.float64)
    likely[[i for i in range(tok.vocab.size) if tok.vocab[i].isalpha() or i in tok.vocab.end]] = 3
    tables = [es.models.Table.random(tok.vocab.size, 2, seed=k, scale=0.7) for k in range(4)]
    biased = es.models.Table(tok.vocab.size, 2, lambda context: tables[0].row(context) + likely)
    return es.LanguageModel(Layers([biased, *tables[1:]], tok.vocab), tok, "layers")


TYPED = [name for name, entry in ENTRIES.items() if set(entry.needs) <= {"model", "lm", "prompt", "guide"}]


@pytest.mark.parametrize("name", TYPED)
def test_a_name_is_a_shaper_of_generate(name):
    lm = layered_lm()
    text = f"{name}:{ENTRIES[name].example}"  # bare words are texts here: the negative prompt is "negative"
    stop = {"max_tokens": 6, "seed": 3, "temperature": 0.9}
    stop |= {"regex": "[a-z]{3,9}"} if "guide" in ENTRIES[name].needs else {}
    by_name = lm.generate(es.raw("ab"), shapers=[text], **stop)
    assert by_name.text == lm.generate(es.raw("ab"), shapers=[text], drafter=None, **stop).text
    if name in SHAPERS and SHAPERS[name].typical().stage is not es.Stage.TEMPERATURE:
        assert by_name.text == lm.generate(es.raw("ab"), shapers=[SHAPERS[name].typical()], **stop).text


def test_each_of_several_completions_has_coins_of_its_own():
    lm = random_lm(seed=2)
    one = lm.generate(es.raw("ab"), shapers=["xtc:0.01, 0.5"], max_tokens=6, n=2, seed=3, temperature=1.0)
    again = lm.generate(es.raw("ab"), shapers=["xtc:0.01, 0.5"], max_tokens=6, n=2, seed=3, temperature=1.0)
    assert [c.text for c in one] == [c.text for c in again]


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(es.InvalidInput, match="did you mean 'contrastive_search'"):
        random_lm().generate("x", shapers=["contrastiv_search:4"])
    with pytest.raises(es.InvalidInput, match="multiplier=-1"):
        random_lm().generate("x", shapers=["dry:-1"])


@pytest.mark.parametrize("name", sorted(ENTRIES.keys() - set(TYPED)))
def test_what_nobody_can_type_says_how_it_is_built(name):
    with pytest.raises(es.InvalidInput, match=f"build it: scorer=es.shaping.{name}"):
        layered_lm().generate(es.raw("ab"), shapers=[f"{name}:{ENTRIES[name].example}"])


def test_rpg_by_name_follows_the_guide_of_the_request():
    with pytest.raises(es.InvalidInput, match="follows the guide of a request"):
        layered_lm().generate(es.raw("ab"), shapers=["rpg"])
    lm, options = layered_lm(), {"regex": "([ab];){2,9}", "max_tokens": 12, "seed": 1}
    named = lm.generate(es.raw("x"), shapers=["rpg:0.01, 0.5"], **options)
    made = lm.generate(es.raw("x"), shapers=[es.shaping.rpg(es.regex("([ab];){2,9}"), 0.01, 0.5)], **options)
    assert named.tokens == made.tokens


def test_a_prompt_by_name_is_read_by_the_model():
    lm = layered_lm()
    named = lm.generate(es.raw("ab"), shapers=['guidance:"cd", 2.0'], max_tokens=6)
    made = lm.generate(es.raw("ab"), scorer=es.shaping.guidance(lm.scorer, lm.prompt("cd"), 2.0), max_tokens=6)
    also = lm.generate(es.raw("ab"), scorer=es.shaping.guidance(lm, "cd", 2.0), max_tokens=6)
    assert named.tokens == made.tokens == also.tokens
    with pytest.raises(es.InvalidInput, match="reads no text"):
        es.shaping.guidance(lm.scorer, "cd")
