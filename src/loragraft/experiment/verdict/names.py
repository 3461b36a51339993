"""Experiments that a verdict names: each one of the series, and none of them twice."""

from __future__ import annotations

from collections.abc import Callable

from loragraft.experiment.verdict.config import FactorialConfig, FidelityConfig


def check_compared(
    resolve: Callable[[str], str | None],
    factorial: FactorialConfig | None,
    fidelity: FidelityConfig | None,
) -> None:
    """Refuse what compares an experiment with itself, or names none.

    Args:
        resolve: Returns the experiment that a name or an alias means; None for none.
        factorial: Of the series.
        fidelity: Of the series.

    Raises:
        ValueError: Naming the keys and the experiment.
    """
    if factorial is not None:
        _check(resolve, {f"factorial.{key}": str(name) for key, name in factorial})
    if fidelity is not None:
        steps = {f"fidelity.steps[{at}]": name for at, name in enumerate(fidelity.steps)}
        _check(resolve, {"fidelity.reference": fidelity.reference, **steps})


def _check(resolve: Callable[[str], str | None], named: dict[str, str]) -> None:
    seen: dict[str, str] = {}
    for key, name in named.items():
        found = resolve(name)
        if found is None:
            raise ValueError(f"{key}: {name} is no experiment of the series")
        first = seen.setdefault(found, key)
        if first != key:
            raise ValueError(
                f"{key} names {name}, as {first} does: an experiment differs from itself in "
                "nothing; name another one"
            )
