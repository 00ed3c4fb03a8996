"""Whatever stands in the catalogue keeps the laws of its kind; a new line is tested by this file alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from layered import Layers
from toys import random_lm, transformer

import espalier as es
from espalier import catalogue
from espalier.decoders.decoder import Decoding, finds
from espalier.drafting.draft import Draft, Drafter
from espalier.scorer import Scorer
from espalier.testing import exact_law
from espalier.text import Vocab
from espalier.verification.verifier import Verifier

VOCAB = Vocab([b"a", b"b", b"ab", b"c", None], end=[4])
MODEL = es.models.Table.random(vocab_size=5, depth=2, seed=1, vocab=VOCAB)
LAYERED = Layers.random(5, [1.5, 0.8, 1.0], seed=2)
LAYERED.vocab = VOCAB
EMBEDDING = transformer(vocab_size=5)
EMBEDDING.vocab = VOCAB
X = es.Prefix([0, 1])


def entries(kind: catalogue.Kind) -> list[Any]:
    return [pytest.param(entry, id=entry.name) for entry in catalogue.entries(kind)]


SMALL, SMALLER = (es.models.Table.random(vocab_size=5, depth=1, seed=s, vocab=VOCAB) for s in (5, 6))


def objects(scorer: Scorer) -> dict[str, Any]:
    """What the examples of the catalogue name and nobody can type."""
    prompts = {name: es.Prefix([i % 4, 1]) for i, name in enumerate(("negative", "leading", "safe", "opposite", "prompt"))}
    more = {
        "context": es.Prefix([1]),
        "question": es.Prefix([0]),
        "assistant": es.Prefix([2]),
        "guide": es.regex("([abc]{2})*"),
    }
    models = {"small": SMALL, "amateur": SMALL, "tuned": SMALL, "base": SMALLER, "parts": [scorer, SMALL]}
    return {**prompts, **more, **models, "V": lambda texts: [0.3 * x.last for x in texts]}


def shaped(entry: catalogue.Entry, scorer: Scorer) -> Scorer:
    """The scorer with the entry's example: behind a bar, or around it where it asks for more than a row."""
    made = entry.typical(scorer, **objects(scorer))
    return made if isinstance(made, Scorer) else scorer | made


def rows(scorer: Scorer, prefixes: list[es.Prefix]) -> es.Rows:
    def ask():
        return (yield es.Ask(scorer, prefixes))

    [found] = es.run(ask())
    return found


@pytest.mark.parametrize("entry", entries("shaper"))
def test_a_shaper_on_a_tree_is_the_shaper_on_each_path(entry: catalogue.Entry) -> None:
    model = LAYERED if entry.needs else MODEL
    scorer = shaped(entry, model)
    tree = [X, X + 1, X + 2, X + 1 + 3, X + 1 + 3 + 0, X + 2 + 2]
    together = rows(scorer, tree).dense()
    for i, x in enumerate(tree):
        again = X
        for token in x.since(X):
            again = again + token
        alone = rows(shaped(entry, model), [again])[0].dense()
        torch.testing.assert_close(together[i], alone, atol=1e-12, rtol=0)
        assert abs(float(alone.exp().sum()) - 1) < 1e-9


@pytest.mark.parametrize("entry", entries("shaper"))
def test_a_shaper_leaves_something_under_a_guide_and_drafts_change_no_text(entry: catalogue.Entry) -> None:
    guide = es.regex("[abc]{3}" if not entry.needs else "[abc]{0,6}")
    if entry.needs:  # it chooses among the best tokens before the guide does, so the guide must leave one of them
        guided = shaped(entry, LAYERED) * guide
    else:
        shaper = entry.typical(MODEL)
        guided = MODEL * guide | shaper if shaper.stage > es.Stage.CONSTRAINT else (MODEL | shaper) * guide
    stop = es.stop.end(VOCAB.end) | es.stop.budget(6)
    for seed in range(4):
        [plain] = es.run(es.sample(guided, X, stop, es.Rng(seed)))
        drafter, verify = es.drafting.PromptLookup(shortest=1), es.verification.SampleMatch()
        [drafted] = es.run(es.speculate(guided, X, stop, drafter, verify, es.Rng(seed)))
        assert plain.ids() == drafted.ids()
        written = [token for token in plain.written() if token not in VOCAB.end]
        assert guide.matches(VOCAB.join(written))


