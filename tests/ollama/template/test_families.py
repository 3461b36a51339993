"""Translations of real templates: the named families are exact, and Go itself agrees with us."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loragraft.checkpoint.template import compile_template
from loragraft.errors import TemplateError
from loragraft.ollama.modelfile import Modelfile, parse_modelfile
from loragraft.ollama.template import Translation, conversations
from loragraft.ollama.template.go_render import compile_go
from loragraft.ollama.template.translate import NOON, translate_here
from tests.ollama.template.conftest import FIXTURES, VARIABLES
from tests.support.go_template import GoTemplates

WRITTEN = sorted(path.stem for path in FIXTURES.glob("*.jinja"))
REAL = (
    "Qwen-Qwen2.5-7B-Instruct",
    "Qwen-Qwen3-0.6B",
    "MiMo-VL",
    "google-gemma-2-2b-it",
    "meta-llama-Llama-3.1-8B-Instruct",
    "meta-llama-Llama-3.2-3B-Instruct",
    "meta-llama-Llama-3.3-70B-Instruct",
    "microsoft-Phi-3.5-mini-instruct",
    "Mistral-Small-3.2-24B-Instruct-2506",
    "mistralai-Mistral-Nemo-Instruct-2407",
)


@pytest.fixture(scope="module")
def source(llama_cpp_source: Path) -> dict[str, str]:
    """Every template by name: llama.cpp's and ours."""
    paths = [
        *(llama_cpp_source / "models" / "templates").glob("*.jinja"),
        *FIXTURES.glob("*.jinja"),
    ]
    return {path.stem: path.read_text(encoding="utf-8") for path in paths}


@pytest.fixture(scope="module")
def translations(source: dict[str, str]) -> dict[str, Translation]:
    """Translations made so far."""
    return {}


compiled = lru_cache(maxsize=None)(compile_template)
compiled_go = lru_cache(maxsize=None)(compile_go)


def translated(name: str, source: dict[str, str], known: dict[str, Translation]) -> Translation:
    if name not in known:
        known[name] = translate_here(source[name], variables=VARIABLES)
    return known[name]


@pytest.mark.parametrize("name", [*REAL, *WRITTEN])
def test_a_family_is_exact_and_go_agrees(
    name: str, source: dict[str, str], translations: dict[str, Translation], go: GoTemplates
) -> None:
    translation = translated(name, source, translations)
    cases = [case for case in translation.cases if case.jinja is not None]
    assert translation.exact
    assert all(case.same for case in cases if not case.joined)
    modelfile = Modelfile("m.gguf", template=translation.go)
    assert parse_modelfile(modelfile.render()) == modelfile
    accepted = sum(case.same for case in cases)
    assert accepted >= 0.9 * len(cases)
    for case in translation.cases:
        found = go.render(translation.go, case.messages, think=case.think, now=NOON)
        assert found == case.go
        if case.messages[-1]["role"] == "user":
            assert case.messages[-1]["content"].strip() in found


ROLES = st.sampled_from(["system", "user", "assistant", "tool"])
CONTENTS = st.one_of(
    st.text(max_size=40),
    st.text(st.sampled_from(" \n\t\r\x0b\x1c\x85\xa0\u2003\u3000xé<>/think"), max_size=12),
    st.sampled_from(
        ["<think>\na\n</think>\n\nb", "a</think>b</think>\n c", "<think>", "</think>", ""]
    ),
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": ROLES, "content": CONTENTS}, optional={"thinking": st.just("hm\n")}
    ),
    max_size=7,
)


@pytest.mark.parametrize("name", ["Qwen-Qwen3-0.6B", "meta-llama-Llama-3.2-3B-Instruct", "llama-2"])
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=MESSAGES, think=st.none() | st.booleans(), system=st.none() | st.just(" S\n"))
def test_any_conversation_is_rendered_as_go_renders_it(
    name: str,
    messages: list[dict[str, str]],
    think: bool | None,
    system: str | None,
    source: dict[str, str],
    translations: dict[str, Translation],
    go: GoTemplates,
) -> None:
    template = translated(name, source, translations).go
    found = compiled_go(template)(messages, system=system, think=think, now=NOON)
    assert found == go.render(template, messages, system=system, think=think, now=NOON)


@pytest.mark.parametrize("name", [*REAL, *WRITTEN])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=st.lists(CONTENTS.filter(str.strip), min_size=1, max_size=7), system=st.booleans())
def test_any_words_come_out_as_jinja_writes_them(
    name: str,
    contents: list[str],
    system: bool,
    source: dict[str, str],
    translations: dict[str, Translation],
) -> None:
    rendered = compiled_go(translated(name, source, translations).go)
    roles = ["system"] * system + ["user", "assistant"] * 4
    messages = [
        {"role": role, "content": content.encode("utf-8", "replace").decode()}
        for role, content in zip(roles, contents, strict=False)
    ]
    try:
        expected = compiled(source[name])(
            messages, add_generation_prompt=True, strftime_now=NOON.strftime, **VARIABLES
        )
    except TemplateError:
        return
    assert rendered(messages, now=NOON) == expected


def test_conversations_are_many_and_most_reach_the_template_as_they_are() -> None:
    found = conversations()
    assert len(found) >= 20
    assert sum(item.joined for item in found) <= 2
    assert len({item.name for item in found}) == len(found)
