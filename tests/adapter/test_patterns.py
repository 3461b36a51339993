"""Patterns of an adapter's configuration: judged as by ``re``, in a bounded number of steps."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loragraft.adapter.checks import CheckContext, run_checks
from loragraft.adapter.patterns import MAX_PATTERN, MAX_TEXT, Budget, match_pattern
from loragraft.adapter.reader import open_adapter
from loragraft.checkpoint.model import Checkpoint
from loragraft.errors import AdapterError

Make = Callable[..., Path]
NAME = "model.layers.0.self_attn.q_proj"
SECONDS = 1.5

UNSLOTH = (
    r"(?:.*?(?:vision|image|visual|patch|language|text).*?(?:self_attn|attention|attn|mlp).*?"
    r"(?:k_proj|v_proj|q_proj|out_proj|fc1|fc2).*?)|(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|"
    r"attention|attn|mlp|feed_forward)\.(?:(?:q_proj|k_proj|v_proj|o_proj|gate_proj)))"
)
"""The form that Unsloth's ``get_peft_regex`` gives ``target_modules``."""

ORDINARY = [
    UNSLOTH, r".*\.(q|k|v)_proj", r"^(?!.*visual).*(q_proj|k_proj)$", r"(?:\w+\.)*q_proj",
    r"model\.layers\.(\d|1\d)\.self_attn\.[qkv]_proj", r".*self_attn.*proj", r"(?i:x)?.*q_proj$|a",
    r"(?i).*Q_PROJ", r".*(?<=self_attn\.)q_proj", r"(.)(.)(.)(.)\2.*|m\w+\b.*", ".*",
]  # fmt: skip
HOSTILE = [
    r"(([a-z_.0-9])+)+!", "(.|.)" * 40 + "!", ".*" * 30 + "!", "((((.?){200}){200}){200})!",
    "(?=(.*)*!)x|!", "(?:a|b|[^!])*?(?:.|[^!])*?(?:.*.*)*!", "(?:" * 400 + "a" + ")*" * 400 + "!",
    r"(.?|.?[a-z_.]){20}!",
]  # fmt: skip


def matches(pattern: str, text: str = NAME, *, whole: bool = True) -> dict[str, str] | None:
    found = match_pattern(pattern, text, Budget(), foreign=pattern, whole=whole)
    return None if found is None else dict(found)


@pytest.mark.parametrize("pattern", [p for p in ORDINARY if "(?i:" not in p])
@pytest.mark.parametrize(
    "text", [NAME, "model.visual.blocks.3.attn.q_proj", "lm_head", "model.layers.11.mlp.up_proj"]
)
def test_ordinary_patterns_are_judged_as_re_does(pattern: str, text: str) -> None:
    assert (matches(pattern, text) is not None) == (re.fullmatch(pattern, text) is not None)


PIECE = st.sampled_from([
    "a", "b", ".", r"\.", r"\d", r"\W", "[ab]", "[^a.]", "[a-c_]", r"[\w]", "^", "$", r"\b", r"\B",
    r"\Z", "(?=a)", "(?!b)", "(?<=a)", "(?<!ab)", "(?P<x>a|b)",
])  # fmt: skip
REPEAT = st.sampled_from(
    ["", "", "*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{0,2}?", "{,3}"]
)
PATTERN = st.recursive(
    st.builds(lambda piece, repeat: piece + repeat, PIECE, REPEAT),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.builds(lambda a, b, r: f"(?:{a}|{b}){r}", inner, inner, REPEAT),
        st.builds(lambda a, r: f"({a}){r}", inner, REPEAT),
    ),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(
    pattern=PATTERN,
    text=st.text("ab._1A", min_size=1, max_size=7),
    whole=st.booleans(),
    case=st.booleans(),
)
def test_any_pattern_is_judged_as_re_does(pattern: str, text: str, whole: bool, case: bool) -> None:
    pattern = f"(?i){pattern}" if case else pattern
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compiled = re.compile(pattern)
    except re.error:
        with pytest.raises(AdapterError, match="no regular expression"):
            matches(pattern, text)
        return
    expected = compiled.fullmatch(text) if whole else compiled.match(text)
    found = matches(pattern + "|\\b\\B", text, whole=whole)  # a choice: never left to re itself
    assert (found is not None) == (expected is not None)


