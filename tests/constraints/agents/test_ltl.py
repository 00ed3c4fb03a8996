"""Temporal logic on finite traces against its direct meaning; plans as guides; tools that answer; what is told."""

from __future__ import annotations

import itertools
import pickle
import random

import pytest

import espalier as es
from espalier.constraints import Segment, ltl
from espalier.constraints.agents.formula import automaton, read
from espalier.decoders import Answered
from espalier.errors import InvalidInput, Unsatisfiable
from espalier.text.vocab import Vocab

NAMES = ["a", "b", "c"]
TRACES = [list(trace) for n in range(5) for trace in itertools.product(NAMES, repeat=n)]


def holds(f, trace: list[str], at: int = 0) -> bool:
    """The direct meaning (De Giacomo and Vardi 2013)."""
    kind = f[0]
    if kind in ("true", "false"):
        return kind == "true"
    if kind == "name":
        return at < len(trace) and trace[at] == f[1]
    if kind == "not":
        return not holds(f[1], trace, at)
    if kind in ("and", "or"):
        return (all if kind == "and" else any)(holds(part, trace, at) for part in f[1])
    if kind in ("X", "N"):
        there = at + 1 < len(trace)
        return holds(f[1], trace, at + 1) if there else kind == "N"
    later = range(at, len(trace))
    if kind == "U":
        return any(holds(f[2], trace, j) and all(holds(f[1], trace, i) for i in range(at, j)) for j in later)
    return all(holds(f[2], trace, j) or any(holds(f[1], trace, i) for i in range(at, j)) for j in later)


def grown(rng: random.Random, depth: int) -> str:
    if depth == 0:
        return rng.choice([*NAMES, "true", "last"])
    kind = rng.choice(["!", "X", "N", "F", "G", "&", "|", "->", "<->", "U", "W"])
    if kind in ("!", "X", "N", "F", "G"):
        return f"{kind} ({grown(rng, depth - 1)})"
    return f"(({grown(rng, depth - 1)}) {kind} ({grown(rng, depth - 1)}))"


@pytest.mark.parametrize("seed", range(20))
def test_automata_accept_what_the_formula_means(seed: int) -> None:
    rng = random.Random(seed)
    for depth in (1, 2, 2, 3):
        text = grown(rng, depth)
        formula = read(text, NAMES)
        found = automaton(formula, NAMES)
        for trace in TRACES:
            state: int | None = 0 if found is not None else None
            for name in trace:
                state = found.ways[state].get(name) if found is not None and state is not None else None
            accepted = found is not None and state is not None and found.ends[state]
            if trace:
                assert accepted == holds(formula, trace), f"{text} on {trace}"
        if found is not None:
            assert all(found.ends[at] or ways for at, ways in enumerate(found.ways)), "every state leads to an end"


@pytest.mark.parametrize("formula", ["G(a -> X b) & F c & G(c -> last)", "a & X(!c W b)", "F b | G a", "a U (b & N c)", "last"])
def test_plans_have_the_language_of_the_formula(formula: str) -> None:
    parts = {
        "a": Segment("a", es.regex("x?"), "."),
        "b": Segment("b", es.choices(["y"]), ""),
        "c": Segment("c", es.regex(""), "."),
    }
    texts = {"a": [b"a.", b"ax."], "b": [b"by"], "c": [b"c."]}
    plan = ltl(formula, parts)
    read_formula = read(formula, NAMES)
    members = set()
    for trace in TRACES:
        if trace and holds(read_formula, trace):
            members |= {b"".join(pieces) for pieces in itertools.product(*(texts[name] for name in trace))}
    alive = {text[:n] for text in members for n in range(len(text) + 1)}
    every = {b"".join(pieces) for trace in TRACES[1:] for pieces in itertools.product(*(texts[name] for name in trace))}
    for text in every:
        assert plan.matches(text) == (text in members), text
        for n in range(min(len(text), 5)):
            if text[:n] in alive:
                assert plan.advance(plan.start(), text[:n]) is not None
    assert plan.exactness == "exact"
    again = pickle.loads(pickle.dumps(plan))
    assert again.next([]) == plan.next([])
    assert repr(plan).startswith("ltl(")


VOCAB = Vocab([b"Act: ", b"look", b"\n", b"See: ", b"cat", b"Say: ", b"\nSee: c", b"t", None], end=[8])


def agent(answer, formula: str = "Act & G(Act -> X See) & G(See -> X (Act | Say)) & G(Say -> last)"):
    parts = {"Act": Segment("Act: "), "See": Segment("See: ", answer=answer), "Say": Segment("Say: ")}
    return ltl(formula, parts)


