import json

import pytest

from espalier.errors import InvalidInput
from espalier.text.chat_template import render

USER = [{"role": "user", "content": "Hi & <bye>"}]


def test_blocks_leave_no_blank_lines() -> None:
    source = "{% for m in messages %}\n    {% if true %}\n{{ m.content }}\n    {% endif %}\n{% endfor %}"
    assert render(source, USER) == "Hi & <bye>\n"


def test_tojson_is_plain_json() -> None:
    assert render("{{ messages | tojson }}", USER) == json.dumps(USER)
    assert render("{{ tools | tojson(indent=2) }}", USER, tools=[{"é": 1}]) == json.dumps(
        [{"é": 1}], indent=2, ensure_ascii=False
    )


def test_the_helpers_that_templates_use() -> None:
    assert render("{% generation %}x{% endgeneration %}", USER) == "x"
    assert render("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", USER) == "01"
    assert len(render("{{ strftime_now('%Y') }}", USER)) == 4
    assert render("{% set ns = namespace(a=1) %}{% set ns.a = 2 %}{{ ns.a }}", USER) == "2"


def test_a_template_may_refuse() -> None:
    with pytest.raises(InvalidInput, match="roles must alternate"):
        render("{{ raise_exception('roles must alternate') }}", USER)


@pytest.mark.parametrize(
    "source", ["{{ ''.__class__.__mro__[1].__subclasses__() }}", "{% if %}", "{{ messages.append(1) }}", "{{ a.b.c }}"]
)
def test_a_bad_or_hostile_template_is_one_clear_error(source: str) -> None:
    with pytest.raises(InvalidInput, match="chat template"):
        render(source, USER)
