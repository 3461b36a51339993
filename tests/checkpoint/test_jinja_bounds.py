"""Templates that would never end, or would fill the memory, are refused at once."""

from __future__ import annotations

import time

import pytest

from loragraft.checkpoint.template import render
from loragraft.errors import TemplateError

USER = [{"role": "user", "content": "a"}]
SECONDS = 10.0
"""Without bounds each of these takes minutes or gigabytes; with them, moments."""


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{% for c in 'abc' * 9999 %}{{ c }}{% endfor %}{% endfor %}",
        "{% macro m() %}{% for i in range(9) %}{{ m() }}{% endfor %}{% endmacro %}{{ m() }}",
        "{% macro m(n) %}{% if n %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}{% endmacro %}{{ m(40) }}",
        "{{ 'a' * 1000000000 }}",
        "{{ 1000000000 * 'a' }}",
        "{{ [messages] * 1000000000 }}",
        "{{ 'a' * 10000000 * 10000000 }}",
        "{{ 9 ** (9 ** 9) }}",
        "{{ '%999999999d' % 1 }}",
        "{{ '%*d' % (999999999, 1) }}",
        "{{ '%999999999d'|format(1) }}",
        "{{ '{:>999999999}'.format('a') }}",
        "{{ '{:>{}}'.format('a', 999999999) }}",
        "{{ 'a'.ljust(999999999) }}",
        "{{ 'a'|center(999999999) }}",
        "{{ 'a'|indent(999999999, true) }}",
        "{{ [1]|batch(999999999, 'x')|list }}",
        "{{ ('a' * 1000000).replace('a', 'b' * 1000000) }}",
        "{{ ('a' * 1000000)|replace('a', 'b' * 1000000) }}",
        "{{ ('b' * 100000).join(('a' * 100000)|list) }}",
        "{{ (('a' * 100000)|list)|join('b' * 100000) }}",
        "{%set n = namespace(t='a')%}{% for i in range(60) %}{% set n.t = n.t ~ n.t %}{% endfor %}",
        "{%set n = namespace(t='a')%}{% for i in range(60) %}{% set n.t = n.t + n.t %}{% endfor %}",
    ],
)
def test_what_never_ends_or_grows_without_end_is_refused(template: str) -> None:
    began = time.monotonic()
    with pytest.raises(TemplateError, match="cannot be rendered"):
        render(template, USER)
    assert time.monotonic() - began < SECONDS


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{% for m in messages %}{{ loop.length }}{{ loop.last }}{% endfor %}", "1True"),
        (
            "{% for k, v in messages[0]|items %}{{ k }}{{ loop.index }}{% endfor %}",
            "role1content2",
        ),
        ("{% for m in messages recursive %}{{ m.role ~ 1 ~ none }}{% endfor %}", "user1None"),
        ("{% for m in messages if m.role == 'user' %}{{ m.content }}{% else %}-{% endfor %}", "a"),
        ("{{ [3, 1]|sort|join(', ') }}{{ 'ab'|replace('a', '') }}", "1, 3b"),
        ("{{ 'a'|indent(2, true) }}|{{ 'a'.center(3) }}|{{ '%03d' % 7 }}", "  a| a |007"),
        ("{{ 2 ** 10 }}{{ 7 % 4 }}{{ [1] + [2] }}{{ 'a' * 3 }}", "10243[1, 2]aaa"),
        ("{{ '1' + '2' }}{{ ['x', 'y']|batch(1)|list }}", "12[['x'], ['y']]"),
    ],
)
def test_ordinary_templates_render_as_ever(template: str, text: str) -> None:
    assert render(template, USER) == text


def test_steps_are_counted_for_each_rendering(monkeypatch: pytest.MonkeyPatch) -> None:
    from loragraft.checkpoint import jinja_bounds
    from loragraft.checkpoint.template import compile_template

    monkeypatch.setattr(jinja_bounds, "MAX_STEPS", 10)
    rendered = compile_template("{% for m in messages %}{{ m.content }}{% endfor %}")
    for _ in range(5):
        assert rendered(USER * 4) == "aaaa"
    with pytest.raises(TemplateError, match="more than 10 steps"):
        rendered(USER * 11)
