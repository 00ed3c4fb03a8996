"""What `reliable` makes of estimates that lie outside their sure bounds."""

from __future__ import annotations

import math
import types

import pytest

from espalier.decoders.faithful import samples


@pytest.mark.parametrize(("log_z", "sure"), [(-1.0, True), (-0.85, True), (-0.7, False), (-3.15, True), (-3.3, False)])
def test_an_estimate_outside_its_sure_bounds_is_doubted(log_z, sure):
    """At most 0.2 above the bound (-1) and 0.2 below what was shown to be valid (-3); all else is as it should be."""
    known = {"log_masses": [log_z] * 2, "variances": [0.1] * 2, "exhausted": False, "log_z": log_z, "ancestors": 30}
    populations = types.SimpleNamespace(**known, bounds=types.SimpleNamespace(shown=math.exp(-3.0)))
    assert (samples._doubts(populations, -1.0) == "") == sure