def encode(text: str) -> list[int]:
    tokens = VOCAB.cut(text.encode())
    assert VOCAB.join(tokens).decode() == text
    return tokens


def test_tools_write_their_segments_and_the_model_the_rest() -> None:
    asked: list[str] = []

    def answer(text: str) -> str:
        asked.append(text)
        return "cat" * len(asked)

    model = es.models.Table.random(VOCAB.size, depth=1, seed=2)
    model.vocab = VOCAB
    stop = es.stop.end([8]) | es.stop.budget(60)
    answered = 0
    for seed in range(20):
        asked.clear()
        plan = agent(answer)
        [[found]] = es.run(Answered(plan, VOCAB, encode)(model * plan, es.Prefix([2]), stop, es.Rng(seed)))
        text = VOCAB.join(found.prefix.written()).decode()
        seen = [line for line in text.split("\n") if line.startswith("See: ")]
        whole = seen if text.endswith("\n") or not text.split("\n")[-1].startswith("See: ") else seen[:-1]
        assert whole == [f"See: {'cat' * (n + 1)}" for n in range(len(whole))], "only the tool writes what was seen"
        for before in asked:
            assert before.split("\n")[-2].startswith("Act: ")
        answered += len(asked)
        if found.prefix.last == 8:
            assert plan.matches(text.encode())
    assert answered > 10


def test_a_react_agent_and_a_self_ask_agent() -> None:
    react = ltl(
        "Thought & G(Thought -> X (Action | Answer)) & G(Action -> X Observation) & G(Observation -> X Thought)"
        " & G(Answer -> last)",
        {name: Segment(f"{name}: ") for name in ("Thought", "Action", "Observation", "Answer")},
    )
    assert react.next(["Thought", "Action"]) == (["Observation"], False)
    assert react.next(["Thought", "Answer"]) == ([], True)
    ask = ltl(
        "G(Followup -> X Intermediate) & G(Intermediate -> X (Followup | Final)) & F Final & G(Final -> last)",
        {
            "Followup": Segment("Follow up: "),
            "Intermediate": Segment("Intermediate answer: "),
            "Final": Segment("So the answer is: "),
        },
    )
    assert ask.matches(b"Follow up: who?\nIntermediate answer: she\nSo the answer is: she\n")
    assert not ask.matches(b"Follow up: who?\nSo the answer is: she\n")


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (
            lambda: ltl("a & X b & G a", {"a": Segment("a"), "b": Segment("b")}),
            Unsatisfiable,
            "no finite order of a, b satisfies",
        ),
        (lambda: ltl("a & ", {"a": Segment("a")}), InvalidInput, "it ends too early"),
        (lambda: ltl("a ) b", {"a": Segment("a")}), InvalidInput, "one too many"),
        (lambda: ltl("(a", {"a": Segment("a")}), InvalidInput, "a bracket is not closed"),
        (lambda: ltl("a % b", {"a": Segment("a")}), InvalidInput, "cannot be read at"),
        (lambda: ltl("z", {"a": Segment("a")}), InvalidInput, "there is no segment 'z'; there are a"),
        (lambda: ltl("a", {}), InvalidInput, "give the segments by name"),
        (lambda: ltl("a", {"a": "x"}), InvalidInput, r"write Segment\('a: '\)"),  # type: ignore[dict-item]
        (lambda: ltl(3, {"a": Segment("a")}), InvalidInput, "a formula is a text"),  # type: ignore[arg-type]
        (lambda: Answered(agent(str, "F See"), VOCAB, encode), InvalidInput, "the formula must say when a tool answers"),
        (lambda: Answered("plan", VOCAB, encode), InvalidInput, "the plan of Answered"),  # type: ignore[arg-type]
    ],
)
def test_wrong_use_is_told(call, error, says: str) -> None:
    with pytest.raises(error, match=says):
        call()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda text: "two\nlines", "which is no text of its segment"),
        (lambda text: 3, "answered 3"),
        (lambda text: 1 / 0, "the answer of See raised ZeroDivisionError"),
    ],
)
def test_wrong_answers_are_told(answer, says: str) -> None:
    model = es.models.Table.random(VOCAB.size, depth=1, seed=2)
    model.vocab = VOCAB
    plan = agent(answer)
    with pytest.raises(InvalidInput, match=says):
        es.run(Answered(plan, VOCAB, encode)(model * plan, es.Prefix([2]), es.stop.budget(60), es.Rng(0)))
