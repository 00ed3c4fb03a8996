"""Metrics, as Prometheus reads them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, generate_latest

from espalier.errors import ContextOverflow, InvalidInput, LimitExceeded
from espalier.serving.engine import Engine
from espalier.serving.observer import Watch
from espalier.serving.running_request import Job

_LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_PAUSE = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class Metrics(Watch):
    """Counts what an engine and its server do. Every name begins with `espalier_`.

    >>> metrics = Metrics(); metrics.passed(3)
    >>> "espalier_passes_total 1.0" in metrics.text()
    True
    """

    def __init__(self) -> None:
        self.registry = r = CollectorRegistry()
        self.success = Counter("espalier_request_success", "Requests that ended", ["finished_reason"], registry=r)
        self.errors = Counter("espalier_request_errors", "Requests that failed", ["code"], registry=r)
        self.gone = Counter("espalier_requests_cancelled", "Requests that were cancelled", registry=r)
        self.prompt = Counter("espalier_prompt_tokens", "Tokens of prompts", registry=r)
        self.cached = Counter("espalier_prompt_tokens_cached", "Tokens of prompts that were known", registry=r)
        self.generated = Counter("espalier_generation_tokens", "Tokens that were written", registry=r)
        self.passes = Counter("espalier_passes", "Passes of the model", registry=r)
        self.rows = Summary("espalier_rows_per_pass", "Rows of a pass", registry=r)
        self.drafted = Counter("espalier_spec_decode_num_draft_tokens", "Tokens that were drafted", registry=r)
        self.accepted = Counter("espalier_spec_decode_num_accepted_tokens", "Drafted tokens that were accepted", registry=r)
        self.guides = Summary("espalier_guide_seconds", "Time that making a request's guide and prompt took", registry=r)
        self.first = Histogram("espalier_time_to_first_token_seconds", "To the first text", buckets=_LATENCY, registry=r)
        self.pause = Histogram("espalier_inter_token_latency_seconds", "Between texts", buckets=_PAUSE, registry=r)
        self.total = Histogram("espalier_e2e_request_latency_seconds", "Of whole requests", buckets=_LATENCY, registry=r)
        self.queue = Histogram("espalier_request_queue_time_seconds", "In the queue", buckets=_LATENCY, registry=r)
        self.running = Gauge("espalier_requests_running", "Requests that are read or written", registry=r)
        self.waiting = Gauge("espalier_requests_waiting", "Requests that wait", registry=r)
        self.kv = Gauge("espalier_kv_cache_usage_perc", "Part of the keys and values in use, 0 to 1", registry=r)

    def follow(self, engine: Engine) -> None:
        """Watches an engine from now on."""
        engine.watch = self
        self.running.set_function(lambda: engine.running)
        self.waiting.set_function(lambda: engine.waiting)
        self.kv.set_function(lambda: engine.kv_usage)

    def text(self) -> str:
        """All metrics in Prometheus' format."""
        return generate_latest(self.registry).decode()

    def passed(self, rows: int) -> None:
        self.passes.inc()
        self.rows.observe(rows)

    def read(self, rows: int) -> None:
        self.passed(rows)

    def begun(self, job: Job) -> None:
        self.queue.observe(max(0.0, (job.begun or job.submitted) - job.submitted))

    def piece(self, job: Job, now: float) -> None:
        if job.last_piece is None:
            self.first.observe(now - job.submitted)
        else:
            self.pause.observe(now - job.last_piece)
        super().piece(job, now)

    def ended(self, job: Job, error: BaseException | None) -> None:
        self.prompt.inc(len(job.x))
        for branch in job.branches:
            stats = branch.writing.stats
            if branch is job.branches[0]:
                self.cached.inc(stats.cached_tokens)
            if branch.writing.options.decoder is None and branch.writing.options.drafter is not None:
                self.drafted.inc(max(0, stats.nodes - stats.passes))
                self.accepted.inc(max(0, stats.tokens - stats.passes))
        if error is not None:
            self.errors.labels(_code(error)).inc()
            return
        group = list(job.completion())
        self.generated.inc(sum(len(one.tokens) for one in group))
        for one in group:
            self.success.labels(one.finish_reason).inc()
        if job.last_piece is not None:
            self.total.observe(job.last_piece - job.submitted)

    def cancelled(self, job: Job) -> None:
        self.gone.inc()


def _code(error: BaseException) -> str:
    codes = ((ContextOverflow, "context_length_exceeded"), (InvalidInput, "invalid_request_error"))
    limit = (LimitExceeded, "limit_exceeded")
    return next((code for kind, code in (*codes, limit) if isinstance(error, kind)), "internal_error")