@pytest.mark.parametrize("entry", [each for each in entries("drafter") if each.values[0].typed])
def test_a_drafter_changes_no_text(entry: catalogue.Entry) -> None:
    if entry.name == "quantised":
        pytest.skip("it rounds the weights of a model, and a table has none: see tests/drafting/test_real_text.py")
    if "model" in entry.needs:
        stop = es.stop.budget(8)
        for seed in range(3):
            drafter = entry.typical(LAYERED)
            [plain] = es.run(es.sample(LAYERED, X, stop, es.Rng(seed)))
            [drafted] = es.run(es.speculate(LAYERED, X, stop, drafter, es.verification.SampleMatch(), es.Rng(seed)))
            assert drafted.ids() == plain.ids()
        return
    lm = random_lm(3)
    drafter = entry.typical(lm.model)
    assert isinstance(drafter, Drafter)
    for seed in range(3):
        options = {"max_tokens": 24, "temperature": 0.7 * seed, "seed": seed}
        plain = lm.complete(es.raw("abab"), drafter=None, **options)
        assert lm.complete(es.raw("abab"), drafter=drafter, **options).tokens == plain.tokens


class OneLevel(Drafter):
    """One drawn node, or two deterministic ones, as the verifier accepts."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind

    def propose(self, x, rng):
        yield from ()
        draft = Draft(x)
        if self.kind == "deterministic":
            draft.add(0, 1)
            draft.add(0, 3)
        else:
            draft.drawn(0, torch.tensor([0.125, 0.25, 0.25, 0.375, 0.0], dtype=torch.float64), self.kind == "with replacement")
            draft.draw(0, rng)
        return draft


@pytest.mark.parametrize("entry", entries("verifier"))
def test_a_verifier_keeps_what_it_guarantees(entry: catalogue.Entry) -> None:
    model = LAYERED if entry.needs else MODEL
    verify = entry.typical(model, weight=torch.zeros(5, dtype=torch.float64))
    assert isinstance(verify, Verifier)
    kinds = [kind for kind in ("deterministic", "with replacement", "without replacement") if kind in verify.accepts]
    assert kinds
    stop = es.stop.budget(2)
    target = model | es.temperature(0) if verify.guarantee == "greedy" else model
    plain = exact_law(lambda rng: es.sample(target, X, stop, rng), lambda x: tuple(x.written()))
    for kind in kinds:
        decoder = lambda rng, kind=kind: es.speculate(target, X, stop, OneLevel(kind), verify, rng)  # noqa: E731
        law = exact_law(decoder, lambda x: tuple(x.written()))
        assert abs(sum(law.values()) - 1) < 1e-9
        apart = sum(abs(law.get(text, 0.0) - plain.get(text, 0.0)) for text in law.keys() | plain.keys())
        assert apart < 1e-9 or verify.guarantee == "lossy"


@pytest.mark.parametrize("entry", entries("decoder"))
def test_a_decoder_finds_texts_that_the_guide_allows(entry: catalogue.Entry) -> None:
    decoder, guide = entry.typical(MODEL), es.regex("(a|b|c){2}")
    scorer = EMBEDDING if entry.name == "superposed" else MODEL
    assert isinstance(decoder, Decoding)
    stop = es.stop.end(VOCAB.end) | es.stop.budget(6)
    [result] = es.run(decoder(scorer * guide, X, stop, es.Rng(0)))
    found = finds(result, X)
    assert found
    for each in found:
        assert guide.matches(VOCAB.join(each.prefix.written()))


def test_every_entry_says_its_arguments_and_refuses_others() -> None:
    for entry in catalogue.entries():
        assert entry.arguments is not None
        with pytest.raises(es.InvalidInput):
            entry.make("no_such_argument=1", MODEL, **objects(MODEL))
        if set(entry.needs) - {"model", "lm", "vocab_size"}:
            with pytest.raises(es.InvalidInput, match=f"{entry.name}.*needs|{entry.name}.*guide"):
                entry.make("", MODEL)


def test_every_public_shaper_stands_in_the_catalogue() -> None:
    """What `es.shaping` gives and shapes rows can be found by name, with its arguments; the rest is named here."""
    parts = {"Counts", "Detection", "History", "Mixture", "Reprompted", "from_transformers", "to_transformers"}
    options = {"only", "not_before"}  # `allowed_tokens=` and `min_tokens=` of a request
    assert set(es.shaping.__all__) - parts - options == set(catalogue.names("shaper"))


def test_every_public_drafter_policy_and_verifier_stands_in_the_catalogue() -> None:
    """What `es.drafting` and `es.verification` give can be found by name; policies made of policies are named here."""
    from espalier.drafting.compose import Several
    from espalier.drafting.policies import LengthPolicy, TreePolicy

    made_of_policies = {"Both", "Recorder"}
    made_of_drafters = {"Cascade", "Fuse"}  # in the catalogue as `cascade` and `fuse`, of two drafters
    known = {entry.callable for entry in catalogue.entries()}
    for room, kinds in ((es.drafting, (Drafter, LengthPolicy, TreePolicy)), (es.verification, (Verifier,))):
        for name in room.__all__:
            found = getattr(room, name)
            if isinstance(found, type) and issubclass(found, kinds) and found not in (*kinds, Several):
                assert found in known or name in made_of_policies | made_of_drafters, name
