"""The questions that wait, and which of them the next passes answer."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from espalier.scheduler import Scheduler
from espalier.scorer import Model

if TYPE_CHECKING:
    from espalier.prefix import Prefix
    from espalier.rows import Rows
    from espalier.scorer import Ask

BESIDE = 64  # rows of a turn of running texts that a prompt may fill up, unless a budget is set;
PIECE = 16  # so many rows of a prompt at least


@dataclass(eq=False, slots=True)
class Question:
    """An ask that waits: what is left of it, and the rows of what was answered."""

    ask: Ask
    number: int
    done: tuple[Rows, ...] = ()
    reading: bool = False  # its prompt is being read in pieces

    @property
    def left(self) -> Sequence[Any]:
        """The queries whose rows are missing."""
        return self.ask.prefixes[sum(map(len, self.done)) :] if self.done else self.ask.prefixes

    def take(self, rows: Rows) -> Rows | None:
        """Notes rows of what is left, if they are not all; else all rows. An interrupt finds either before or after."""
        if len(rows) < len(self.left):
            self.done = (*self.done, rows)
            return None
        return _joined([*self.done, rows]) if self.done else rows


def _joined(parts: Sequence[Rows]) -> Rows:
    """Rows of one model, which no constraint limits yet, one behind the other."""
    import torch

    from espalier.rows import Rows

    extras = {name: torch.cat([part.extras[name] for part in parts]) for name in parts[0].extras}
    return Rows(torch.cat([part.logits for part in parts]), [x for part in parts for x in part.prefixes], extras)


@dataclass(eq=False, slots=True)
class Batch:
    """One pass: the questions it answers, with how many prefixes of each, and prompts of which it reads rows ahead."""

    model: Model
    parts: list[tuple[Hashable, Question, int]] = field(default_factory=list)
    ahead: list[tuple[Hashable, Prefix, int]] = field(default_factory=list)

    def alone(self) -> list[Batch]:
        """A pass for each question."""
        return [Batch(self.model, [each]) for each in self.parts] + [Batch(self.model, ahead=[each]) for each in self.ahead]


@dataclass(eq=False, slots=True)
class _Text:
    """What a decoder has asked: in this round, in the round before, and last, before something settled (`home`)."""

    asked: set[Model] = field(default_factory=set)
    before: set[Model] = field(default_factory=set)
    burst: set[Model] = field(default_factory=set)
    home: set[Model] = field(default_factory=set)
    begun: set[Model] = field(default_factory=set)
    open: int = 0
    asks: int = 0
    settled: bool = False
    running: bool = False
    origin: Prefix | None = None
    tokens: int = 0

    def needs(self, model: Model, wait: int) -> bool:
        """Whether it is likely to ask this model before its round ends, and has not yet."""
        if model in self.asked or not self.open:
            return False
        return model in self.home or (model.gathers and model in self.before) or (not self.running and self.asks <= wait)


class Queue:
    """The questions of one loop, by whoever waits for the answer."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.waiting: dict[Any, Question] = {}
        self._texts: dict[int, _Text] = {}
        self._held: dict[Model, int] = {}

    def ask(self, task: Hashable, number: int, ask: Ask) -> None:
        """A question joins."""
        text, model, question = self._texts.get(number) or _Text(), ask.scorer, Question(ask, number)
        assert isinstance(model, Model)
        if ask.prefixes:
            text.origin = ask.prefixes[0].origin
            if model.room is not None:
                text.tokens = max(map(len, question.left))
        if text.settled:
            text.before, text.asked, text.settled = text.asked, set(), False
        if not text.open:
            text.burst = set()
        text.asked.add(model)
        text.burst.add(model)
        text.open, text.asks = text.open + 1, text.asks + 1
        self._texts[number], self.waiting[task] = text, question

    def answered(self, task: Hashable) -> None:
        """A question leaves."""
        if (question := self.waiting.pop(task, None)) is not None and question.number in self._texts:
            self._texts[question.number].open -= 1

    def kept(self, number: int) -> None:
        """Something of a decoder has settled: its round is over."""
        if (text := self._texts.get(number)) is not None:
            text.settled, text.running, text.home = True, True, text.burst

    def forget(self, number: int) -> None:
        """A decoder has ended."""
        self._texts.pop(number, None)
        for task in [task for task, question in self.waiting.items() if question.number == number]:
            del self.waiting[task]

    def batches(self, gathering: bool = False) -> list[Batch]:
        """The passes of this turn, one per model at most; or, when these are done, what models that only gather answer."""
        if len(self._texts) == len(self.waiting) == 1 and self.scheduler.rows is None:  # a text alone waits for nobody
            [(task, question)], [text] = self.waiting.items(), self._texts.values()
            model: Any = question.ask.scorer
            text.begun.add(model)
            self._held = self._held if gathering else {}
            return [Batch(model, [(task, question, len(question.left))])] if model.gathers == gathering else []
        if gathering and not any(question.ask.scorer.gathers for question in self.waiting.values()):  # type: ignore[attr-defined]
            return []
        groups: dict[Model, list[tuple[Hashable, Question]]] = {}
        for task, question in self.waiting.items():
            assert isinstance(question.ask.scorer, Model)
            groups.setdefault(question.ask.scorer, []).append((task, question))
        held = self._patient(groups) if len(groups) > 1 else set[Model]()
        if not gathering:
            self._held = {model: self._held.get(model, 0) + 1 for model in held}
        found = [self._fit(m, group) for m, group in groups.items() if m not in held and m.gathers == gathering]
        found = [batch for batch in found if batch.parts or batch.ahead]
        if not found and not gathering:  # all that was left had no room
            found = [self._fit(model, groups[model]) for model in held if not model.gathers]
        return found

    def _patient(self, groups: dict[Model, list[tuple[Hashable, Question]]]) -> set[Model]:
        """The models whose questions wait for others to join them; never all."""
        wait, reading = self.scheduler.wait, {question.number for question in self.waiting.values() if question.reading}
        texts = [text for number, text in self._texts.items() if number not in reading]
        held = {m for m in groups if self._held.get(m, 0) < wait and any(text.needs(m, wait) for text in texts)}
        if len(held) == len(groups):
            homes = set[Model]().union(*(text.home for text in self._texts.values()))
            behind = {m: min(self._texts[q.number].asks for _, q in group) for m, group in groups.items()}
            held.remove(min([m for m in groups if m not in homes] or groups, key=lambda m: (behind[m], -len(groups[m]))))
        return held

    def _fit(self, model: Model, group: list[tuple[Hashable, Question]]) -> Batch:
        """As much of what one model is asked as its turn may hold."""
        rows, batch = self.scheduler.rows, Batch(model)
        if model.room is not None:
            admitted = self._admitted(model, model.room, {question.number for _, question in group})
            group = [each for each in group if each[1].number in admitted]
        running = [each for each in group if self._texts[each[1].number].running]
        joining = [each for each in group if not self._texts[each[1].number].running]
        if rows is None:  # what runs is never cut; a prompt that joins it is
            beside = bool(running) and model.capabilities.chunked
            batch.parts = [
                (task, question, len(question.left)) for task, question in (running if beside else running + joining)
            ]
            rows = max(PIECE, BESIDE - sum(count for _, _, count in batch.parts))
            questions = joining if beside else []
        else:
            questions = running + joining
        costs = iter(model.costs([x for _, question in questions for x in question.left]) if questions else ())
        for task, question in questions:
            rows = self._put(batch, task, question, [next(costs) for _ in question.left], rows)
            if not rows:
                break
        return batch

    def _put(self, batch: Batch, task: Hashable, question: Question, costs: list[int], left: int) -> int:
        """Puts in what fits; how many rows are left then, none if something did not fit."""
        count, used = 0, 0
        while count < len(costs) and used + costs[count] <= left:
            used, count = used + costs[count], count + 1
        if count == len(costs):
            batch.parts.append((task, question, count))
            return left - used
        if count:
            batch.parts.append((task, question, count))
        elif batch.model.capabilities.chunked:
            question.reading = True
            batch.ahead.append((task, question.left[0], left))
        elif not batch.parts:
            batch.parts.append((task, question, 1))
        return 0

    def _admitted(self, model: Model, room: int, asking: set[int]) -> set[int]:
        """The texts, the oldest first, whose tokens have room beside each other; one at least. What they share counts once."""
        admitted, origins, total = set[int](), set[Any](), 0
        for number, text in self._texts.items():
            if text.origin is not None and (number in asking or model in text.begun):
                more = text.tokens - (len(text.origin) if text.origin in origins else 0)
                if total + more > room and admitted:
                    break
                total += more
                admitted.add(number)
                origins.add(text.origin)
                text.begun.add(model)
        return admitted
