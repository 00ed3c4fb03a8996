"""Which request may begin: what it may come to hold of keys and values, and what is free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from espalier.errors import InvalidInput, LimitExceeded
from espalier.lm import LanguageModel
from espalier.requests.completion import Completion, Stats
from espalier.requests.options import Options
from espalier.requests.prompt import Prompt
from espalier.requests.request import read
from espalier.serving.limits import Limits
from espalier.serving.prompt_logprobs import prompt_scores
from espalier.serving.request_handle import Handle
from espalier.serving.running_request import Branch, Job
from espalier.text.detokenize import Detokenizer

_DRAFTED = 64  # tokens of drafts that a text may hold beside its own


def make(
    lm: LanguageModel, limits: Limits, handle: Handle, prompt: Prompt, options: Mapping[str, Any], scores: int | None
) -> Job:
    """The job of a request, with everything made that needs no model. Raises what `lm.complete` raises before one runs."""
    wanted = bounded(read(options), limits)
    x = lm.prompt(prompt, **wanted.template())
    base = lm.scorer if wanted.scorer is None else wanted.scorer
    rows = limits.prompt_rows
    if wanted.max_tokens == 0:
        stats = Stats(prompt_tokens=len(x), passes=-(-len(x) // rows))
        job = Job(handle, x, [], len(x), salt=wanted.cache_salt)
        job.alone = Completion("", [], [], "length", stats)
        job.scores = prompt_scores(base, x.ids(), scores or wanted.logprobs or 0, rows)
        return job
    writings = lm._begin(x, wanted, wanted.guide(limits.guide))
    branches = [Branch(writing, index, Detokenizer(lm.vocab)) for index, writing in enumerate(writings)]
    x = writings[0].origin if wanted.heal else x
    width = max(wanted.n, getattr(wanted.decoder, "width", 1))
    need = len(x) + width * (min(wanted.max_tokens, lm.context - len(x)) + (_DRAFTED if wanted.decoder is None else 0))
    job = Job(handle, x, branches, need, salt=wanted.cache_salt)
    if scores is not None:
        job.scores = prompt_scores(base, x.ids(), scores, rows)
    return job


def bounded(wanted: Options, limits: Limits) -> Options:
    """The options, within what an engine allows."""
    if limits.max_output_tokens is not None and wanted.max_tokens > limits.max_output_tokens:
        wanted = replace(wanted, max_tokens=limits.max_output_tokens)
    if limits.max_seconds is not None and (wanted.max_seconds is None or wanted.max_seconds > limits.max_seconds):
        wanted = replace(wanted, max_seconds=limits.max_seconds)
    return wanted


class Admission:
    """Counts what running requests may come to hold, so that none is pushed out of the keys and values by another."""

    def __init__(self, lm: LanguageModel, limits: Limits) -> None:
        self.lm = lm
        self._kv = getattr(lm.model, "kv", None)
        self._held: dict[int, int] = {}
        if lm.cache is not None:
            lm.cache.cache_mb = limits.cache_mb
        self.limit = 1 << 62  # tokens
        if self._kv is not None:
            self.limit = self._kv.limit
            if limits.kv_mb is not None:
                self._kv.limit = int(limits.kv_mb * (1 << 20) // self._kv.bytes_per_token)
                self.limit = self._kv.limit

    @property
    def usage(self) -> float:
        """The part of the keys and values that is in use, 0 to 1."""
        return 0.0 if self._kv is None else min(1.0, self._kv.used / max(1, self.limit))

    def room(self, prompt_tokens: int) -> int:
        """How many tokens may follow a prompt of this length."""
        return max(0, min(self.lm.context, self.limit - _DRAFTED) - prompt_tokens)

    def check(self, job: Job) -> None:
        """Raises `LimitExceeded` for what can never fit."""
        if job.need > self.limit:
            raise LimitExceeded(
                f"the request may come to hold {job.need} tokens ({len(job.x)} of its prompt), but keys and values of "
                f"{self.limit} fit in the memory that is set aside; lower max_tokens or n, or start with more kv_mb"
            )

    def admit(self, job: Job, others: int) -> bool:
        """Whether the request fits now; then it is counted."""
        if others and sum(self._held.values()) + job.need > self.limit:
            return False
        self._held[id(job)] = job.need
        if self.lm.cache is not None:  # what was read while it waited is known now
            known = self.lm.cache.known(job.x, job.salt)
            for branch in job.branches:
                branch.writing.stats.cached_tokens = known
        return True

    def release(self, job: Job) -> None:
        """Forgets what a request held."""
        self._held.pop(id(job), None)

    def missing(self, job: Job) -> int:
        """How many tokens of the prompt the model has not read."""
        if self._kv is None or not hasattr(self.lm.model, "prefill"):
            return 0
        return len(job.x) - int(self._kv.known(job.x))

    def read(self, job: Job, rows: int) -> int:
        """Reads a piece of the prompt; returns how many tokens are missing then."""
        prefill = getattr(self.lm.model, "prefill", None)
        if prefill is None:
            raise InvalidInput("this model cannot read a prompt in pieces")
        missing: int = prefill(job.x, rows)
        return missing
