"""`generate` under a schema: a parsed, validated value, or an error; on a toy and on the real model."""

from __future__ import annotations

import json

import pytest
from pydantic import BaseModel, field_validator
from toys import random_lm, speaks

import espalier as es
from espalier.errors import EspalierError, InvalidInput


class Person(BaseModel):
    name: str
    age: int


def test_a_pydantic_model_is_closed_and_parsed():
    lm = speaks(['who? {"name": "Ann", "age": 31}'])
    assert lm.generate(es.raw("who? "), schema=Person) == Person(name="Ann", age=31)
    assert not es.json_schema(Person).matches(b'{"name": "Ann", "age": 31, "city": "Rome"}')


def test_a_dict_schema_gives_plain_values():
    lm = random_lm()
    schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"], "additionalProperties": False}
    values = lm.generate(es.raw("x"), schema=schema, temperature=1.0, n=5, seed=1, max_tokens=200)
    assert all(value in ({"a": 1}, {"a": 2}) for value in values)


def test_what_is_cut_off_is_an_error_and_never_a_value():
    lm = random_lm()
    schema = {"type": "array", "minItems": 50, "items": {"type": "integer"}}
    with pytest.raises(es.InvalidInput, match="cut off"):
        lm.generate(es.raw("x"), schema=schema, max_tokens=10)
    assert lm.complete(es.raw("x"), schema=schema, max_tokens=10).parsed is None


@pytest.mark.parametrize("drafter", [None, "lookup"])
def test_a_stop_string_inside_a_value_leaves_no_value_and_one_behind_it_does(drafter):
    """Stopped is not finished: what is before the stop string has to be a text of the schema."""
    lm = speaks(['x{"a": [1, 2]};', "y[1, 2]"])
    schema = {"type": ["object", "array"]}
    inside = lm.complete(es.raw("x"), schema=schema, stop=", 2", drafter=drafter)
    assert (inside.text, inside.finish_reason, inside.whole, inside.parsed) == ('{"a": [1', "stop", False, None)
    with pytest.raises(InvalidInput, match=r"cut off \(stop\).*stop strings"):
        lm.generate(es.raw("x"), schema=schema, stop=", 2", drafter=drafter)
    assert lm.generate(es.raw("y"), schema=schema, stop="!", drafter=drafter) == [1, 2]
    words = lm.complete(es.raw("x"), regex='\\{"a": \\[1(, 2\\]\\})?', stop=", 2", drafter=drafter)
    assert (words.text, words.whole) == ('{"a": [1', True)
    assert lm.complete(es.raw("x"), max_tokens=2, drafter=drafter).whole  # nothing was asked of the text


@pytest.mark.parametrize("drafter", [None, "auto", "lookup"])
def test_drafts_do_not_change_what_a_schema_gives(drafter):
    lm = random_lm(seed=4)
    schema = {"type": "array", "items": {"enum": ["ab", "ba"]}, "minItems": 3, "maxItems": 5}
    plain = lm.complete(es.raw("x"), schema=schema, temperature=0.9, seed=2, drafter=None, max_tokens=120)
    other = lm.complete(es.raw("x"), schema=schema, temperature=0.9, seed=2, drafter=drafter, max_tokens=120)
    assert plain.tokens == other.tokens
    assert json.loads(plain.text) == plain.parsed


@pytest.mark.real
def test_the_real_model_fills_in_a_person():
    lm = es.load()
    person = lm.generate("Ann is 31 years old. Write her as JSON with name and age.", schema=Person, max_tokens=60)
    assert isinstance(person, Person)
    assert person.name == "Ann"


class Even(BaseModel):
    n: int

    @field_validator("n")
    @classmethod
    def check(cls, n: int) -> int:
        if n % 2:
            raise ValueError("not even")
        return n


def test_a_value_that_its_class_refuses_is_an_error_with_the_completion():
    lm = speaks(['x{"n": 3}', 'y{"n": 4}'])
    with pytest.raises(EspalierError, match="not even") as error:
        lm.generate(es.raw("x"), schema=Even)
    assert (error.value.completion.text, error.value.completion.whole) == ('{"n": 3}', True)
    refused = lm.complete(es.raw("x"), schema=Even)
    assert (refused.parsed, refused.error.text) == (None, '{"n": 3}')
    assert lm.generate(es.raw("y"), schema=Even) == Even(n=4)


def test_of_several_values_the_good_ones_are_kept():
    lm = random_lm(seed=1)
    with pytest.raises(EspalierError) as error:
        lm.generate(es.raw("x"), schema=Even, temperature=1.0, n=8, seed=1, max_tokens=400)
    values = [c.parsed for c in error.value.completion.siblings]
    assert len(values) == 8
    assert any(isinstance(value, Even) for value in values)
    assert any(value is None for value in values)
