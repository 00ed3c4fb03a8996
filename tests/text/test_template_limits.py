"""A template is a program of strangers: it ends, within its time and its memory, and its errors are ours."""

from __future__ import annotations

import time

import pytest

from espalier.errors import EspalierError, InvalidInput, LimitExceeded
from espalier.text import template_limits
from espalier.text.chat_template import render

USER = [{"role": "user", "content": "Hi & <bye>"}]
GROWING = "{% set ns = namespace(a='aaaaaaaaaa') %}{% for i in range(60) %}{% set ns.a = WHAT %}{% endfor %}"
ENDLESS = [
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "{{ 'a' * 10000000000 }}",
    "{{ 10 ** 10 ** 10 }}",
    "{{ 2 ** 9999999 }}",
    "{{ 'a' | center(1000000000) }}",
    "{{ 'a'.center(1000000000) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%*d' % (1000000000, 1) }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ '{:{}}'.format(1, 1000000000) }}",
    "{{ messages | tojson(indent=1000000000) }}",
    "{{ ('a\n' * 1000) | indent(1000000000) }}",
    "{{ range(99999) | map('center', 1000000000) | list }}",
    "{{ (range(99999) | list) * 99999 }}",
    "{{ [1] | batch(1000000000, 'x') | list }}",
    "{{ '\t'.expandtabs(1000000000) }}",
    "{{ range(99999) | join('x' * 50000) }}",
    "{{ ('x' * 50000).join(range(99999) | map('string')) }}",
    "{{ (1).to_bytes(1000000000, 'big') }}",
    "{% for i in range(99999) %}{{ 'abcdefghij' * 1000 }}{% endfor %}",
    "{% for i in range(99999) %}" + "x" * 1000 + "{% endfor %}",
    "{% set x %}{% for i in range(99999) %}" + "x" * 1000 + "{% endfor %}{% endset %}",
    *(
        GROWING.replace("WHAT", how)
        for how in (
            "ns.a ~ ns.a",
            "ns.a + ns.a",
            "ns.a.replace('a', ns.a)",
            "ns.a | replace('a', ns.a)",
            "[ns.a, ns.a] | join(ns.a)",
            "'%s%s' | format(ns.a, ns.a)",
            "'%s%s' % (ns.a, ns.a)",
            "'{0}{0}'.format(ns.a)",
        )
    ),
]
BROKEN = [
    "{{ 1 // 0 }}",
    "{{ 1.5 | round('x') }}",
    "{% macro f(n) %}{{ f(n+1) }}{% endmacro %}{{ f(0) }}",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{% for a in [1] %}" * 60 + "{% endfor %}" * 60,
    "{% for i in range(10**9) %}{% endfor %}",
    "{% include 'x' %}",
    "{{ lipsum(n=100000) }}",
    "{{ messages.append(1) }}",
    "{{ strftime_now(1) }}",
    "{{ 'a' | no_such_filter }}",
    "{{ '%d' % 'x' }}",
    "{{ {}[1][2] }}",
    "{{ messages[0].content.encode('nonsense') }}",
    "x" * 1_000_001,
]


@pytest.mark.parametrize("source", ENDLESS, ids=range(len(ENDLESS)))
def test_a_template_ends_within_its_limits(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_limits, "SECONDS", 0.3)
    began = time.thread_time()
    with pytest.raises(LimitExceeded, match="chat template"):
        render(source, USER)
    assert time.thread_time() - began < 2


@pytest.mark.parametrize("source", BROKEN, ids=range(len(BROKEN)))
def test_every_fault_of_a_template_is_our_error(source: str) -> None:
    with pytest.raises(EspalierError, match="chat template"):
        render(source, USER)


def test_counting_changes_nothing_that_is_written() -> None:
    source = (
        "{% macro turn(m) %}[{{ m.role ~ ':' ~ m['content'] | trim }}]{% endmacro %}"
        "{% for m in messages %}{{ turn(m) }}{{ loop.index0 + 1 }}{{ 'ab' * 2 }}{{ '%s-%d' % ('x', 3) }}{% endfor %}"
        "{% call(x) caller_of() %}{{ x }}{% endcall %}{{ '{}/{}'.format(1, 2) }}{{ ['a', 'b'] | join(', ') }}"
    )
    source = "{% macro caller_of() %}<{{ caller(5) }}>{% endmacro %}" + source
    assert render(source, USER) == "[user:Hi & <bye>]1ababx-3<5>1/2a, b"


def test_long_conversations_are_well_within_the_limits() -> None:
    turns = [{"role": "user" if i % 2 == 0 else "assistant", "content": f"word {i} " * 200} for i in range(2000)]
    source = "{% for m in messages %}<|{{ m.role }}|>{{ m.content | trim }}{{ '\n' }}{% endfor %}"
    assert len(render(source, turns)) > 3_000_000


def test_a_refusal_says_what_the_template_says() -> None:
    with pytest.raises(InvalidInput, match="refuses these messages: roles must alternate"):
        render("{{ raise_exception('roles must alternate') }}", USER)
