"""A safetensors file is believed in nothing: each lie of its header has its own refusal."""

from __future__ import annotations

import json
import os
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from loragraft.checkpoint.safetensors import (
    MAX_HEADER_BYTES,
    SafetensorsFile,
    decode_float32,
    read_header,
)
from loragraft.errors import CheckpointError

VALUES = np.arange(6, dtype=np.float32).reshape(3, 2)
HEALTHY: dict[str, Any] = {"dtype": "F32", "shape": [3, 2], "data_offsets": [0, 24]}


def write(path: Path, header: object, data: bytes = b"") -> Path:
    """Write a header, JSON unless it is bytes, and data behind it."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data)
    return path


@pytest.fixture
def healthy(tmp_path: Path) -> Path:
    path = tmp_path / "healthy.safetensors"
    save_file({"w": VALUES, "v": VALUES[0].copy()}, path, {"format": "pt"})
    return path


def test_a_healthy_file_is_read(healthy: Path) -> None:
    with SafetensorsFile(healthy) as file:
        assert file.metadata == {"format": "pt"}
        assert file.tensors["w"].shape == (3, 2)
        np.testing.assert_array_equal(file.array("w"), VALUES)
        np.testing.assert_array_equal(file.rows("w", 1, 3), VALUES[1:])
        assert bytes(file.raw("v")) == VALUES[0].tobytes()


def test_a_header_of_our_own_is_healthy_too(tmp_path: Path) -> None:
    path = write(tmp_path / "x", {"w": HEALTHY}, VALUES.tobytes())
    assert read_header(path)[0]["w"].nbytes == 24


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dtype": None}, "unknown dtype None"),
        ({"dtype": "Q4"}, "unknown dtype 'Q4'"),
        ({"dtype": ["F32"]}, "unknown dtype"),
        ({"shape": "3x2"}, "has the shape '3x2'"),
        ({"shape": [3, -2]}, r"has the shape \[3, -2\]"),
        ({"shape": [3, True]}, r"has the shape \[3, True\]"),
        ({"data_offsets": [0]}, r"the offsets \[0\]"),
        ({"data_offsets": [0, 24, 24]}, r"the offsets \[0, 24, 24\]"),
        ({"data_offsets": None}, "the offsets None"),
        ({"shape": [3, 3]}, "needs 36 bytes, its offsets give 24"),
        ({"data_offsets": [24, 0]}, "its offsets give -24"),
        ({"data_offsets": [4, 28]}, r"leaves a gap \(at byte"),
    ],
)
def test_an_odd_entry_is_refused(tmp_path: Path, change: dict[str, object], words: str) -> None:
    path = write(tmp_path / "odd", {"w": {**HEALTHY, **change}}, VALUES.tobytes() + bytes(4))
    with pytest.raises(CheckpointError, match=rf"odd is not a sound .* tensor 'w' .*{words}"):
        read_header(path)


@pytest.mark.parametrize("entry", [7, "x", [], None, {"dtype": "F32"}])
def test_an_entry_without_its_parts_is_refused(tmp_path: Path, entry: object) -> None:
    with pytest.raises(CheckpointError, match="tensor 'w' lacks"):
        read_header(write(tmp_path / "odd", {"w": entry}))


def test_overlapping_tensors_are_refused(tmp_path: Path) -> None:
    second = {"dtype": "F32", "shape": [2], "data_offsets": [20, 28]}
    path = write(tmp_path / "odd", {"w": HEALTHY, "v": second}, bytes(28))
    with pytest.raises(CheckpointError, match="tensor 'v' overlaps the one before it"):
        read_header(path)


def test_a_name_given_twice_is_refused(tmp_path: Path) -> None:
    entry = json.dumps(HEALTHY)
    path = write(tmp_path / "odd", f'{{"w": {entry}, "w": {entry}}}'.encode(), bytes(24))
    with pytest.raises(CheckpointError, match="the key 'w' stands twice"):
        read_header(path)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"{", "the header is not JSON"),
        (b"\xff\xfe", "the header is not JSON"),
        (b"[" * 100_000, "the header is not JSON"),
        (b"[1]", "the header is not a JSON object"),
        (b'{"__metadata__": [1]}', "__metadata__ is not a JSON object"),
    ],
)
def test_a_header_that_is_none_is_refused(tmp_path: Path, header: bytes, words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        read_header(write(tmp_path / "odd", header))


def test_a_truncated_file_says_how_much_is_there(tmp_path: Path, healthy: Path) -> None:
    data = healthy.read_bytes()
    (tmp_path / "cut").write_bytes(data[:-5])
    with pytest.raises(CheckpointError, match=rf"truncated: {len(data) - 5} bytes of {len(data)}"):
        read_header(tmp_path / "cut")
    (tmp_path / "long").write_bytes(data + b"12345")
    with pytest.raises(CheckpointError, match="5 bytes lie behind the last tensor"):
        read_header(tmp_path / "long")


@pytest.mark.parametrize("content", [b"", b"short", struct.pack("<Q", 10_000) + b"{}"])
def test_a_file_too_short_for_its_header_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd").write_bytes(content)
    with pytest.raises(CheckpointError, match="too few for its header"):
        read_header(tmp_path / "odd")


def test_an_endless_header_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "odd"
    path.write_bytes(struct.pack("<Q", MAX_HEADER_BYTES + 1))
    os.truncate(path, MAX_HEADER_BYTES + 100)  # a hole: no bytes on the disk
    with pytest.raises(CheckpointError, match=f"claims {MAX_HEADER_BYTES + 1} bytes"):
        read_header(path)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"Cannot read .*none: No such file"):
        SafetensorsFile(tmp_path / "none")
    with pytest.raises(CheckpointError, match=r"Cannot read .*: Is a directory"):
        SafetensorsFile(tmp_path)


def test_an_unknown_tensor_and_rows_outside_are_refused(healthy: Path) -> None:
    with SafetensorsFile(healthy) as file:
        with pytest.raises(CheckpointError, match="holds no tensor 'x'"):
            file.array("x")
        for start, stop in ((-1, 2), (2, 1), (0, 4)):
            with pytest.raises(CheckpointError, match=rf"'w' has 3 rows; {start} to {stop} were"):
                file.rows("w", start, stop)


@pytest.mark.parametrize("dtype", ["I8", "F8_E4M3", "U8", "BOOL"])
def test_quantized_weights_are_refused(dtype: str) -> None:
    with pytest.raises(CheckpointError, match=rf"dtype {dtype} are not plain .* full-precision"):
        decode_float32(b"\0" * 8, dtype)


@pytest.mark.parametrize(
    ("dtype", "raw"),
    [("F64", struct.pack("<d", 1.5)), ("F32", struct.pack("<f", 1.5)),
     ("F16", struct.pack("<e", 1.5)), ("BF16", b"\xc0\x3f")],
)  # fmt: skip
def test_plain_floats_are_decoded(dtype: str, raw: bytes) -> None:
    assert decode_float32(raw, dtype).tolist() == [1.5]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ('"shape": [' + ",".join("1" * 100) + '], "data_offsets": [0, 4]', "has 100 dimensions"),
        ('"shape": [' + "9" * 40 + ', 0], "data_offsets": [0, 0]', "has the shape"),
        ('"shape": [0, ' + "9" * 40 + '], "data_offsets": [0, 0]', "has the shape"),
        ('"shape": [' + ",".join("3" * 400_000) + '], "data_offsets": [0, 4]', "400000 dimensions"),
    ],
)
def test_shapes_that_no_array_has_are_refused_at_once(
    entry: str, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.safetensors"
    header = ('{"a": {"dtype": "F32", ' + entry + "}}").encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(CheckpointError, match=words) as caught:
        read_header(path)
    assert len(str(caught.value)) < 500


def test_eight_dimensions_are_read(tmp_path: Path) -> None:
    save_file({"a": np.ones((1,) * 8, np.float32)}, tmp_path / "x.safetensors")
    with SafetensorsFile(tmp_path / "x.safetensors") as file:
        assert file.array("a").shape == (1,) * 8


def test_a_double_key_at_the_end_of_many_is_found_in_time(tmp_path: Path) -> None:
    keys = ",".join(f'"{number}":0' for number in [*range(200_000), 199_999])
    header = ("{" + keys + "}").encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    started = time.process_time()
    with pytest.raises(CheckpointError, match="'199999' stands twice"):
        read_header(path)
    assert time.process_time() - started < 5
