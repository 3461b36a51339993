"""What translations say, and what becomes of odd and hostile templates."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loragraft.errors import TemplateError
from loragraft.ollama.template import Translation, apart, render_go, translate
from loragraft.ollama.template.translate import NOON, translate_here
from tests.ollama.template.conftest import FIXTURES, VARIABLES
from tests.support.go_template import GoTemplates

TURNS = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
USER = ({"role": "user", "content": "Hello?"},)
ANSWERED = (*USER, {"role": "assistant", "content": "Yes."})
SYSTEM = ({"role": "system", "content": "Be brief."},)


def made(template: str, **options: Any) -> Translation:  # noqa: ANN401
    return translate_here(template, variables=VARIABLES, **options)


def fixture(name: str) -> str:
    return (FIXTURES / f"{name}.jinja").read_text(encoding="utf-8")


def note(translation: Translation, word: str) -> str:
    (found,) = [text for text in translation.notes if word in text]
    return found


def test_the_public_way_runs_apart_and_gives_the_same_each_time() -> None:
    template = fixture("smollm2")
    start = time.monotonic()
    found = translate(template, variables=VARIABLES)
    assert time.monotonic() - start < 5
    assert found == translate(template, variables=VARIABLES) == made(template)
    assert found.exact
    assert found.system is None


def test_default_system_stands_in_the_template_and_goes_when_one_is_given() -> None:
    go = made(fixture("smollm2")).go
    assert "named SmolLM" in render_go(go, USER)
    assert render_go(go, USER, system="Be brief.") == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_bos_is_stripped_at_the_very_start_only() -> None:
    for name in ("llama-2", "llama-3", "mistral-v1", "gemma-3"):
        whole, stripped = made(fixture(name)), made(fixture(name), strip_bos="<s>")
        assert stripped.exact
        for before, after in zip(whole.cases, stripped.cases, strict=True):
            assert before.go is not None
            assert before.go.removeprefix("<s>") == after.go
            assert (before.jinja is None) == (after.jinja is None)
    assert made(fixture("llama-2"), strip_bos="<s>").go.count("<s>") >= 1
    unchanged = made(fixture("chatml"), strip_bos="<s>")
    assert unchanged.go == made(fixture("chatml")).go


@pytest.mark.parametrize("name", ["mistral-v1", "llama-2", "gemma-3", "mistral-v3"])
def test_what_jinja_refuses_is_rendered_sensibly(name: str, go: GoTemplates) -> None:
    translation = made(fixture(name))
    assert "refuses" in note(translation, "Jinja refuses these conversations")
    orders = (
        (*SYSTEM, *USER),
        (*SYSTEM, ANSWERED[1], *USER),
        (ANSWERED[1], *USER),
        (*USER, *SYSTEM, *USER),
        (*ANSWERED, *SYSTEM),
        (*USER, {"role": "tool", "content": "7"}),
    )
    for messages in orders:
        text = render_go(translation.go, messages)
        assert text == go.render(translation.go, messages)
        assert text.startswith("<s>")
        positions = [text.find(message["content"]) for message in messages if message not in SYSTEM]
        assert positions == sorted(positions)
        assert -1 not in positions
    assert "Be brief." in render_go(translation.go, orders[0])


def test_an_answers_thoughts_are_dropped_or_kept_as_jinja_does(llama_cpp_source: Any) -> None:  # noqa: ANN401
    path = llama_cpp_source / "models" / "templates" / "Qwen-Qwen3-0.6B.jinja"
    go = made(path.read_text(encoding="utf-8")).go
    thought = {"role": "assistant", "content": "So.", "thinking": "Hm."}
    assert "Hm." not in render_go(go, (*USER, thought, *USER))
    late = "<|im_start|>assistant\n<think>\nHm.\n</think>\n\nSo.<|im_end|>\n"
    assert late in render_go(go, (*USER, thought))
    inline = {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nSo."}
    assert late in render_go(go, (*USER, inline))
    assert "Hm." not in render_go(go, (*USER, inline, *USER))
    assert render_go(go, USER, think=False).endswith("assistant\n<think>\n\n</think>\n\n")
    assert render_go(go, USER, think=True) == render_go(go, USER)
    assert "{{ .Thinking }}" in go


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("%d %b %Y", "09 Mar 2027"),
        ("%B %d, %Y", "March 09, 2027"),
        ("%Y-%m-%d", "2027-03-09"),
        ("%-d.%-m.%y", "9.3.27"),
        ("%F 100%%{", "2027-03-09 100%{"),
    ],
)
def test_dates_are_the_servers(form: str, expected: str, go: GoTemplates) -> None:
    translation = made(f"{{{{ strftime_now('{form}') }}}} {TURNS}")
    assert translation.exact
    assert "server's clock" in note(translation, "the date")
    day = datetime(2027, 3, 9, 1)
    text = render_go(translation.go, USER, now=day)
    assert text == f"{expected} <user>Hello?</><assistant>"
    assert text == go.render(translation.go, USER, now=day)


def test_dates_that_cannot_be_had_are_announced() -> None:
    translation = made(f"{{{{ strftime_now('%A, %H:%M') }}}}{TURNS}")
    assert not translation.exact
    assert "'%A, %H:%M' cannot be had" in note(translation, "the date in the form")
    assert render_go(translation.go, USER, now=datetime(2027, 3, 9)).startswith("2027-03-09<user>")


def test_differences_are_announced_with_both_texts() -> None:
    translation = made(
        "{% for m in messages %}{{ m.content | length }}:{{ m.content }}{% endfor %}"
    )
    assert not translation.exact
    assert "Jinja writes '21:What is" in note(translation, "differs (one user)")
    assert "joins adjacent messages" in note(translation, "two users")


def test_tools_documents_and_variables_are_announced() -> None:
    translation = made(
        "{% if tools %}TOOLS {{ tools | tojson }}{% endif %}{% if documents %}DOCS{% endif %}"
        f"{{{{ custom if custom is defined }}}}{TURNS}"
    )
    assert translation.exact
    assert "TOOLS [{" in note(translation, "tools are not translated")
    assert "DOCS" in note(translation, "documents are not translated")
    assert "nothing to set custom," in note(translation, "which the template reads")


def test_a_template_that_needs_a_list_of_tools_gets_an_empty_one() -> None:
    translation = made("{{ tools | length }}" + TURNS)
    assert translation.exact
    assert "with an empty one" in note(translation, "without a list of tools")


def test_messages_that_jinja_leaves_out_are_left_out() -> None:
    template = (
        "{% for m in messages if m.content and m.role != 'system' %}" + TURNS.partition("%}")[2]
    )
    translation = made(template)
    assert translation.exact
    assert render_go(translation.go, (*SYSTEM, *USER)) == "<user>Hello?</><assistant>"


GATHER = (
    "{% set ns = namespace(words='', any=false) %}{% for m in messages if m.role == 'system' %}SET"
    "{% set ns.any = true %}{% endfor %}[{{ ns.words }}]"
    "{% for m in messages if m.role != 'system' %}<{{ m.role }}>{{ m.content }}</>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("{% set ns.words = m.content %}", "[Be kind.]"),
        ("{% if not ns.any %}{% set ns.words = m.content %}{% endif %}", "[Be brief.]"),
        ("{% set ns.words = ns.words ~ ('; ' if ns.any else '') ~ m.content %}", None),
    ],
)
def test_system_messages_of_any_place_are_gathered_as_jinja_does(
    how: str, expected: str | None, go: GoTemplates
) -> None:
    translation = made(GATHER.replace("SET", how))
    assert translation.exact
    messages = (*SYSTEM, *USER, {"role": "system", "content": "Be kind."}, *USER)
    text = render_go(translation.go, messages)
    assert text == go.render(translation.go, messages)
    begin = expected or "[Be brief.; Be kind.]"
    assert text == f"{begin}<user>Hello?</><user>Hello?</><assistant>"


def test_a_system_message_anywhere_may_silence_the_default() -> None:
    template = (
        "{% if not messages | selectattr('role', 'equalto', 'system') | list %}[default]{% endif %}"
        + TURNS
    )
    translation = made(template)
    assert translation.exact
    assert render_go(translation.go, USER).startswith("[default]<user>")
    assert render_go(translation.go, (*ANSWERED, *SYSTEM, *USER)).startswith("<user>")


def test_thoughts_that_the_last_answer_keeps_are_kept_whole() -> None:
    template = (
        "{% for m in messages %}<{{ m.role }}>"
        "{{ m.content if loop.last else m.content.split('</think>')[-1].strip() }}</>{% endfor %}"
    )
    translation = made(template)
    assert translation.exact
    thought = {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nSo. "}
    kept = "<user>Hello?</><assistant><think>\nHm.\n</think>\n\nSo. </>"
    assert render_go(translation.go, (*USER, thought)) == kept
    assert "Hm." not in render_go(translation.go, (*USER, thought, *USER))


@pytest.mark.parametrize(("opening", "closing"), [("<think>", "</think>"), ("[THINK]", "[/THINK]")])
def test_the_server_is_told_the_tags_of_thoughts(opening: str, closing: str) -> None:
    template = (
        "{% for m in messages %}<{{ m.role }}>{% if m.reasoning_content and loop.last %}"
        f"{opening}{{{{ m.reasoning_content }}}}{closing}{{% endif %}}{{{{ m.content }}}}</>"
        "{% endfor %}"
    )
    translation = made(template)
    assert f"{{{{ if false }}}}{opening}{{{{ .Thinking }}}}{closing}{{{{ end }}}}" in translation.go
    thought = {"role": "assistant", "content": "So.", "thinking": "Hm."}
    assert f"{opening}Hm.{closing}So." in render_go(translation.go, (*USER, thought))
    assert "Hm." not in render_go(translation.go, (*USER, thought, *USER))


HOSTILE = {
    "raises": ("{{ raise_exception('not for you') }}", "not for you"),
    "undefined": ("{{ foo.bar.baz }}" + TURNS, "'foo' is undefined"),
    "syntax": ("{% for %}", "TemplateSyntaxError"),
    "nothing": ("", "does not write a user's words"),
    "constant": ("hello", "does not write a user's words"),
    "twice": ("{% for m in messages %}{{ m.content * 2 }}{% endfor %}", "does not write"),
    "upper": ("{% for m in messages %}{{ m.content | upper }}{% endfor %}", "does not write"),
    "endless recursion": ("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "recursion"),
    "deep": ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}" + TURNS, "recursion"),
    "surrogate": ("\ud800" + TURNS, "half a character"),
    "huge output": (
        "{% for i in range(90000) %}0123456789{% endfor %}" + TURNS,
        "9000\\d\\d characters",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_template_is_refused_in_words(name: str) -> None:
    template, says = HOSTILE[name]
    with pytest.raises(TemplateError, match=says):
        made(template)


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 10 ** (10 ** 10) }}",
        "{{ 'a' * 10 ** 11 }}",
        "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x * 2 %}{% endfor %}",
        "{% set n = namespace(x=[]) %}{% for i in range(60) %}{% set n.x = [n.x] * 2 %}{% endfor %}"
        "{{ n.x }}",
    ],
)
def test_time_and_memory_are_bounded(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "MAX_SECONDS", 1)
    start = time.monotonic()
    with pytest.raises(TemplateError):
        translate(template + TURNS, variables=VARIABLES)
    assert time.monotonic() - start < 8


def test_a_template_of_megabytes_is_refused_at_once() -> None:
    with pytest.raises(TemplateError, match="10000000 characters"):
        translate("x" * 10_000_000, variables=VARIABLES)


LITERALS = st.text(st.sampled_from("{}%#\"`'\\-/* \n\r\0<|>a.$é\ufeff"), max_size=12)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(LITERALS, min_size=4, max_size=4))
def test_texts_of_any_kind_around_messages_stay_texts(texts: list[str], go: GoTemplates) -> None:
    begin, head, tail, end = (repr(text) for text in texts)
    translation = made(
        f"{{{{ {begin} }}}}{{% for m in messages %}}{{{{ {head} ~ m.role ~ m.content ~ {tail} }}}}"
        f"{{% endfor %}}{{{{ {end} if add_generation_prompt }}}}"
    )
    assert translation.exact
    for case in translation.cases:
        assert go.render(translation.go, case.messages, now=NOON) == case.go
    assert '"""' not in translation.go


@pytest.mark.parametrize(
    "literal",
    [
        "{{ .System }}",
        "{{",
        "{",
        "{{/* ",
        '}}{{ end }}{{ define "x" }}',
        '"""\nSYSTEM pwned\nTEMPLATE """',
        "`\"'\\n\\",
        "\0\x01\x1b[31m\x7f\ufeff\u2028",
        "Qx0Z Qxsystem Qxx1Z {{ $text }}",
        "\r\n\t \u00a0",
    ],
)
def test_text_of_a_template_stays_text(literal: str, go: GoTemplates) -> None:
    template = f"{{{{ before }}}}{TURNS.replace('</>', '{{ before }}</>')}{{{{ before }}}}"
    prepared = template.replace("before", repr(literal).replace("\\ufeff", "\ufeff"))
    translation = made(prepared)
    assert translation.exact
    text = f"{literal}<user>Hello?{literal}</><assistant>{literal}"
    assert render_go(translation.go, USER) == text
    assert go.render(translation.go, USER) == text
    assert '"""' not in translation.go
    assert not set(translation.go) & {"\0", "\r", "\x1b", "\ufeff"}
