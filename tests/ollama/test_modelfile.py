"""Modelfiles: no text leaves its quotes, and all that can be carried comes back as it was."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loragraft.errors import InputError
from loragraft.ollama.modelfile import Command, Modelfile, parse_commands, parse_modelfile, quote

PIECES = st.sampled_from(
    [
        '"',
        '""',
        '"""',
        '""""',
        "\n",
        "\r",
        "\r\n",
        "\t",
        " ",
        "{{",
        "}}",
        "{{ .System }}",
        "\\",
        "#",
        "FROM x",
        "\nFROM x",
        "\nADAPTER y",
        "\nPARAMETER stop z",
        "\nSYSTEM evil",
        "MESSAGE user: a",
        "\x00",
        "\x01",
        "\x1b[2J",
        "\x7f",
        "\x85",
        "\xa0",
        "\u2028",
        "\u200d",
        "\ufeff",
        "é",
        "漢",
        "🙂",
        "\ud800",
        "a",
        ": ",
        "'",
        "`",
        "$(x)",
        "<|im_end|>",
    ]
)
HOSTILE = st.lists(PIECES | st.characters(), max_size=12).map("".join)
NUMBERS = st.one_of(
    st.tuples(st.just("num_ctx"), st.integers(1, 2**40)),
    st.tuples(st.just("temperature"), st.floats(0, 2)),
    st.tuples(st.just("top_p"), st.floats(0, 1)),
    st.tuples(st.just("use_mmap"), st.booleans()),
)
MODELFILES = st.builds(
    Modelfile,
    source=st.just("./model.Q4_K_M.gguf"),
    template=st.none() | HOSTILE,
    system=st.none() | HOSTILE,
    parameters=st.lists(NUMBERS | st.tuples(st.just("stop"), HOSTILE.filter(bool)), max_size=4).map(
        tuple
    ),
    licenses=st.lists(HOSTILE, max_size=2).map(tuple),
    messages=st.lists(
        st.tuples(st.sampled_from(["system", "user", "assistant"]), HOSTILE), max_size=2
    ).map(tuple),
)


def rendered(modelfile: Modelfile) -> str | None:
    """Render, or show that the refusal names the command and what to do."""
    named = re.compile(
        "(TEMPLATE|SYSTEM|PARAMETER stop|LICENSE|MESSAGE).*loragraft ollama register"
    )
    try:
        return modelfile.render()
    except InputError as error:
        if named.search(str(error)) is None:
            raise
        return None


@settings(max_examples=200, deadline=None)
@given(MODELFILES)
@example(Modelfile("./m.gguf", template='a"""\nFROM x', system=None))
@example(Modelfile("./m.gguf", system='""\n"'))
@example(Modelfile("./m.gguf", system='"""'))
@example(Modelfile("./m.gguf", system='x """ \t\nADAPTER y'))
@example(Modelfile("./m.gguf", system="a\r", licenses=('"\nFROM x\n"',)))
@example(Modelfile("./m.gguf", system='\n"""FROM x"""'))
def test_what_is_rendered_is_read_back_or_refused_by_name(modelfile: Modelfile) -> None:
    text = rendered(modelfile)
    if text is not None:
        assert parse_modelfile(text) == modelfile


@settings(max_examples=200, deadline=None)
@given(HOSTILE, HOSTILE, HOSTILE.filter(bool))
def test_a_text_never_changes_another_field(system: str, template: str, stop: str) -> None:
    modelfile = Modelfile("./m.gguf", template, system, (("stop", stop), ("num_ctx", 4096)))
    try:
        commands = parse_commands(modelfile.render())
    except InputError:
        return
    assert [command[:2] for command in commands] == [
        ("from", ""),
        ("template", ""),
        ("system", ""),
        ("parameter", "stop"),
        ("parameter", "num_ctx"),
    ]
    assert [command.value for command in commands] == ["./m.gguf", template, system, stop, "4096"]


