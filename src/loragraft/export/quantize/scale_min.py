"""The search of Q4_K and Q5_K: a scale and a minimum for 32 weights.

Each sub-block of 32 weights x is stored as integers q in 0..top with x ~ scale * q - offset.
The first guess spans from the smallest weight (or 0) to the largest. Then a grid of slightly
different steps is tried: the integers of each step give scale and minimum by weighted least
squares, and the candidate with the smallest weighted squared error wins. A winner's minimum is
the one from which the following steps start. The error of weight x counts mean + |x| times,
where mean is the root mean square of the sub-block.

The method is ggml's (`make_qkx2_quants` in ggml/src/ggml-quants.c, without an importance
matrix); each operation stands in its order, so that each rounds alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llvmlite import ir
from numba.core import cgutils

from loragraft.export.quantize.lanes import FLOAT, Emitter, Variable, Vector

if TYPE_CHECKING:
    from collections.abc import Callable

LENGTH = 32

# Rows of the result of a search, WIDTH floats each.
SCALE, OFFSET, INVERSE, START = range(4)


@dataclass(frozen=True)
class Grid:
    """What differs between the types: the largest integer and the steps that are tried."""

    top: int
    first: float
    steps: int
    step: float = 0.1


@dataclass(frozen=True)
class _Best:
    """The best candidate so far, lane by lane."""

    error: Variable
    scale: Variable
    minimum: Variable
    # With these two the winner's integers can be had again: q = round(inverse * (x - start)).
    inverse: Variable
    start: Variable


def emit_search(grid: Grid) -> Callable[[Emitter, Any], list[Vector]]:
    """Emitter of a search over `grid`, for `lanes.search_intrinsic`."""

    def emit(e: Emitter, pointer: Any) -> list[Vector]:  # noqa: ANN401
        x = e.load_transposed(pointer, LENGTH)
        weights = _weights(e, x)
        sums = _plain_sums(e, x, weights)
        largest = _fold(x, e.larger)
        smallest = e.smaller(_fold(x, e.smaller), e.constant(0.0))
        best = _first_guess(e, grid, x, weights, smallest, largest)
        count = ir.Constant(ir.IntType(32), grid.steps + 1)
        with cgutils.for_range(e.builder, count) as loop:
            inverse = e.splat(_numerator(e, grid, loop.index)) / (largest - best.minimum.get())
            _try_step(e, grid, x, weights, sums, inverse, best)
        return [
            best.scale.get(),
            -best.minimum.get(),
            best.inverse.get(),
            best.start.get(),
        ]

    return emit


def _fold(x: list[Vector], pick: Callable[[Vector, Vector], Vector]) -> Vector:
    kept = x[0]
    for value in x[1:]:
        kept = pick(kept, value)
    return kept


def _weights(e: Emitter, x: list[Vector]) -> list[Vector]:
    squares = e.constant(0.0)
    for value in x:
        squares = squares + value * value
    mean = (squares / e.constant(LENGTH)).sqrt()
    return [mean + abs(value) for value in x]


def _plain_sums(e: Emitter, x: list[Vector], weights: list[Vector]) -> tuple[Vector, Vector]:
    """Sums of the weights, and of the weighted values."""
    del e
    total = weights[0]
    weighted = weights[0] * x[0]
    for weight, value in zip(weights[1:], x[1:], strict=True):
        total = total + weight
        weighted = weighted + weight * value
    return total, weighted


def _error(
    e: Emitter, q: list[Vector], x: list[Vector], weights: list[Vector], fit: tuple[Vector, Vector]
) -> Vector:
    scale, minimum = fit
    error = e.constant(0.0)
    for integer, value, weight in zip(q, x, weights, strict=True):
        difference = scale * integer + minimum - value
        error = error + weight * (difference * difference)
    return error


def _first_guess(
    e: Emitter,
    grid: Grid,
    x: list[Vector],
    weights: list[Vector],
    smallest: Vector,
    largest: Vector,
) -> _Best:
    inverse = e.constant(grid.top) / (largest - smallest)
    scale = e.constant(1.0) / inverse
    q = [e.round_clamped(inverse * (value - smallest), 0, grid.top) for value in x]
    error = _error(e, q, x, weights, (scale, smallest))
    # A sub-block without any spread keeps scale 0 and integers 0: no error beats minus infinity.
    flat = largest.equals(smallest)
    zero = e.constant(0.0)
    return _Best(
        error=e.variable(flat.choose(e.constant(float("-inf")), error)),
        scale=e.variable(flat.choose(zero, scale)),
        minimum=e.variable(smallest),
        inverse=e.variable(flat.choose(zero, inverse)),
        start=e.variable(smallest),
    )


def _numerator(e: Emitter, grid: Grid, index: Any) -> Any:  # noqa: ANN401
    """`first + step * index + top` in float32: the width of the grid's step in integers."""
    step = e.builder.fmul(ir.Constant(FLOAT, grid.step), e.builder.sitofp(index, FLOAT))
    return e.builder.fadd(
        e.builder.fadd(ir.Constant(FLOAT, grid.first), step), ir.Constant(FLOAT, float(grid.top))
    )


def _try_step(
    e: Emitter,
    grid: Grid,
    x: list[Vector],
    weights: list[Vector],
    sums: tuple[Vector, Vector],
    inverse: Vector,
    best: _Best,
) -> None:
    start = best.minimum.get()
    zero = e.constant(0.0)
    sum_q, sum_qq, sum_qx = zero, zero, zero
    q = []
    for value, weight in zip(x, weights, strict=True):
        integer = e.round_clamped(inverse * (value - start), 0, grid.top)
        q.append(integer)
        weighted = weight * integer
        sum_q = sum_q + weighted
        sum_qq = sum_qq + weighted * integer
        sum_qx = sum_qx + weighted * value
    sum_w, sum_x = sums
    determinant = sum_w * sum_qq - sum_q * sum_q
    scale = (sum_w * sum_qx - sum_x * sum_q) / determinant
    minimum = (sum_qq * sum_x - sum_q * sum_qx) / determinant
    # A minimum above 0 is not storable: fit a line through 0 instead.
    above = minimum > zero
    scale = above.choose(sum_qx / sum_qq, scale)
    minimum = above.choose(zero, minimum)
    error = _error(e, q, x, weights, (scale, minimum))
    better = (determinant > zero) & (error < best.error.get())
    best.error.set_where(better, error)
    best.scale.set_where(better, scale)
    best.minimum.set_where(better, minimum)
    best.inverse.set_where(better, inverse)
    best.start.set_where(better, start)
