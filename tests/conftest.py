"""What all tests share."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The public evaluation data, which lies beside the repository where it is present at all."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the evaluation data is not beside this checkout (../shared/data)")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Names of tests without addresses of objects: processes that share the suite must see the same names."""
    for item in items:
        item._nodeid = re.sub(r" at 0x[0-9a-f]+", "", item.nodeid)
