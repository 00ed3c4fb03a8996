"""Wrong calls of the public surface: each is refused before anything runs, in words that say what to write instead."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from ids import plain
from toys import random_lm, speaks

import espalier as es
from espalier.errors import InvalidInput

LM, CHAT = random_lm(), speaks(["[user]Hi[assistant]Hello!"], chat=True)
TABLE = es.models.Table.random(vocab_size=4, depth=2, seed=0)
X, STOP, RNG = es.Prefix([1]), es.stop.budget(2), es.Rng(0)
LOOKUP, MATCH = es.drafting.PromptLookup(), es.verification.SampleMatch()

OPTIONS = [
    ({"max_tokens": "5"}, "max_tokens was '5'; expected a whole number"),
    ({"max_tokens": 5.5}, "max_tokens was 5.5; expected a whole number"),
    ({"max_tokens": None}, "expected a whole number"),
    ({"max_tokens": -1}, "at least one token"),
    ({"n": 1.5}, "n was 1.5; expected a whole number"),
    ({"n": 0}, "at least one completion"),
    ({"seed": 1.5}, "seed was 1.5; expected a whole number or None"),
    ({"seed": -4}, "not negative"),
    ({"temperature": "hot"}, "temperature was 'hot'; expected a number"),
    ({"temperature": float("nan")}, "temperature=nan"),
    ({"temperature": True}, "expected a number"),
    ({"top_k": 2.5}, "top_k was 2.5; expected a whole number or None"),
    ({"top_p": 1.5}, "at most 1"),
    ({"max_seconds": "1"}, "expected a number or None"),
    ({"repetition_penalty": 0}, "must be positive"),
    ({"logit_bias": [1, 2]}, "token ids with what is added"),
    ({"logit_bias": {"a": 1}}, "the id of a token"),
    ({"logit_bias": {1: "a"}}, "a value of logit_bias was 'a'"),
    ({"logit_bias": {10**9: 1.0}}, "outside this vocabulary"),
    ({"heal": "yes"}, "True or False"),
    ({"stop": 5}, "a text or a list of texts"),
    ({"stop": [5]}, "es.stop.end"),
    ({"stop": ""}, "a stop string is empty"),
    ({"max_token": 5}, "did you mean max_tokens?"),
    ({"regex": "a", "choices": ["b"]}, "regex and choices: a request has one constraint"),
    ({"regex": 5}, "a pattern is a str"),
    ({"choices": [1, 2]}, "1 is no text"),
    ({"choices": 5}, "texts, such as"),
    ({"grammar": 3}, "3 is no text"),
    ({"constraint": "[a-z]+"}, r"write regex='\[a-z\]\+'"),
    ({"schema": 5}, "is no schema"),
    ({"drafter": "speculative"}, "use one of auto, lookup"),
    ({"drafter": es.drafting.PromptLookup}, "drafter was the class PromptLookup; expected"),
    ({"drafter": 5}, "a drafter: es.drafting.PromptLookup"),
    ({"verifier": "greedy"}, "a verifier, such as"),
    ({"verifier": es.verification.SampleMatch}, "the class SampleMatch"),
    ({"drafter": None, "verifier": MATCH}, "nothing to verify"),
]


@pytest.mark.parametrize(("options", "says"), OPTIONS, ids=plain)
def test_an_option_that_cannot_work_is_refused_with_what_to_write(options, says):
    with pytest.raises(es.InvalidInput, match=says):
        LM.generate(es.raw("ab"), **options)
    assert not LM.model.passes


@pytest.mark.parametrize("prompt", [5, None, b"hello", {"role": "user", "content": "x"}, {1, 2}], ids=plain)
def test_a_prompt_of_another_kind_is_refused_with_what_to_write(prompt):
    with pytest.raises(es.InvalidInput, match=r"expected a text, es\.raw\(text\), a list of messages"):
        LM.generate(prompt)


CALLS: dict[str, tuple[Callable[[], object], str]] = {
    "a text for a list of prompts": (lambda: LM.complete_all("ab"), "a list of prompts"),
    "a number as decoder": (lambda: es.run(5), "a generator such as es.sample"),
    "a list of decoders": (lambda: es.run([es.sample(TABLE, X, STOP, RNG)]), r"run\(a, b\)"),
    "a number as stop": (lambda: es.run(es.sample(TABLE, X, 5, RNG)), "the stop of a decoder was 5"),
    "tokens as prefix": (lambda: es.run(es.sample(TABLE, [1], STOP, RNG)), r"the prefix of a decoder was \[1\]"),
    "a seed as rng": (lambda: es.run(es.sample(TABLE, X, STOP, 0)), r"es.Rng\(seed\)"),
    "a language model as scorer": (lambda: es.run(es.sample(LM, X, STOP, RNG)), "lm.scorer"),
    "a language model as draft model": (
        lambda: es.run(es.speculate(TABLE, X, STOP, es.drafting.DraftModel(LM), MATCH, RNG)),
        "the draft model was",
    ),
    "drafter and verifier exchanged": (lambda: es.run(es.speculate(TABLE, X, STOP, MATCH, LOOKUP, RNG)), "the drafter was"),
    "the class of a verifier": (
        lambda: es.run(es.speculate(TABLE, X, STOP, LOOKUP, type(MATCH), RNG)),
        "the class SampleMatch",
    ),
    "a beam of numbers": (lambda: es.run(es.beam(TABLE, [1], STOP, 2)), "the prefix of a decoder"),
    "a text as prefix": (lambda: es.Prefix("abc"), "lm.prompt"),
    "a text after a prefix": (lambda: X + "a", "tokens are whole numbers"),
    "a stop and a text": (lambda: STOP | "x", "another condition"),
    "one end token": (lambda: es.stop.end(5), r"end\(\[2\]\)"),
    "a fraction as seed": (lambda: es.Rng(1.5), "a seed is a whole number"),
    "a text as temperature": (lambda: es.temperature("hot"), "temperature was 'hot'"),
    "a fraction as top-k": (lambda: es.top_k(2.5), "a whole number"),
    "a text as top-p": (lambda: es.top_p("0.9"), "top_p was '0.9'"),
    "a text as penalty": (lambda: es.repetition("1.1"), "repetition_penalty was"),
    "a fraction as budget": (lambda: es.stop.budget(2.5), "max_tokens was 2.5"),
    "a text as deadline": (lambda: es.stop.deadline("1"), "max_seconds was '1'"),
    "a text as draft budget": (lambda: es.drafting.PromptLookup(tokens="3"), "tokens was '3'"),
    "a fraction as tree": (lambda: es.drafting.Beam(width=2.5), "width was 2.5"),
    "no pattern": (lambda: es.regex(None), "a pattern is a str"),
    "a guide that reads a str": (lambda: es.regex("a").matches("a"), r"text.encode\(\)"),
    "a guide that goes on with a str": (lambda: es.regex("a").advance(es.regex("a").start(), "a"), r"text.encode\(\)"),
    "masks without a vocabulary": (lambda: es.masks(es.regex("a"), LM.tokenizer), "lm.vocab"),
    "masks, exchanged": (lambda: es.masks(LM.vocab, es.regex("a")), "give a guide"),
    "a mask buffer that is too small": (
        lambda: es.masks(es.regex("a"), LM.vocab).start(torch.zeros(3, dtype=torch.int32)),
        "this vocabulary needs",
    ),
    "a grammar that does not ship": (lambda: es.grammars.text("cobol"), "there are: arithmetic"),
    "texts as tokens": (lambda: es.text.Vocab(["a"]), "the bytes that it writes"),
    "bytes to encode": (lambda: LM.tokenizer.encode(b"a"), r"data.decode\(\)"),
    "a number as model": (lambda: es.load(5), "a text or a path"),
    "a message without content": (lambda: CHAT.generate([{"role": "user"}]), "says nothing"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_call_is_told_what_to_write(name):
    call, says = CALLS[name]
    with pytest.raises(es.InvalidInput, match=says):
        call()


HALF = "a\ud800"


@pytest.mark.parametrize(
    "make",
    [
        lambda: es.regex(HALF),
        lambda: es.constraints.choices([HALF]),
        lambda: es.cfg(f'root ::= "{HALF}"'),
        lambda: es.constraints.tags([es.constraints.Tag(HALF, es.regex("a"), "b")]),
        lambda: es.token(HALF),
        lambda: es.json_schema({"enum": [HALF]}),
        lambda: es.json_schema('{"enum": ["' + HALF + '"]}'),
        lambda: es.constraints.avoids(HALF),
        lambda: es.constraints.parse({"type": "string"}, f'"{HALF}"'),
        lambda: es.stop.strings(HALF, es.text.Vocab([b"a"])),
    ],
    ids=["regex", "choices", "cfg", "tags", "token", "schema", "schema-text", "avoids", "parse", "stop"],
)
def test_half_a_character_is_told(make):
    with pytest.raises(InvalidInput, match=r"surrogate|half of a character|UTF-8"):
        make()
