"""The parts of a diagnosis that need no model: judging, naming, weighing."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loragraft.adapter.diagnose import hypotheses
from loragraft.adapter.diagnose.difference import centred, compare, row_cosines
from loragraft.adapter.diagnose.facts import Facts, WayResult
from loragraft.adapter.diagnose.hypotheses import HYPOTHESES, weigh
from loragraft.adapter.diagnose.report import Prediction, hypothesis
from loragraft.adapter.diagnose.structure import Shift, adapted_paths, find_shift
from loragraft.adapter.peft_loading import require_packages
from loragraft.errors import MissingExtraError

BASE = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)


def turned(cosine: float) -> np.ndarray:
    sine = np.sqrt(1 - cosine**2)
    return np.array([[cosine, sine], [-sine, cosine]], np.float32)


@pytest.mark.parametrize(
    ("cosine", "noise_cosine", "verdict"),
    [
        (1.0, 1.0, "identical"),
        (0.99995, 1.0, "identical"),
        (0.98, 1.0, "effective"),
        (0.98, 0.5, "effective"),
        (0.995, 1.0, "effective"),
        (0.995, 0.99, "identical"),
    ],
)
def test_the_two_limits_and_the_noise_between(
    cosine: float, noise_cosine: float, verdict: str
) -> None:
    tuned = turned(cosine)
    again = tuned @ turned(noise_cosine).T if noise_cosine < 1 else tuned
    assert compare(BASE, tuned, again.astype(np.float32)).verdict == verdict


def test_bits_are_told_from_cosines() -> None:
    same = compare(BASE, BASE.copy(), BASE.copy())
    assert same.bit_identical
    assert not same.beyond_noise
    near = compare(BASE, turned(0.99999), turned(0.99999))
    assert (near.verdict, near.bit_identical, near.beyond_noise) == ("identical", False, True)


def test_nan_and_zeros_are_judged() -> None:
    broken = compare(BASE, BASE * np.float32("nan"), BASE)
    assert broken.verdict == "not finite"
    assert str(broken) == "not finite"
    zeros = np.zeros((1, 3), np.float32)
    assert row_cosines(zeros, zeros).tolist() == [1.0]
    assert row_cosines(zeros, zeros + 1).tolist() == [0.0]
    assert np.abs(centred(np.array([[5.0, 7.0]], np.float32))).tolist() == [[1.0, 1.0]]


MODULES = [f"encoder.layer.{n}.attention.{part}" for n in range(3) for part in ("query", "value")]
names = st.text("abcmodel0_", min_size=1, max_size=6)


@settings(deadline=None)
@given(st.lists(names, max_size=4), st.sampled_from(["", "model.", "bert.text_model."]))
def test_any_prefix_is_found(junk: list[str], inside: str) -> None:
    prefix = "".join(f"{part}." for part in junk)
    paths = [f"{prefix}{module}" for module in MODULES]
    shift = find_shift(paths, {f"{inside}{module}" for module in MODULES} | {"encoder", ""})
    assert shift is not None
    moved = [shift.apply(f"{path}.lora_A.weight") for path in paths]
    assert moved == [f"base_model.model.{inside}{module}.lora_A.weight" for module in MODULES]


def test_other_names_have_no_prefix() -> None:
    assert find_shift([], set(MODULES)) is None
    assert find_shift(["base_model.model.h.0.attn"], set(MODULES)) is None
    assert find_shift(["base_model.model.encoder.layer.9.attention.query"], set(MODULES)) is None
    assert find_shift(["a.x.query", "b.y.query"], {"query"}) is None


def test_names_that_fit_stay() -> None:
    paths = [f"base_model.model.{module}" for module in MODULES]
    shift = find_shift(paths, set(MODULES))
    assert shift == Shift("base_model.model.", "base_model.model.")
    assert not shift.needed
    keys = ["m.a.lora_A.weight", "m.a.lora_B.weight", "m.e.lora_embedding_A", "m.head.weight"]
    assert adapted_paths(keys) == ["m.a", "m.e"]


@pytest.mark.parametrize(
    ("held", "decisive", "confidence"),
    [
        ([True, True], True, "proven"),
        ([True, True], False, "likely"),
        ([True, None], True, "possible"),
        ([True, False, None], True, "ruled out"),
    ],
)
def test_confidence_follows_its_rule(
    held: list[bool | None], decisive: bool, confidence: str
) -> None:
    predictions = [Prediction(f"yes {n}", f"no {n}", h, decisive) for n, h in enumerate(held)]
    found = hypothesis("x", "y", predictions, "", "")
    assert found.confidence == confidence
    told = len(found.evidence_for) + len(found.evidence_against) + len(found.not_measured)
    assert told == len(held)


def facts_of(result: WayResult) -> Facts:
    paths = tuple(f"base_model.model.{module}" for module in MODULES)
    shift = Shift("base_model.model.", "base_model.model.")
    return Facts(
        kind="sentence-transformer", base="b", adapter="a", prepare="", right="inner",
        results={"inner": result}, paths=paths, shift=shift, landing=len(paths), renamed=None,
        pairs=len(paths), idle=0, nonfinite=0, files=(),
    )  # fmt: skip


def test_a_bypassed_wrapper_is_named() -> None:
    result = WayResult("inner", "", difference=compare(BASE, BASE, BASE), bypassed=True)
    top = weigh(facts_of(result))[0]
    assert (top.name, top.confidence) == ("bypassed", "proven")


def test_a_faint_effect_is_too_weak_and_not_sound() -> None:
    tuned = turned(0.99999)
    found = weigh(facts_of(WayResult("inner", "", difference=compare(BASE, tuned, tuned))))
    assert (found[0].name, found[0].confidence) == ("too-weak", "proven")


def test_code_that_prepares_a_folder_comes_first() -> None:
    result = WayResult("inner", "", difference=compare(BASE, BASE, BASE), bypassed=True)
    facts = replace(facts_of(result), prepare="# first\n")
    assert all(item.fix.startswith("# first\n") for item in weigh(facts))


def test_every_cause_is_listed() -> None:
    named = {
        value for value in vars(hypotheses).values()
        if callable(value) and getattr(value, "__annotations__", {}).get("facts") == "Facts"
        and "Hypothesis" in str(value.__annotations__.get("return"))
        and value is not weigh
    }  # fmt: skip
    assert named == set(HYPOTHESES)


@pytest.mark.parametrize(
    ("package", "extra"), [("torch", "peft"), ("sentence_transformers", "rag"), ("scipy", "rag")]
)
def test_a_missing_package_names_its_extra(
    package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else find(name)
    )
    with pytest.raises(MissingExtraError, match=rf"loragraft\[{extra}\]"):
        require_packages("This", "json", package)
