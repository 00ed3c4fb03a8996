"""The engine of a server: one thread that owns the loop; requests come from any thread, wait, are read, and are written."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from typing import Any

from espalier.engine import Engine as Loop
from espalier.errors import require
from espalier.lm import LanguageModel
from espalier.models.executors.torch_threads import one_thread
from espalier.prefix import Prefix
from espalier.requests.prompt import Prompt
from espalier.serving.admission import Admission, make
from espalier.serving.limits import Limits
from espalier.serving.observer import Watch
from espalier.serving.overload import NotReady, Overloaded
from espalier.serving.prefill_budget import Pace
from espalier.serving.request_handle import Handle
from espalier.serving.running_request import Job
from espalier.serving.tidy import Tidy
from espalier.serving.waiters import Waiter, wake

_STOPPED = "the engine is shutting down; ask another one, or later"


class Engine:
    """A loop that is left on. `submit` hands a request in from any thread, and returns its `Handle` at once.

    Requests join and leave between turns: higher `priority` first, then first come. A turn computes at most
    `limits.prompt_rows` rows of prompts beside those of running texts, fewer where these would wait long (chunked prefill,
    Agrawal et al. 2024, arXiv 2403.02310). What does not fit now waits; what can never fit is refused at once.
    Guarantee: where the model is `invariant`, each completion is, bit by bit, that of `lm.complete` alone; a request that
    fails fails alone. `submit` raises what `lm.complete` raises before a model runs, `Overloaded` when the queue is full, and
    `NotReady` when the engine ends.

    >>> import espalier as es
    >>> with Engine(lm) as engine:  # doctest: +SKIP
    ...     print(engine.submit("Name three moons of Jupiter.", max_tokens=40).result(timeout=60))
    """

    def __init__(self, lm: LanguageModel, limits: Limits | None = None, watch: Watch | None = None) -> None:
        self.lm, self.limits, self.watch = lm, limits or Limits(), watch or Watch()
        self._admission = Admission(lm, self.limits)
        self._loop = Loop(self._traced, lm.scheduler)
        self._door = threading.Condition()  # of all below, except what only the engine's thread touches
        self._order = itertools.count()
        self._waiting: list[Job] = []
        self._jobs: dict[Handle, Job] = {}
        self._leaving: list[Job] = []
        self._taking, self._ending = True, False
        self._reading: list[Job] = []  # whose prompts are being read, by the engine's thread alone, as is the next
        self._running: list[Job] = []
        self._pace, self._tidy, self._turned = Pace(), Tidy(), time.monotonic()
        self._told = list[Waiter]()  # in this turn
        self._thread = threading.Thread(target=self._serve, name="espalier-engine", daemon=True)
        self._thread.start()

    def submit(self, prompt: Prompt, *, priority: int = 0, prompt_logprobs: int | None = None, **options: Any) -> Handle:
        """The handle of a request; the options are those of `lm.generate`. Nobody waits for a model.

        Guides are made in the calling thread, within the limits of the engine. `prompt_logprobs` = k scores the tokens of the
        prompt too, with the k best in the place of each.
        """
        self.check_open()
        handle = Handle(self._cancel, self._tell)
        job = make(self.lm, self.limits, handle, prompt, options, prompt_logprobs)
        job.priority = priority
        self._admission.check(job)
        with self._door:
            self.check_open()
            if not self._jobs:
                self._turned = time.monotonic()  # there was no work: that nothing ended since is no fault
            job.order = next(self._order)
            heapq.heappush(self._waiting, job)
            self._jobs[handle] = job
            self._door.notify()
        return handle

    def check_open(self, coming: int = 0) -> None:
        """Raises `NotReady` or `Overloaded` where a request would not be taken now, behind so many that are `coming`."""
        if not self._taking:
            raise NotReady(_STOPPED)
        if len(self._waiting) + coming >= self.limits.queued + max(0, self.limits.running - self.running):
            raise Overloaded(f"{len(self._waiting)} requests wait already, and {self.limits.queued} may; ask again later")

    @property
    def running(self) -> int:
        """How many requests are read or written now."""
        return len(self._running) + len(self._reading)

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    @property
    def taking(self) -> bool:
        """Whether new requests are taken."""
        return self._taking

    @property
    def stalled(self) -> float:
        """For how many seconds there has been work while no turn ended; 0 without work."""
        return time.monotonic() - self._turned if self._jobs else 0.0

    @property
    def kv_usage(self) -> float:
        """The part of the keys and values that is in use, 0 to 1."""
        return self._admission.usage

    def room(self, x: Prefix) -> int:
        """How many tokens may be written after a prompt at most."""
        return self._admission.room(len(x))

    def _cancel(self, handle: Handle) -> None:
        with self._door:
            job = self._jobs.pop(handle, None)
            if job is None:
                return
            if job in self._waiting:
                self._waiting.remove(job)
                heapq.heapify(self._waiting)
                job.stop(Loop())
            else:
                self._leaving.append(job)
            self._door.notify()
        self.watch.cancelled(job)

    def drain(self, seconds: float = 30.0) -> bool:
        """Takes no more requests, and waits for those it has; what is left after `seconds` fails with `NotReady`.

        Returns whether all of them came to their end.
        """
        require(seconds >= 0, f"drain({seconds}): a time is 0 or more seconds")
        with self._door:
            self._taking = False
            whole = self._door.wait_for(lambda: not self._jobs, seconds)
            left = list(self._jobs.values())
        for job in left:
            job.handle.finish(None, NotReady(_STOPPED))
            self._cancel(job.handle)
        return whole

    def close(self) -> None:
        """Ends the engine and its thread; what runs fails with `NotReady`."""
        self.drain(0)
        with self._door:
            self._ending = True
            self._door.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve(self) -> None:
        while True:
            with self._door:
                self._door.wait_for(lambda: self._waiting or self._reading or self._running or self._leaving or self._ending)
                if self._ending and not (self._reading or self._running or self._leaving):
                    return
            try:
                self._turn()
            except Exception as error:  # a bug: nobody is left waiting for ever
                for job in [*self._reading, *self._running]:
                    self._end(job, error)
            told, self._told = self._told, []
            wake(told)
            self._tidy.turned(time.monotonic())
            self._turned = time.monotonic()

    def _tell(self, waiter: Waiter) -> None:
        """Wakes somebody: when this turn ends, with all others, or at once where another thread says it."""
        if threading.current_thread() is self._thread:
            self._told.append(waiter)
        else:
            wake([waiter])

    def _turn(self) -> None:
        """Lets cancelled requests go, takes new ones in, reads a piece of their prompts, and lets the loop make one step."""
        with self._door:
            leaving, self._leaving = self._leaving, []
        for job in leaving:
            self._forget(job)
        self._admit()
        self._read()
        if self._running:
            reading, started = bool(self._reading), time.perf_counter()
            self._loop.step()
            now = time.perf_counter()
            if not reading:
                self._pace.turned(now - started)
            with one_thread():
                for job in list(self._running):
                    self._advance(job, now)

    def _admit(self) -> None:
        while True:
            with self._door:
                job = self._waiting[0] if self._waiting else None
                if job is None or self.running >= self.limits.running or not self._admission.admit(job, self.running):
                    return
                heapq.heappop(self._waiting)
            job.begun = time.perf_counter()
            self.watch.begun(job)
            self._reading.append(job)

    def _read(self) -> None:
        """Reads at most `prompt_rows` tokens of prompts; whose rest is shorter than what is left joins the loop."""
        left = self._pace.rows(self.limits.prompt_rows) if self._running else self.limits.prompt_rows
        for job in list(self._reading):
            try:
                missing = self._admission.missing(job)
                while missing > left > 0:
                    self.watch.read(left)
                    started = time.perf_counter()
                    missing = self._admission.read(job, left)
                    self._pace.read(left, time.perf_counter() - started)
                    left = 0
            except Exception as error:
                self._end(job, error)
                continue
            if missing > left:
                return
            left -= missing
            self._reading.remove(job)
            self._running.append(job)
            job.start(self._loop)

    def _advance(self, job: Job, now: float) -> None:
        before = job.pieces
        try:
            for found in job.advance(self._loop, now):
                if self.lm.cache is not None:
                    self.lm.cache.keep(found.prefix, job.salt)
            if job.pieces > before:
                self.watch.piece(job, now)
            if job.over:
                completion = job.completion()
                self._end(job)
                job.handle.finish(completion)
        except Exception as error:
            self._end(job, error)

    def _end(self, job: Job, error: BaseException | None = None) -> None:
        """Lets a request go; tells it what it failed with."""
        self._forget(job)
        with self._door:
            known = self._jobs.pop(job.handle, None)
            self._door.notify_all()
        if known is not None:
            self.watch.ended(job, error)
        if error is not None:
            job.handle.finish(None, error)

    def _forget(self, job: Job) -> None:
        for place in (self._reading, self._running):
            if job in place:
                place.remove(job)
        try:
            job.stop(self._loop)
        finally:
            self._admission.release(job)

    def _traced(self, kind: str, what: Any) -> None:
        if kind == "pass":
            self.watch.passed(sum(len(ask.prefixes) for ask in what[1]))
