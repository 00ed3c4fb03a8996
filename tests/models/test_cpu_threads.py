"""The number of threads: as few as are as fast, never more than may run."""

from __future__ import annotations

import pytest

from espalier.models.executors import native
from espalier.models.load import packed, threads


@pytest.fixture
def team(monkeypatch: pytest.MonkeyPatch, tmp_path):
    """A machine with eight threads, of which four do all there is to do; what was set is noted."""
    noted: list[int] = [8]
    monkeypatch.delenv("ESPALIER_THREADS", raising=False)
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path))
    monkeypatch.setattr(threads, "_settled", False)
    monkeypatch.setattr(native, "threads", lambda: noted[-1])
    monkeypatch.setattr(native, "set_threads", noted.append)
    monkeypatch.setattr(threads, "_speed", lambda work: min(noted[-1], 4))
    monkeypatch.setattr(threads, "_allowed", lambda: 1 << 16)
    return noted


def test_half_are_taken_where_they_are_as_fast_and_it_is_measured_once(team, monkeypatch):
    threads.settle()
    assert team[-1] == 4
    threads.settle()
    monkeypatch.setattr(threads, "_settled", False)
    monkeypatch.setattr(threads, "_fewest", lambda counts: pytest.fail("measured again"))
    team.append(8)
    threads.settle()
    assert team[-1] == 4
    assert list((packed.folder() / "notes").iterdir())


def test_a_quota_bounds_them_and_a_number_that_is_set_stays(team, monkeypatch):
    monkeypatch.setattr(threads, "_allowed", lambda: 3)
    threads.settle()
    assert team[-1] == 3
    monkeypatch.setattr(threads, "_settled", False)
    monkeypatch.setenv("ESPALIER_THREADS", "7")
    team.append(7)
    threads.settle()
    assert team[-1] == 7
