"""Numbers in what models write."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.experiment.arms.score_parser import LONGEST, parse_float, parse_staged

WHOLE = [
    ("0.7", 0.7), (" 0.7\n", 0.7), (".7", 0.7), ("0,7", 0.7), ("0.", 0.0), ("1", 1.0), ("-0", 0.0),
    ("70 %", 0.7), ("70%", 0.7), ("12.5 percent", 0.125), ("7/10", 0.7), ("8 out of 10", 0.8),
    ("0.7/1", 0.7), ("seven out of ten", 0.7), ("zero point seven five", 0.75), ("half", 0.5),
    ("three quarters", 0.75), ("Seventy-five percent", 0.75), ("one", 1.0), ("1e-2", 0.01),
    ("**0.7**", 0.7), ("`0.7`.", 0.7), ('"0.7"', 0.7), ("1.0000001", 1.0),
    ("\uff17\uff10\uff05", 0.7), ("3\u20444", 0.75),
]  # fmt: skip
MARKED = [
    ("Score: 0.7", 0.7), ("The score is 0.7.", 0.7), ("score of **0.7**", 0.7),
    ("Final answer = 70%", 0.7), ("Score (0-1): 0.8", 0.8), ("Rating: 8/10, as it is rude", 0.8),
    ("The probability is about 0.25, since", 0.25), ("I took my time. \\boxed{0.7}", 0.7),
    ("<score>0.7</score> because of 0.1", 0.7), ("So **0.7** it is", 0.7),
    ('{"score": 0.7}', 0.7), ('```json\n{"reason": "0.1", "score": "70%"}\n```', 0.7),
    ("score=0.95\nscore=0.95", 0.95), ("Score: 0.7\n\nReason: 0.2 of them", 0.7),
    ("Answer: half", 0.5),
]  # fmt: skip
LAST = [
    ("I would say 0.7", 0.7), ("On a scale from 0 to 1, I'd give 0.8.", 0.8),
    ("It is 0.7, or 70 %", 0.7), ("7 % = 0.07", 0.07), ("0.7 because of 2 rules", 0.7),
    ("1. It is an advert.\n2. So 0.9", 0.9), ("not 0.7 but 0.9", 0.9), ("rule 1 says 0.4", 0.4),
    ("Answer: yes, 0.9", 0.9),
]  # fmt: skip
NOTHING = [
    "", " ", "Yes", "I cannot rate this.", "nan", "inf", "-inf", "85", "1.5", "-0.5", "2024",
    "1,000", "Score: 85. A 0.2 of it is rude.", "Score: 0.2 or 0.3", "between 0.3 and 0.5",
    "0.5 or 0.6", "0-1", "from 0 to 1", "1/0", "7/0.0", "no one knows", "half of it is rude",
    "The comment breaks rule 1.", "not 0.7", "v1.0 is out", "at 0:30", "192.0.1.1", "0.7.1",
    "score: 0.1\nscore: 0.9", "**0.1** or **0.9**", '{"score": true}',
    '{"score": NaN}', "\\boxed{}", "150 %", "11/10",
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value", "stage"),
    [(*case, stage)
     for stage, cases in (("whole", WHOLE), ("marked", MARKED), ("last resort", LAST))
     for case in cases],
)  # fmt: skip
def test_a_number_is_found_in_the_stage_that_should_find_it(
    text: str, value: float, stage: str
) -> None:
    found = parse_staged(text)
    assert found is not None
    assert (found.value, found.stage) == (pytest.approx(value, abs=1e-12), stage)


@pytest.mark.parametrize("text", NOTHING)
def test_what_gives_no_number_is_none_and_never_0(text: str) -> None:
    assert parse_staged(text) is None


@pytest.mark.parametrize(("text", "value"), [
    ("0.7", 0.7), (" 1\n", 1.0), ("1e-3", 0.001), ("0.7.", None), ("Score: 0.7", None),
    ("70%", None), ("nan", None), ("inf", None), ("1.2", None), ("-0.1", None), ("", None),
])  # fmt: skip
def test_the_first_generation_reads_what_float_reads(text: str, value: float | None) -> None:
    found = parse_float(text)
    assert (None if found is None else found.value) == value


@given(
    st.floats(0, 1, allow_subnormal=False), st.sampled_from(["{}", "{}.", "Score: {}", "**{}**"])
)
def test_any_number_of_the_range_comes_back(value: float, form: str) -> None:
    text = f"{value:.6f}"
    found = parse_staged(form.format(text))
    assert found is not None
    assert found.value == pytest.approx(float(text), abs=1e-12)


@given(st.text(max_size=200))
def test_any_text_gives_a_number_of_the_range_or_none(text: str) -> None:
    for parse in (parse_staged, parse_float):
        found = parse(text)
        assert found is None or (0 <= found.value <= 1 and math.isfinite(found.value))
        assert found is None or math.copysign(1, found.value) == 1


@given(st.lists(st.sampled_from(["0.7", "1", "score", ":", "{", "}", '"', " ", "\n", "out of", "/",
                                 "%", "**", "not", "one", "point", "-", "\\boxed{", "<score>"]),
                max_size=30))  # fmt: skip
def test_any_mix_of_marks_is_read_without_a_fault(parts: list[str]) -> None:
    found = parse_staged("".join(parts))
    assert found is None or 0 <= found.value <= 1


@pytest.mark.parametrize("text", [
    "{" * 99_999, "score: " * 20_000, " " * 99_999 + "0", "0.1 " * 9_999, "**" * 50_000,
    "1" * 99_999, "point one " * 9_999,
])  # fmt: skip
def test_an_endless_answer_costs_no_time(text: str) -> None:
    found = parse_staged(text)
    assert found is None or found.value == 0.1
    assert len(text) > LONGEST
