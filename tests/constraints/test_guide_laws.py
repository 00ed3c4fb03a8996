"""Laws that every kind of guide obeys: under every decoder, on random walks, in the algebra; and how it is shown."""

from __future__ import annotations

import math
import pickle
import random
from typing import Any

import pytest
from constraints.guide_catalogue import GUIDES, ON_TOKENS, REGULAR, VOCAB
from constraints.languages import texts

import espalier as es
from espalier.constraints import Tag, picture, tags
from espalier.errors import DeadEnd, LimitExceeded, Unsatisfiable
from espalier.token_constraint import token_constraint

X, END = es.Prefix([0]), 6
EVERY: dict[str, Any] = GUIDES | ON_TOKENS
SHORT = texts(b"ab ", 4)


def model(seed: int) -> es.models.Table:
    made = es.models.Table.random(VOCAB.size, depth=1, seed=seed)
    made.vocab = VOCAB
    return made


@pytest.mark.parametrize("name", EVERY)
def test_speculation_writes_what_sampling_writes(name: str) -> None:
    guide = EVERY[name]
    scorer, stop, verify = model(7) * guide, es.stop.end([END]) | es.stop.budget(8), es.verification.SampleMatch()
    drafters = [es.drafting.PromptLookup(tokens=3)]
    drafters += [es.drafting.Forced(guide, VOCAB)] if isinstance(guide, es.Guide) else []
    for seed in range(5):
        [plain] = es.run(es.sample(scorer, X, stop, es.Rng(seed)))
        for drafter in drafters:
            [drafted] = es.run(es.speculate(scorer, X, stop, drafter, verify, es.Rng(seed)))
            assert drafted.written() == plain.written(), f"{name}, seed {seed}"
        if plain.last == END and isinstance(guide, es.Guide):
            assert guide.matches(VOCAB.join(plain.written()))


@pytest.mark.parametrize("name", EVERY)
def test_a_beam_as_wide_as_the_language_finds_the_best_text(name: str) -> None:
    """Enumerated by the plain path: every text of at most four tokens that the constraint lets end."""
    constraint, table, most = token_constraint(EVERY[name], VOCAB), model(3), 4
    found: dict[tuple[int, ...], float] = {}
    todo: list[tuple[tuple[int, ...], Any, float]] = [((), constraint.start(), 0.0)]
    while todo:
        tokens, state, logp = todo.pop()
        row = table.row((0, *tokens)[-1:]).double().log_softmax(-1)
        for token in range(VOCAB.size) if len(tokens) < most else []:
            if not constraint.allowed(state, token):
                continue
            whole = (*tokens, token), logp + float(row[token])
            if token == END:
                found[whole[0]] = whole[1]
            else:
                todo.append((whole[0], constraint.advance(state, token), whole[1]))
    scorer, stop = table * EVERY[name], es.stop.end([END]) | es.stop.budget(most)
    try:
        [hypotheses] = es.run(es.beam(scorer, X, stop, width=2500, alpha=0.0))
    except (Unsatisfiable, DeadEnd):
        assert not found
        return
    ended = [h for h in hypotheses if h.prefix.last == END]
    assert {tuple(h.prefix.written()) for h in ended} == set(found)
    for h in ended:
        assert h.logp == pytest.approx(found[tuple(h.prefix.written())], abs=1e-9)
    best = max(found.values(), default=-math.inf)
    assert max((h.logp for h in ended), default=-math.inf) == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize("name", EVERY)
def test_random_walks_are_never_stuck_unannounced(name: str) -> None:
    constraint, rng = token_constraint(EVERY[name], VOCAB), random.Random(1)
    letters = {0, 1, 2, END}  # every byte is a token, so a text that can go on always has a token
    for _ in range(60):
        state = constraint.start()
        for _ in range(10):
            ways = [token for token in letters if constraint.allowed(state, token)]
            if name == "canonical":
                ways = [token for token in range(VOCAB.size) if constraint.allowed(state, token)]
            assert ways or constraint.exactness == "over", f"{name}: stuck in {state!r}"
            token = rng.choice(ways) if ways else END
            if token == END:
                break
            state = constraint.advance(state, token)


