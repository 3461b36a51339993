"""The order of query and key rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.export.architectures import permute_rows, unpermute_rows


def test_halves_of_a_head_interleave() -> None:
    rows = permute_rows(np.arange(12), heads=2)
    assert rows.tolist() == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]


@given(
    heads=st.integers(1, 6),
    half=st.integers(1, 5),
    columns=st.one_of(st.none(), st.integers(1, 4)),
)
def test_the_inverse_restores_and_row_numbers_agree(
    heads: int, half: int, columns: int | None
) -> None:
    shape = (heads * half * 2,) if columns is None else (heads * half * 2, columns)
    array = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    permuted = permute_rows(array, heads)
    np.testing.assert_array_equal(unpermute_rows(permuted, heads), array)
    np.testing.assert_array_equal(permuted, array[permute_rows(np.arange(shape[0]), heads)])


@pytest.mark.parametrize(("rows", "heads"), [(10, 4), (6, 6), (8, 0)])
def test_rows_that_do_not_divide_are_refused(rows: int, heads: int) -> None:
    with pytest.raises(ValueError, match="do not divide"):
        permute_rows(np.zeros(rows), heads)
