"""The benchmark of the server: what its parts say."""

from __future__ import annotations

import pytest

import espalier as es
from espalier.bench.serve.figures import percentile
from espalier.bench.serve.soak import seconds_of, some_schema
from espalier.errors import InvalidInput


def test_schemas_of_the_soak_are_many_and_have_texts():
    schemas = [some_schema(number) for number in range(300)]
    assert len({repr(schema) for schema in schemas}) == 300
    assert some_schema(7) == some_schema(7)
    for schema in schemas[:20]:
        es.constraints.json_schema(schema)


def test_times_are_read():
    assert (seconds_of("20m"), seconds_of("90s"), seconds_of("1h")) == (1200, 90, 3600)
    with pytest.raises(InvalidInput, match="write a time"):
        seconds_of("soon")


def test_percentiles():
    assert (percentile(range(100), 50), percentile(range(100), 99), percentile([7], 99)) == (50, 99, 7)
