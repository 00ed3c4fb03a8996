"""Random faults in model files: a model or an error of ours. ESPALIER_FUZZ=2000 tries so many inputs."""

from __future__ import annotations

import os

from .broken_files import tried


def test_broken_model_files_give_a_model_or_an_error_of_ours() -> None:
    count = int(os.environ.get("ESPALIER_FUZZ", "80"))
    ends, foreign = tried(count, seed=11, tell=print)
    assert foreign == []
    assert sum(ends.values()) == count
    assert ends["LoadError"] > count // 3
    assert ends["a model"] > count // 20