def test_groups_are_those_of_re() -> None:
    rule = r"(?:^|.*?\.)(?:layers|h)\.(?P<idx>\d+)\."
    assert matches(rule, whole=False) == {"idx": "0"}
    assert matches(rule, "x.layers.12.experts.h.3.up", whole=False) == {"idx": "12"}
    assert matches(r"(?P<a>x)|model.*(?P<b>q)", whole=False) == {"a": "", "b": "q"}


@pytest.mark.parametrize("pattern", HOSTILE)
@pytest.mark.parametrize(
    "config",
    [
        lambda p: {"target_modules": p},
        lambda p: {"exclude_modules": p},
        lambda p: {"rank_pattern": {p: 4}},
        lambda p: {"alpha_pattern": {p: 4}},
        lambda p: {"layers_pattern": p, "layers_to_transform": [0]},
        lambda p: {"modules_to_save": [p]},
    ],
    ids=["target", "exclude", "rank", "alpha", "layers", "saved"],
)
def test_a_pattern_without_end_is_refused_at_once(
    config: Callable[[str], dict[str, Any]], pattern: str, make_adapter: Make, make_base: Make
) -> None:
    folder, base = make_adapter(**config(pattern)), make_base()
    started = time.process_time()
    with (
        pytest.raises(AdapterError, match="goes back and forth over the name"),
        open_adapter(folder) as adapter,
        Checkpoint(base) as checkpoint,
    ):
        run_checks(CheckContext(adapter, checkpoint))
    assert time.process_time() - started < SECONDS


def test_many_dear_matches_use_a_budget_up() -> None:
    budget, dear = Budget(), "(.*,|.*){4}!|b"
    started = time.process_time()

    def match_all() -> None:
        for number in range(1000):
            match_pattern(dear, f"{number:03}{NAME}"[:16], budget, foreign=dear)

    with pytest.raises(AdapterError, match="goes back and forth"):
        match_all()
    assert time.process_time() - started < SECONDS


def test_an_unsloth_pattern_costs_next_to_nothing() -> None:
    budget = Budget()
    for layer in range(80):
        for name in ("self_attn.q_proj", "mlp.down_proj", "input_layernorm"):
            text = f"model.layers.{layer}.{name}"
            found = match_pattern(UNSLOTH, text, budget, foreign=UNSLOTH, whole=True)
            assert (found is not None) == (name == "self_attn.q_proj")
    assert budget.spent == 0


def test_long_patterns_and_names_are_refused(make_adapter: Make) -> None:
    with pytest.raises(AdapterError, match=f"a pattern of {MAX_PATTERN + 1} characters"):
        open_adapter(make_adapter(target_modules="a" * (MAX_PATTERN + 1)))
    assert matches("a" * MAX_PATTERN) is None
    with pytest.raises(AdapterError, match=f"a name of {MAX_TEXT + 1} characters"):
        matches("a", "a" * (MAX_TEXT + 1))


@pytest.mark.parametrize("pattern", ["(?i:Q)*_proj", "(?m)^.*$", "(a)?(?(1)b|c)"])
def test_what_is_not_judged_is_said(pattern: str) -> None:
    with pytest.raises(AdapterError, match="which no pattern of module names needs"):
        matches(pattern)


def test_a_layer_number_without_end_is_none(make_adapter: Make) -> None:
    folder = make_adapter(layers_to_transform=[0])
    with open_adapter(folder) as adapter:
        assert adapter.config.targets(NAME)
        assert not adapter.config.targets(NAME.replace("0", "1" * 1900))
