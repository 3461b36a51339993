"""Choosing a token: exact where it is greedy, repeatable with a seed, fair otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from loragraft.engine.protocol import Sampling
from loragraft.engine.sampling import Sampler
from loragraft.errors import BundleError, InputError

LOGITS = arrays(np.float32, st.integers(1, 600), elements=st.floats(-30, 30, width=32))


def draw(logits: Any, count: int = 2000, **settings: Any) -> list[int]:  # noqa: ANN401
    sampler = Sampler(Sampling(**{"temperature": 1.0, "seed": 7, **settings}))
    return [sampler.choose(np.asarray(logits, np.float32), []) for _ in range(count)]


@given(LOGITS)
def test_temperature_zero_takes_the_likeliest(logits: Any) -> None:  # noqa: ANN401
    assert logits[draw(logits, 1, temperature=0)[0]] == logits.max()


@given(LOGITS, st.integers(0, 2**70))
def test_a_seed_gives_the_same_choices(logits: Any, seed: int) -> None:  # noqa: ANN401
    assert draw(logits, 5, seed=seed) == draw(logits, 5, seed=seed)


@given(LOGITS, st.integers(1, 50))
def test_top_k_takes_one_of_the_k_likeliest(logits: Any, k: int) -> None:  # noqa: ANN401
    floor = np.sort(logits)[-min(k, len(logits))]
    assert all(logits[token] >= floor for token in draw(logits, 5, top_k=k))


@given(LOGITS, st.floats(0.01, 0.99))
def test_top_p_takes_from_the_smallest_set_with_that_mass(logits: Any, mass: float) -> None:  # noqa: ANN401
    weights = np.exp(logits.astype(np.float64) - logits.max())
    ordered = np.sort(weights / weights.sum())[::-1]
    needed = int((ordered.cumsum() < mass - 1e-9).sum()) + 1
    floor = ordered[min(needed, len(ordered)) - 1]
    for token in draw(logits, 5, top_p=mass):
        assert weights[token] / weights.sum() >= floor * (1 - 1e-9)


@given(LOGITS, st.floats(0.01, 1))
def test_min_p_drops_what_is_unlikely_beside_the_best(logits: Any, share: float) -> None:  # noqa: ANN401
    for token in draw(logits, 5, min_p=share):
        assert np.exp(float(logits[token]) - float(logits.max())) >= share * (1 - 1e-6)


def test_chances_are_those_of_the_distribution() -> None:
    shares = np.bincount(draw(np.log([0.5, 0.3, 0.2]), 4000), minlength=3) / 4000
    assert np.abs(shares - [0.5, 0.3, 0.2]).max() < 0.04
    hot = np.bincount(draw(np.log([0.5, 0.3, 0.2]), 4000, temperature=100.0), minlength=3) / 4000
    assert np.abs(hot - 1 / 3).max() < 0.04


def test_the_repetition_penalty_looks_at_the_last_tokens_only() -> None:
    logits = np.array([2.0, 1.9, -1.0], np.float32)
    sampler = Sampler(Sampling(temperature=0, repeat_penalty=1.5))
    assert sampler.choose(logits, []) == 0
    assert sampler.choose(logits, [0]) == 1
    assert sampler.choose(logits, [0] + [2] * 64) == 0
    assert logits.tolist() == pytest.approx([2.0, 1.9, -1.0])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_broken_logits_are_said(value: float) -> None:
    with pytest.raises(BundleError, match="NaN or infinite"):
        Sampler(Sampling()).choose(np.array([1.0, value], np.float32), [])


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", -1.0), ("temperature", float("nan")), ("top_k", -1), ("top_p", 0.0),
     ("top_p", 1.1), ("min_p", -0.1), ("repeat_penalty", 0.0), ("max_tokens", 0)],
)  # fmt: skip
def test_settings_that_mean_nothing_are_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        Sampler(Sampling(**{name: value}))  # type: ignore[arg-type]