@pytest.mark.parametrize("name", EVERY)
def test_it_prints_and_is_explained(name: str) -> None:
    guide = EVERY[name]
    assert "object at 0x" not in repr(guide)
    if not isinstance(guide, es.Guide):
        return
    parts = es.explain(guide)
    assert parts[0].term == repr(guide)
    assert all(part.runs and part.exactness in ("exact", "over") for part in parts)
    assert all((part.why == "") == (part.exactness == "exact") for part in parts)
    again = pickle.loads(pickle.dumps(guide))
    assert [again.matches(text) for text in SHORT[:40]] == [guide.matches(text) for text in SHORT[:40]]
    try:
        dot = picture(guide)
    except LimitExceeded:
        return
    assert dot.startswith("digraph {")
    assert "start -> 0;" in dot


def language(guide: es.Guide | None) -> set[bytes]:
    return set() if guide is None else {text for text in SHORT if guide.matches(text)}


def made(make: Any) -> es.Guide | None:
    """The guide, None where it is known to be empty."""
    try:
        guide: es.Guide = make()
        guide.start()
    except Unsatisfiable:
        return None
    return guide


@pytest.mark.parametrize("seed", range(12))
def test_the_algebra_is_associative_and_distributes(seed: int) -> None:
    names = random.Random(seed).choices(list(GUIDES), k=3)
    a, b, c = (GUIDES[name] for name in names)
    pairs = [
        (lambda: (a | b) | c, lambda: a | (b | c)),
        (lambda: (a & b) & c, lambda: a & (b & c)),
        (lambda: (a + b) + c, lambda: a + (b + c)),
        (lambda: a & (b | c), lambda: (a & b) | (a & c)),
        (lambda: (a | b) + c, lambda: (a + c) | (b + c)),
        (lambda: a + (b | c), lambda: (a + b) | (a + c)),
        (lambda: a | a, lambda: a),
        (lambda: a & a, lambda: a),
        (lambda: a.repeat(2, 2), lambda: a + a),
    ]
    for n, (left, right) in enumerate(pairs):
        one, other = made(left), made(right)
        if one is not None and other is not None:
            assert language(one) == language(other), f"law {n} of {names}"


@pytest.mark.parametrize("seed", range(12))
def test_de_morgan_s_laws_where_there_is_a_complement(seed: int) -> None:
    names = random.Random(seed).choices(list(REGULAR), k=2)
    a, b = (REGULAR[name] for name in names)
    none: set[bytes] = set()
    assert language(~(a | b)) == language(made(lambda: ~a & ~b))
    assert language(made(lambda: ~(a & b))) == language(~a | ~b)
    assert language(~~a) == language(a)
    assert language(made(lambda: a & ~a)) == none
    assert language(made(lambda: a | ~a)) == set(SHORT)


def tagged(text: bytes, inside: set[bytes], opened: bool) -> bool:
    """Whether a text is free text with regions a…b: by its meaning."""
    at = text.find(b"a")
    if at < 0:
        return not opened
    ends = [n for n in range(at + 1, len(text) + 1) if text[n : n + 1] == b"b" and text[at + 1 : n] in inside]
    return any(tagged(text[n + 1 :], inside, False) for n in ends)


@pytest.mark.parametrize("name", ["regex", "avoids", "ends_with", "cfg", "ltl", "choices"])
def test_tags_inside_repeat_and_beside_others(name: str) -> None:
    content = GUIDES[name]
    inside = {text for text in texts(b"ab ", 5) if content.matches(text)}
    region = tags([Tag("a", content, "b")], at_least_one=True)
    every = texts(b"ab ", 5)
    one = {text for text in every if tagged(text, inside, True)}
    assert {text for text in every if region.matches(text)} == one
    twice = {x + y for x in one for y in one}
    repeated = region.repeat(1, 2)
    assert {text for text in every if repeated.matches(text)} == {text for text in every if text in one | twice}
    for other_name in ("word_lengths", "predicate", "substring"):
        other = GUIDES[other_name]
        both, either = made(lambda other=other: region & other), made(lambda other=other: region | other)
        members = {text for text in every if other.matches(text)}
        assert {t for t in every if both is not None and both.matches(t)} == one & members
        assert {t for t in every if either is not None and either.matches(t)} == one | members
