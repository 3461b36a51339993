"""Our renderer of Go templates, against Go's own."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loragraft.errors import TemplateError
from loragraft.ollama.template import go_render, render_go
from loragraft.ollama.template.go_text import go_string, go_text
from tests.support.go_template import GoError, GoTemplates

NOW = datetime(2031, 8, 5, 23, 59)
TURNS = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Größe? {{ .X }}"},
    {"role": "user", "content": "你好 🙂"},
    {"role": "assistant", "content": "", "thinking": "hm"},
    {"role": "tool", "content": "1"},
    {"role": "tool", "content": "2"},
    {"role": "user", "content": "end\r\n"},
)
USE = "{{ if false }}{{ .Messages }}{{ end }}"


def both(go: GoTemplates, template: str, messages: Any = TURNS, **options: Any) -> str:  # noqa: ANN401
    """Render with both, compare, return the text."""
    found = render_go(template, messages, now=NOW, **options)
    assert found == go.render(template, messages, now=NOW, **options)
    return found


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (
            "{{ range .Messages }}[{{ .Role }}]{{ end }}",
            "[system][user][assistant][tool][tool][user]",
        ),
        ("{{ range $i, $m := .Messages }}{{ $i }}{{ $m.Content }}|{{ end }}", None),
        ("{{ range $m := .Messages }}{{ $m.Thinking }}{{ end }}", "hm"),
        ("{{ (index .Messages 1).Content }}", "Größe? {{ .X }}\n\n你好 🙂"),
        ("{{ len .Messages }}{{ .System }}{{ currentDate }}", "6Be brief.2031-08-05"),
        ("{{ with .Messages }}{{ len . }}{{ else }}none{{ end }}", "6"),
        (
            "{{ with .System }}{{ . }}{{ end }}{{ with $x := .Messages }}{{ len $x }}{{ end }}",
            None,
        ),
        ("a  {{- /* .Messages */ -}}  b {{- len .Messages -}} \n c", "ab6c"),
        ("{{/* c */}}{{ len .Messages }}{{- /* }} */}} x", "6 x"),
        (
            "{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ $x }}{{ end }}{{ $x }}{{ len .Messages }}",
            "216",
        ),
        ("{{ $x := 1 }}{{ range .Messages }}{{ $x = len .Role }}{{ end }}{{ $x }}", "4"),
        ("{{ range $i := len .Messages }}{{ $i }}{{ . }}{{ end }}", None),
        (
            "{{ range .Messages }}{{ if eq .Role `user` }}{{ break }}{{ end }}{{ .Role }}{{ end }}",
            "system",
        ),
        (
            '{{ range .Messages }}{{ if eq .Role "user" `tool` }}{{ continue }}{{ end }}.{{ end }}',
            "..",
        ),
        ("{{ range .Tools }}x{{ else }}{{ len .Messages }}{{ end }}", "6"),
        ("{{ if and .Messages (not .System) }}a{{ else if .Think }}b{{ else }}c{{ end }}", "c"),
        ("{{ or .Response .System `x` }}{{ and .Response .Messages }}", "Be brief."),
        (
            "{{ .System | len }}{{ .System | eq `Be brief.` }}{{ len .Messages | lt 3 }}",
            "9truetrue",
        ),
        (
            "{{ slice .System 3 }}{{ slice .System 0 2 }}{{ index .System 0 }}{{ len .Messages }}",
            None,
        ),
        ('{{ eq "\\x41\\u00e9\\t\\101" `Aé\tA` }}{{ len .Messages }}', "true6"),
        ("{{ $.IsThinkSet }}{{ $.Think }}{{ len $.Messages }}", "falsefalse6"),
        (
            "{{ le 1 2 }}{{ gt 1 2 }}{{ ge 2 2 }}{{ ne `a` `b` }}{{ len .Messages }}",
            "truefalsetruetrue6",
        ),
        ("{{ -1 }}{{ 1_000 }}{{ len .Messages }}", "-110006"),
        ("{ {} }} '{{ `{{` }}' {{ \"}}\" }}{{ len .Messages }}", "{ {} }} '{{' }}6"),
    ],
)
def test_what_we_read_is_read_as_go_reads_it(
    template: str, expected: str | None, go: GoTemplates
) -> None:
    found = both(go, template)
    assert expected is None or found == expected


def test_system_and_thinking_of_the_request(go: GoTemplates) -> None:
    template = (
        "{{ range .Messages }}{{ .Role }}:{{ .Content }};{{ end }}{{ .Think }}{{ .IsThinkSet }}"
    )
    assert both(go, template, TURNS[1:2], system="S") == "system:S;user:Größe? {{ .X }};falsefalse"
    assert both(go, template, TURNS[:1], system="S", think=False) == "system:Be brief.;falsetrue"
    assert both(go, template, [], system="S", think=True) == "system:S;truetrue"


@pytest.mark.parametrize(
    "template",
    [
        "{{ if }}{{ .Messages }}",
        "{{ if .Messages }}",
        "{{ end }}{{ .Messages }}",
        "{{ else }}{{ .Messages }}",
        "{{ range .Messages }}{{ .Nothing }}{{ end }}",
        "{{ range .Messages }}{{ else if true }}{{ end }}",
        "{{ break }}{{ .Messages }}",
        "{{ .Messages }",
        "{{ .Messages",
        "{{ $x }}{{ .Messages }}",
        "{{ $x = 1 }}{{ .Messages }}",
        "{{ index .Messages 9 }}",
        "{{ slice .System 99 }}{{ .Messages }}",
        "{{ slice .System -1 }}{{ .Messages }}",
        "{{ eq 1 `a` }}{{ .Messages }}",
        "{{ eq 1 }}{{ .Messages }}",
        "{{ len 3 }}{{ .Messages }}",
        "{{ unknown .Messages }}",
        "{{ .Messages 1 }}",
        '{{ "a\nb" }}{{ .Messages }}',
        '{{ "\\q" }}{{ .Messages }}',
        "{{ (.Messages }}",
        "{{ .Messages) }}",
        "{{ | .Messages }}",
        "{{ }}{{ .Messages }}",
        "{{ range $a, $b, $c := .Messages }}{{ end }}",
        "{{ if $a, $b := .Messages }}{{ end }}",
        "{{ range true }}{{ .Messages }}{{ end }}",
        "{{/* open {{ .Messages }}",
        "{{ not }}{{ .Messages }}",
        "no messages",
    ],
)
def test_what_go_refuses_is_refused(template: str, go: GoTemplates) -> None:
    with pytest.raises(GoError):
        go.render(template, TURNS, now=NOW)
    with pytest.raises(TemplateError, match="cannot be rendered here"):
        render_go(template, TURNS, now=NOW)


@pytest.mark.parametrize(
    "template",
    [
        "{{ define `x` }}{{ .Messages }}{{ end }}",
        "{{ range 100000 }}{{ range 100000 }}{{ end }}{{ end }}{{ .Messages }}",
        "{{ if .Messages }}" * 200 + "{{ end }}" * 200,
        "{{ " + "(" * 500 + ".Messages" + ")" * 500 + " }}",
        "{{ .Messages }}",
        "{{ 1.5 }}{{ .Messages }}",
        "{{ nil }}{{ .Messages }}",
    ],
)
def test_what_we_do_not_read_is_refused(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(go_render, "MAX_STEPS", 200_000)
    with pytest.raises(TemplateError, match="cannot be rendered here"):
        render_go(template, TURNS)


def test_content_that_is_no_text_is_refused() -> None:
    with pytest.raises(TemplateError, match="type list"):
        render_go("{{ .Messages }}", [{"role": "user", "content": [{"type": "text"}]}])


TEXTS = st.text(
    st.sampled_from("{}\"`'\\-/* \n\t\r\0\x1b\x7f\x85\ufeff\u2028.aéß🙂$|%"), max_size=30
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS | st.text(max_size=30))
def test_any_text_stays_text(text: str, go: GoTemplates) -> None:
    try:
        source = go_text(text)
    except TemplateError:
        assert any("\ud800" <= character <= "\udfff" for character in text)
        return
    assert '"""' not in f'"{source}"' or not text
    assert not any(ord(character) < 0x20 and character not in "\n\t" for character in source)
    template = f"{source}{{{{ {go_string(text)} }}}}{USE}"
    assert both(go, template) == text * 2