@settings(max_examples=100, deadline=None)
@given(HOSTILE)
def test_a_source_is_a_path_and_nothing_else(source: str) -> None:
    try:
        text = Modelfile(source, system="kind").render()
    except InputError:
        return
    assert parse_modelfile(text) == Modelfile(source, system="kind")


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES | st.sampled_from(["FROM a\n", "SYSTEM ", "# c\n"]), max_size=15))
def test_any_file_is_read_or_refused(pieces: list[str]) -> None:
    try:
        found = parse_modelfile("".join(pieces))
    except InputError:
        return
    assert found.source


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a\x00b", r"U\+0000"),
        ("a\x85", r"U\+0085"),
        ("\u2028", r"U\+2028"),
        ("👩\u200d🔬", r"U\+200D"),
        ("\xa0", r"U\+00A0"),
        ('x"""\ny', "three quotation marks"),
        ("\ud800", r"U\+D800"),
    ],
)
def test_what_no_modelfile_can_hold_is_named_and_goes_over_the_api(text: str, reason: str) -> None:
    with pytest.raises(InputError, match=f"SYSTEM.*{reason}.*register sends it over the API"):
        quote(text, "SYSTEM")
    assert Modelfile("./m.gguf", system=text).request() == {"system": text}


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("</s>", '"</s>"'),
        ("", '""'),
        (" a ", '" a "'),
        ('a"b', '"""a"b"""'),
        ('"', '"""""""'),
        ("a\nb", '"""a\nb"""'),
        ('say """ now', '"""say """ now"""'),
        ("# no comment", '"# no comment"'),
    ],
)
def test_quoting(text: str, quoted: str) -> None:
    assert quote(text, "SYSTEM") == quoted


def test_as_ollama_reads_what_others_write() -> None:
    text = (
        "\ufeff# a comment with FROM x\r\nfrom  a b \n\n  Parameter temperature 0.5\r\n"
        'PARAMETER stop  AI assistant:\nSYSTEM """two\nlines"""\nLICENSE one\nLicense two\n'
        'MESSAGE user what: is it\nMESSAGE assistant ""\nPARAMETER mirostat 1\nTEMPLATE "a\nb"\n'
    )
    assert parse_modelfile(text) == Modelfile(
        "a b",
        "a\nb",
        "two\nlines",
        (("temperature", 0.5), ("stop", "AI assistant:")),
        ("one", "two"),
        (("user", "what: is it"), ("assistant", "")),
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("SYSTEM a", "no FROM"),
        ("FROM a\nFROM b", "second FROM"),
        ("FROM a\nADAPTER x", "ADAPTER"),
        ("FROM a\nRENDERER x", "RENDERER"),
        ("FROM a\nEVIL x", "no command"),
        ("FROM", "ends after"),
        ('FROM a\nSYSTEM "', "inside a quoted"),
        ("FROM a\nMESSAGE root x", "role 'root'"),
        ("FROM a\nPARAMETER num_ctx x", "whole number"),
        ("FROM a\nPARAMETER x y", "no parameter of"),
        ("FROM a\nPARAMETER a-b y", "name and a space"),
        ("FROM a\nSYSTEM:x", "a space"),
        ("", "no FROM"),
        ("FROM a\nPARAMETER temperature nan", "finite"),
    ],
)
def test_what_ollama_or_we_refuse(text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        parse_modelfile(text)


def test_commands_in_order() -> None:
    assert parse_commands('FROM a\nPARAMETER stop "x"\nMESSAGE user hi') == [
        Command("from", "", "a"),
        Command("parameter", "stop", "x"),
        Command("message", "user", "hi"),
    ]


def test_a_long_text_takes_no_long_time() -> None:
    text = "line\n" * 200_000 + " " * 100_000
    modelfile = Modelfile("./m.gguf", licenses=(text,))
    assert parse_modelfile(modelfile.render()) == modelfile
