"""How far an adapted model's outputs are from its base's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Verdict = Literal["identical", "effective", "not finite"]

IDENTICAL_COSINE = 0.9999
"""Above it two outputs lead to the same neighbours and answers but for ties."""
EFFECTIVE_COSINE = 0.99
"""Below it no rounding of a merge or of a smaller type explains the difference."""


@dataclass(frozen=True)
class Difference:
    """Two sets of vectors, row by row.

    Attributes:
        cosine: Mean cosine of the rows.
        lowest: Lowest cosine of a row.
        largest: Largest difference of an element.
        noise: 1 minus the cosine between two passes of the adapted model, toggled in between.
        bit_identical: Whether every element is equal.
        verdict: Identical above 0.9999, effective below 0.99, between them by the noise.
    """

    cosine: float
    lowest: float
    largest: float
    noise: float
    bit_identical: bool
    verdict: Verdict

    @property
    def beyond_noise(self) -> bool:
        """Whether the outputs differ at all by more than between two passes."""
        return not self.bit_identical and 1 - self.cosine > self.noise

    def __str__(self) -> str:
        """Return the figures in a line."""
        if self.verdict == "not finite":
            return "not finite"
        bits = ", bit-identical" if self.bit_identical else ""
        return (
            f"{self.verdict}: cosine {self.cosine:.6f} (lowest {self.lowest:.6f}), largest "
            f"difference {self.largest:.3g}, toggle noise {self.noise:.1g}{bits}"
        )


def row_cosines(a: Vectors, b: Vectors) -> NDArray[np.float64]:
    """Return the cosine of each pair of rows, in double precision; 1 where both are zero.

    Args:
        a: Shape ``[rows, width]``.
        b: The same shape.
    """
    x, y = a.astype(np.float64), b.astype(np.float64)
    norms = np.sqrt((x * x).sum(1) * (y * y).sum(1))
    equal = (x == y).all(1)
    cosines: NDArray[np.float64] = np.where(
        equal, 1.0, (x * y).sum(1) / np.where(norms > 0, norms, 1.0)
    )
    return cosines.clip(-1.0, 1.0)


def compare(base: Vectors, tuned: Vectors, again: Vectors) -> Difference:
    """Compare a base's vectors with two passes of the adapted model.

    Raises:
        ValueError: If the shapes differ.
    """
    if base.shape != tuned.shape or tuned.shape != again.shape:
        raise ValueError(f"shapes differ: {base.shape}, {tuned.shape}, {again.shape}")
    if not np.isfinite(tuned).all():
        nan = float("nan")
        return Difference(nan, nan, nan, nan, False, "not finite")
    cosines = row_cosines(base, tuned)
    cosine = float(cosines.mean())
    noise = max(0.0, 1.0 - float(row_cosines(tuned, again).mean()))
    identical = bool((base == tuned).all())
    return Difference(
        cosine, float(cosines.min()), float(np.abs(base - tuned).max()), noise, identical,
        _judge(cosine, noise, identical),
    )  # fmt: skip


def _judge(cosine: float, noise: float, identical: bool) -> Verdict:
    if identical or cosine > IDENTICAL_COSINE:
        return "identical"
    if cosine < EFFECTIVE_COSINE:
        return "effective"
    return "effective" if 1 - cosine > noise else "identical"


def centred(logits: Vectors) -> Vectors:
    """Take each row's mean away: softmax does not see it, and cosines should not either."""
    result: Vectors = logits - logits.mean(1, keepdims=True)
    return result
