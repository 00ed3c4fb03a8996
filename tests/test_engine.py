"""The engine: threads, interrupts, and decoders, shapers, drafters and models that go wrong, each alone."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections.abc import Callable, Generator
from typing import Any

import pytest
import torch

import espalier as es
from espalier.errors import BrokenRow, Interrupted, InvalidInput, LimitExceeded, Unsatisfiable
from tests.toys import random_lm

MODEL = es.models.Table.random(vocab_size=5, depth=3, seed=0)


def text(i: int, scorer: es.Scorer = MODEL, tokens: int = 6) -> Generator[Any, Any, es.Prefix]:
    return es.sample(scorer, es.Prefix([i % 5]), es.stop.budget(tokens), es.Rng(i))


ALONE = [es.run(text(i))[0].ids() for i in range(40)]


def test_threads_add_step_read_and_cancel_in_one_engine() -> None:
    engine, wrong = es.Engine(), list[int]()

    def work(thread: int) -> None:
        rng = random.Random(thread)
        for _ in range(60):
            i = rng.randrange(40)
            number = engine.add(text(i))
            if rng.random() < 0.2:
                engine.cancel(number)
            elif rng.random() < 0.5:
                kept = [keep.prefix for keep in engine.stream(number)]
                if kept[-1].ids() != ALONE[i] or engine.result(number) is not kept[-1]:
                    wrong.append(i)
            elif engine.result(number).ids() != ALONE[i]:
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while engine.step():
        pass
    assert not wrong
    assert (len(engine), engine.errors, engine._kept, engine._loop.results) == (0, {}, {}, {})


def test_adding_and_cancelling_wait_for_no_pass() -> None:
    inside, go_on = threading.Event(), threading.Event()

    class Slow(es.Model):
        vocab_size = 5

        def forward(self, prefixes: Any, want: Any) -> es.Rows:
            inside.set()
            go_on.wait(5)
            return es.Rows(torch.zeros(len(prefixes), 5), prefixes)

    engine = es.Engine()
    number = engine.add(text(1, Slow(), 1))
    stepping = threading.Thread(target=engine.step)
    stepping.start()
    inside.wait(5)
    start = time.perf_counter()
    other = engine.add(text(2))
    engine.cancel(number)
    assert time.perf_counter() - start < 1
    go_on.set()
    stepping.join()
    with pytest.raises(Interrupted):
        engine.result(number)
    assert engine.result(other).ids() == ALONE[2]


def broken() -> dict[str, Callable[[], Any]]:
    """Decoders, shapers, drafters, guides and models that raise or hand over nonsense."""

    class Wrong(es.Shaper):
        stage = es.Stage.LOGITS

        def __init__(self, make: Callable[[torch.Tensor], Any], stage: es.Stage = es.Stage.LOGITS) -> None:
            self.make, self.stage = make, stage  # type: ignore[misc]

        def __call__(self, weights: torch.Tensor, prefixes: Any) -> Any:
            return self.make(weights)

    class Answers(es.Scorer):
        vocab_size = 5

        def answer(self, prefixes: Any, want: Any) -> Any:
            return torch.zeros(1)

    class Gives(es.Model):
        vocab_size = 5

        def __init__(self, given: Any) -> None:
            self.given = given

        def forward(self, prefixes: Any, want: Any) -> Any:
            return self.given

    class Proposes(es.drafting.Drafter):
        def __init__(self, make: Callable[[es.Prefix], Any]) -> None:
            self.make = make

        def propose(self, x: es.Prefix, rng: es.Rng) -> Any:
            yield from ()
            return self.make(x)

    class NoGenerator(Proposes):
        def propose(self, x: es.Prefix, rng: es.Rng) -> Any:
            return self.make(x)

    def yields(thing: Any) -> Generator[Any, Any, None]:
        yield thing

    class Verifies(es.verification.Verifier):
        guarantee = "same tokens"

        def __init__(self, make: Callable[[Any], Any]) -> None:
            self.make = make

        def __call__(self, draft: Any, rows: Any, rng: Any) -> Any:
            return self.make(draft)

    def drafted(drafter: es.drafting.Drafter, make: Callable[[Any], Any] | None = None) -> Any:
        verify = es.verification.SampleMatch() if make is None else Verifies(make)
        return es.speculate(MODEL, es.Prefix([1]), es.stop.budget(5), drafter, verify, es.Rng(0))

    return {
        "a decoder yielded 7": lambda: yields(7),
        "a decoder yielded None": lambda: yields(None),
        "the scorer of an Ask": lambda: yields(es.Ask("model", [es.Prefix([1])])),  # type: ignore[arg-type]
        "Answers.answer": lambda: text(0, Answers()),
        "Wrong made a tensor of shape [5]": lambda: text(0, MODEL | Wrong(lambda w: w[0])),
        "Wrong made None": lambda: text(0, MODEL | Wrong(lambda w: None)),
        "shape [1, 4]": lambda: text(0, MODEL | Wrong(lambda w: w[:, 1:], es.Stage.TRUNCATION)),
        "division": lambda: text(0, MODEL | Wrong(lambda w: 1 / 0)),
        "Gives.forward returned None": lambda: text(0, Gives(None)),
        "1 rows [1, 4]": lambda: text(0, Gives(es.Rows(torch.zeros(1, 4), [es.Prefix([1])]))),
        "no token is left": lambda: text(0, MODEL | Wrong(lambda w: w - torch.inf, es.Stage.TRUNCATION)),
        "made a tensor of shape [1, 5], torch.int64": lambda: text(0, MODEL | Wrong(lambda w: w.long())),
        "a decoder yielded Keep(prefix=7": lambda: yields(es.Keep(7)),  # type: ignore[arg-type]
        "yielded nothing": lambda: drafted(Proposes(es.drafting.Draft), lambda draft: []),
        "yielded 7 after": lambda: drafted(Proposes(es.drafting.Draft), lambda draft: [7]),
        "what the verifier": lambda: drafted(Proposes(es.drafting.Draft), lambda draft: None),
        "proposed None": lambda: drafted(Proposes(lambda x: None)),
        "proposed a draft of": lambda: drafted(Proposes(lambda x: es.drafting.Draft(es.Prefix([2])))),
        "write it as a generator": lambda: drafted(NoGenerator(lambda x: es.drafting.Draft(x))),
    }


@pytest.mark.parametrize("message", broken())
def test_what_goes_wrong_harms_its_own_request_only(message: str) -> None:
    engine = es.Engine()
    before = [engine.add(text(i)) for i in range(3)]
    bad = engine.add(broken()[message]())
    after = [engine.add(text(i)) for i in range(3, 6)]
    while engine.step():
        pass
    kinds = {"division": ZeroDivisionError, "no token is left": BrokenRow}
    with pytest.raises(kinds.get(message, InvalidInput)) as told:
        engine.result(bad)
    assert message in str(told.value)
    assert [engine.result(number).ids() for number in before + after] == ALONE[:6]


class Interrupts(es.Shaper):
    stage = es.Stage.LOGITS

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, weights: torch.Tensor, prefixes: Any) -> torch.Tensor:
        self.calls += 1
        if self.calls == 3:
            raise KeyboardInterrupt
        return weights


def test_after_an_interrupt_the_others_go_on() -> None:
    loop, hit = es.Loop(), 5
    numbers = [loop.add(text(i, MODEL | Interrupts() if i == hit else MODEL)) for i in range(12)]
    turns = 0
    while loop and turns < 100:
        turns += 1
        with contextlib.suppress(KeyboardInterrupt):
            loop.turn()
    assert len(loop) == 0
    assert isinstance(loop.errors[numbers[hit]], Interrupted)
    assert [loop.results[n].ids() for n in numbers if n != numbers[hit]] == [ALONE[i] for i in range(12) if i != hit]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # one may hit while garbage is collected
def test_interrupts_at_any_moment_leave_tables_whole() -> None:
    lm, rng = random_lm(), random.Random(0)
    schema = {"type": "object", "properties": {"a": {"type": "integer", "maximum": 99}}, "required": ["a"]}
    options: dict[str, Any] = {"schema": schema, "max_tokens": 40, "temperature": 1.0, "seed": 7}
    alone = lm.complete(es.raw("x"), **options).text

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    hit = 0
    try:
        for _ in range(60):
            try:
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.0005, 0.03))
                assert lm.complete(es.raw("x"), **options).text == alone
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                hit += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert hit > 5
    assert lm.complete(es.raw("x"), **options).text == alone


def filled(number: float) -> es.LanguageModel:
    lm = random_lm()
    size = lm.vocab.size
    row = torch.zeros(size, dtype=torch.float64)
    row[7] = number
    model = es.models.Table(size, 2, lambda c: row if len(c) > 1 else torch.full((size,), number, dtype=torch.float64))
    return es.LanguageModel(model, lm.tokenizer, "bad")


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("temperature", [0, 1e-300, 1.0, 5.0])
@pytest.mark.parametrize("extra", [{}, {"regex": "[a-z]{3}"}, {"top_k": 3}, {"drafter": None}, {"regex": "a|b", "top_p": 0.5}])
@pytest.mark.parametrize("prompt", ["x", "some"])
def test_a_row_that_is_no_law_is_told(number: float, temperature: float, extra: dict[str, Any], prompt: str) -> None:
    with pytest.raises(BrokenRow, match="model's row"):
        filled(number).complete(es.raw(prompt), max_tokens=6, temperature=temperature, seed=1, **extra)


@pytest.mark.parametrize("temperature", [0, 1.0])
@pytest.mark.parametrize("extra", [{}, {"regex": "[a-z]{3}"}, {"drafter": None}])
def test_everything_forbidden_is_told(temperature: float, extra: dict[str, Any]) -> None:
    lm = random_lm()
    ban = {i: float("-inf") for i in range(lm.vocab.size)}
    with pytest.raises(Unsatisfiable, match="every token is forbidden"):
        lm.complete(es.raw("x"), logit_bias=ban, temperature=temperature, max_tokens=20, **extra)


@pytest.mark.parametrize("temperature", [1e-300, 1e-39, 1e-38, 1e-31])
def test_a_temperature_beyond_float32_is_its_law(temperature: float) -> None:
    row = torch.tensor([0.0, 1.0, 0.5])
    scorer = es.models.Table(3, 0, lambda context: row) | es.temperature(temperature)
    [x] = es.run(es.sample(scorer, es.Prefix(), es.stop.budget(20), es.Rng(0)))
    assert x.ids() == [1] * 20
    after = es.temperature(temperature)(torch.tensor([[0.0, 1.0, -torch.inf]]), [])
    assert after.softmax(-1).tolist() == [[0.0, 1.0, 0.0]]


def test_a_huge_temperature_is_uniform_over_what_is_possible() -> None:
    after = es.temperature(1e300)(torch.tensor([[3.0, 1.0, -torch.inf]]), [])
    assert after.softmax(-1).tolist() == [[0.5, 0.5, 0.0]]


@pytest.mark.parametrize("option", [{"logit_bias": {3: 1e39}}, {"logit_bias": {3: -1e39}}, {"repetition_penalty": 1e-45}])
def test_biases_and_penalties_beyond_float32_are_told(option: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(option))):
        random_lm().complete(es.raw("x"), max_tokens=3, temperature=1.0, **option)


def test_the_number_of_texts_is_bounded_before_any_is_begun() -> None:
    lm = random_lm()
    start = time.process_time()
    for ask in (lm.complete, lambda prompt, **options: list(lm.stream(prompt, **options))):
        with pytest.raises(LimitExceeded, match="most_texts"):
            ask(es.raw("x"), n=10**6, max_tokens=1)
    assert time.process_time() - start < 1
    lm.most_texts = 2
    assert len(lm.complete(es.raw("x"), n=2, max_tokens=1)) == 2
    with pytest.raises(LimitExceeded, match="n=3"):
        lm.complete_all([es.Request(es.raw("x"), n=3)], max_tokens=1)


IMPOSSIBLE: list[dict[str, Any]] = [
    {"type": "number", "multipleOf": 3},
    {"type": "array", "items": {"type": "boolean"}, "uniqueItems": True, "minItems": 3},
    {"allOf": [{"type": "integer", "multipleOf": 7}, {"multipleOf": 11}], "minimum": 1, "maximum": 76},
]


@pytest.mark.parametrize("schema", IMPOSSIBLE)
@pytest.mark.parametrize("tokens", [1, 12])
@pytest.mark.parametrize("drafter", [None, "auto"])
def test_the_search_of_dead_ends_is_bounded_in_passes(schema: dict[str, Any], tokens: int, drafter: str | None) -> None:
    lm = random_lm(0)
    with contextlib.suppress(Unsatisfiable, LimitExceeded):
        lm.complete(es.raw("x"), schema=schema, max_tokens=tokens, drafter=drafter)
    assert lm.model.passes <= 9 * tokens + 100  # type: ignore[attr-defined]
