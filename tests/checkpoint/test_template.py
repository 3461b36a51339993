"""Finding and rendering chat templates."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from loragraft.checkpoint.template import ChatTemplates, render, resolve_chat_template
from loragraft.errors import TemplateError

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Was ist 2 + 2? <b>&amp;</b>"},
    {"role": "assistant", "content": "4"},
    {"role": "user", "content": "你好 🙂\n\n"},
]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a <city>",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def write(folder: Path, **files: object) -> Path:
    """Write files; names use `__` for a slash and `_dot_` for a dot, objects become JSON."""
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text, encoding="utf-8")
    return folder


def test_no_template_is_no_error(tmp_path: Path) -> None:
    assert resolve_chat_template([tmp_path]) == ChatTemplates()
    assert resolve_chat_template([]) == ChatTemplates()


def test_jinja_file_goes_before_json_file_before_configuration(tmp_path: Path) -> None:
    write(tmp_path, tokenizer_config_dot_json={"chat_template": "config"})
    assert resolve_chat_template([tmp_path]).default == "config"
    write(tmp_path, chat_template_dot_json={"chat_template": "json"})
    assert resolve_chat_template([tmp_path]).default == "json"
    write(tmp_path, chat_template_dot_jinja="jinja")
    found = resolve_chat_template([tmp_path])
    assert found.default == "jinja"
    assert found.source == tmp_path / "chat_template.jinja"
    assert len(found.warnings) == 2


def test_equal_templates_in_several_files_say_nothing(tmp_path: Path) -> None:
    config = {"chat_template": "same"}
    write(tmp_path, chat_template_dot_jinja="same", tokenizer_config_dot_json=config)
    assert resolve_chat_template([tmp_path]).warnings == ()


@pytest.mark.parametrize(
    "entry",
    [
        [{"name": "default", "template": "a"}, {"name": "tool use", "template": "b"}],
        {"default": "a", "tool use": "b"},
    ],
)
def test_named_templates_of_the_configuration(entry: object, tmp_path: Path) -> None:
    found = resolve_chat_template(
        [write(tmp_path, tokenizer_config_dot_json={"chat_template": entry})]
    )
    assert found.default == "a"
    assert found.others == {"tool_use": "b"}


def test_named_templates_in_files(tmp_path: Path) -> None:
    write(tmp_path, chat_template_dot_jinja="a", additional_chat_templates__tool_use_dot_jinja="b")
    found = resolve_chat_template([tmp_path])
    assert (found.default, found.others) == ("a", {"tool_use": "b"})


def test_adapter_goes_before_base_and_a_difference_is_named(tmp_path: Path) -> None:
    adapter = write(tmp_path / "adapter", chat_template_dot_jinja="mine")
    base = write(tmp_path / "base", tokenizer_config_dot_json={"chat_template": "theirs"})
    found = resolve_chat_template([adapter, base])
    assert found.default == "mine"
    (warning,) = found.warnings
    assert str(adapter) in warning
    assert str(base) in warning
    assert resolve_chat_template([tmp_path / "none", base]).default == "theirs"
    write(base, tokenizer_config_dot_json={"chat_template": "mine"})
    assert resolve_chat_template([adapter, base]).warnings == ()


@pytest.mark.parametrize("entry", [7, [1], [{"name": "x"}], {"default": 3}, [{"template": "x"}]])
def test_odd_entries_are_refused(entry: object, tmp_path: Path) -> None:
    write(tmp_path, tokenizer_config_dot_json={"chat_template": entry})
    with pytest.raises(TemplateError, match="chat_template of type"):
        resolve_chat_template([tmp_path])


def test_broken_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": "x')
    with pytest.raises(TemplateError, match="not valid JSON"):
        resolve_chat_template([tmp_path])
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(TemplateError, match="not UTF-8"):
        resolve_chat_template([tmp_path])


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").mkdir()
    with pytest.raises(
        TemplateError, match=r"Cannot read .*tokenizer_config\.json: Is a directory"
    ):
        resolve_chat_template([tmp_path])


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{% for x in %}", "TemplateSyntaxError"),
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{{ messages.append(1) }}", "SecurityError"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
        ("{{ 1 + 'a' }}", "TypeError"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
    ],
)
def test_faulty_templates_are_refused(template: str, says: str) -> None:
    with pytest.raises(TemplateError, match=says):
        render(template, MESSAGES)


def test_extras_of_transformers_are_there() -> None:
    template = (
        "{% for m in messages %}\n"
        "    {% if loop.index > 2 %}{% break %}{% endif %}\n"
        "    {% generation %}{{ m.content | tojson }}{% endgeneration %}\n"
        "{% endfor %}\n"
        "{{ strftime_now('%Y') | length }}{{ tools }}"
    )
    assert render(template, MESSAGES) == '"Be brief.""Was ist 2 + 2? <b>&amp;</b>"4None'


TEMPLATES = (
    "Qwen-Qwen2.5-7B-Instruct",
    "Qwen-Qwen3-0.6B",
    "meta-llama-Llama-3.1-8B-Instruct",
    "meta-llama-Llama-3.2-3B-Instruct",
    "google-gemma-2-2b-it",
    "microsoft-Phi-3.5-mini-instruct",
    "HuggingFaceTB-SmolLM3-3B",
    "mistralai-Mistral-Nemo-Instruct-2407",
    "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B",
    "ibm-granite-granite-3.3-2B-Instruct",
    "openai-gpt-oss-120b",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("tools", [None, [TOOL]])
@pytest.mark.parametrize("system", [True, False])
def test_rendering_equals_transformers(
    name: str, tools: list[dict[str, Any]] | None, system: bool, llama_cpp_source: Path
) -> None:
    from jinja2.exceptions import TemplateError as JinjaError
    from transformers.utils.chat_template_utils import render_jinja_template

    path = llama_cpp_source / "models" / "templates" / f"{name}.jinja"
    template = path.read_text(encoding="utf-8")
    messages = MESSAGES if system else MESSAGES[1:]
    variables: dict[str, Any] = {"bos_token": "<s>", "eos_token": "</s>"}
    refusal = None
    try:
        (expected,), _ = render_jinja_template(
            [messages], tools=tools, chat_template=template, add_generation_prompt=True, **variables
        )
    except JinjaError as error:
        refusal = re.escape(str(error))
    if refusal is not None:
        with pytest.raises(TemplateError, match=refusal):
            render(template, messages, tools=tools, add_generation_prompt=True, **variables)
        return
    found = render(template, messages, tools=tools, add_generation_prompt=True, **variables)
    assert found == expected
    assert "4" in found
