"""Names after a dot: the places of a small project, what resolves, and both ways beside each other."""

from __future__ import annotations

from pathlib import Path

import pytest

import espalier as es
from espalier.bench.members import Place, members_bench, places, resolves
from espalier.errors import InvalidInput

CODE = '''"""Shapes: circles, which know their radius and can say how long they are around. Nothing else is needed here."""


class Circle:
    def __init__(self, radius: float) -> None:
        self.radius = radius

    def circumference(self) -> float:
        return 6.28 * self.radius


def twice(circle: Circle) -> float:
    return 2 * circle.circumference()
'''


@pytest.fixture
def project(tmp_path: Path) -> Path:
    pytest.importorskip("jedi")
    (tmp_path / "shapes.py").write_text(CODE)
    return tmp_path


def test_places_are_those_that_jedi_knows(project: Path) -> None:
    found = places(project, 10)
    assert {place.name for place in found} == {"radius", "circumference"}
    last = next(place for place in found if place.name == "circumference")
    assert last.before.endswith("2 * circle.")
    assert resolves(last, "radius", project)
    assert not resolves(last, "diameter", project)
    assert not resolves(Place(last.before, "", "(("), "radius", project), "it does not compile"


@pytest.mark.real
def test_with_the_monitor_every_name_resolves(project: Path) -> None:
    results = {result["way"]: result for result in members_bench(es.load(), project, 3, 6)}
    assert results["monitor"]["resolves"] == results["monitor"]["places"] >= 1
    assert results["without"]["resolves"] <= results["monitor"]["resolves"]
    with pytest.raises(InvalidInput, match="no place in its"):
        members_bench(es.load(), project / "none", 3, 6)