ATOMS = st.sampled_from(
    (
        *(".System", ".Messages", ".Think", "$", "$x", "1", "0", "-3", '"a"', "`b`", "true", "nil"),
        *("(index .Messages 0)", "(index .Messages 0).Role", "currentDate", ".None", "."),
    )
)
NAMES = "eq ne lt le gt ge and or not len index slice print"
CALLS = st.tuples(
    st.sampled_from(NAMES.split(" ")),
    st.lists(ATOMS | ATOMS.map(lambda atom: f"(len {atom})"), max_size=3),
).map(lambda call: f"({call[0]} {' '.join(call[1])})")
PIPES = st.one_of(
    ATOMS, CALLS, st.tuples(ATOMS, st.sampled_from(["len", "not", "eq 1"])).map(" | ".join)
)
LITERALS = st.sampled_from([" a ", "\n", "b", "{", "} ", ""])
NODES = st.recursive(
    st.one_of(
        LITERALS,
        PIPES.map("{{{{ {} }}}}".format),
        PIPES.map("{{{{- {} -}}}}".format),
        PIPES.map("{{{{ $x = {} }}}}".format),
        PIPES.map("{{{{ $x := {} }}}}".format),
        st.just("{{ break }}"),
    ),
    lambda inner: st.builds(
        "{{{{ {} {} }}}}{}{{{{ else }}}}{}{{{{ end }}}}".format,
        st.sampled_from(["if", "with", "range", "range $i, $x :=", "range $x :="]),
        PIPES,
        st.lists(inner, max_size=3).map("".join),
        inner,
    ),
    max_leaves=8,
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(nodes=st.lists(NODES, max_size=4))
def test_any_template_gives_what_go_gives_or_is_refused(nodes: list[str], go: GoTemplates) -> None:
    template = f"{{{{ $x := 2 }}}}{''.join(nodes)}{USE}"
    try:
        found = render_go(template, TURNS, now=NOW)
    except TemplateError:
        return
    assert found == go.render(template, TURNS, now=NOW)
