"""The lean GGUF reader: against gguf's own, and on damaged files."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loragraft.checkpoint.gguf_file import GgufFile
from loragraft.errors import BundleError
from tests.export.pico_llama import byte_tokens, gguf_tensors, make_weights, write_model

TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K",
         "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS")  # fmt: skip


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("gguf") / "model.gguf", make_weights(1), "Q8_0")


def damaged(tmp_path: Path, source: Path, change: dict[int, bytes], cut: int | None = None) -> Path:
    data = bytearray(source.read_bytes())
    for position, value in change.items():
        data[position : position + len(value)] = value
    path = tmp_path / "damaged.gguf"
    path.write_bytes(data[:cut])
    return path


def test_metadata_is_decoded_on_request(healthy: Path) -> None:
    with GgufFile(healthy) as file:
        assert file.get("general.architecture") == "llama"
        assert file.get("llama.block_count") == 2
        assert file.get("llama.attention.layer_norm_rms_epsilon") == pytest.approx(1e-5)
        assert file.get("tokenizer.ggml.tokens") == byte_tokens()
        assert file.get("tokenizer.ggml.token_type")[-1] == 3
        assert file.get("tokenizer.ggml.add_bos_token") is False
        assert file.get("absent", 7) == 7
        assert "general.architecture" in file.keys


@pytest.mark.parametrize("qtype", TYPES)
def test_sampled_rows_are_the_tensors_rows(tmp_path: Path, qtype: str) -> None:
    import gguf

    path = write_model(tmp_path / "m.gguf", make_weights(2), qtype)
    expected = {t.name: t for t in gguf.GGUFReader(str(path)).tensors}
    with GgufFile(path) as file:
        assert list(file.tensors) == list(expected)
        for name, tensor in expected.items():
            kind = tensor.tensor_type
            whole = np.atleast_2d(gguf.quants.dequantize(np.asarray(tensor.data), kind))
            rows = np.array([0, len(whole) - 1, len(whole) // 2])
            assert np.array_equal(file.rows(name), whole)
            assert np.array_equal(file.rows(name, rows), whole[rows])
            assert file.tensor(name).type_name == kind.name


def test_vectors_are_one_row(healthy: Path) -> None:
    with GgufFile(healthy) as file:
        assert file.rows("output_norm.weight").shape == (1, 256)
        assert file.tensor("output_norm.weight").rows == 1


def test_an_unknown_tensor_is_refused(healthy: Path) -> None:
    with GgufFile(healthy) as file, pytest.raises(BundleError, match="holds no tensor 'x'"):
        file.rows("x")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a GGUF file"),
        (b"GGU", "not a GGUF file"),
        (b"PK\3\4 a zip", "not a GGUF file"),
        (b"GGUF", "past its 4 bytes"),
        (b"GGUF" + struct.pack("<I", 99), "version 99"),
        (b"GGUF" + struct.pack(">I", 3), "big-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0), "cannot fit"),
    ],
)
def test_what_is_no_gguf_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "odd.gguf"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=message):
        GgufFile(path)


def header(*items: bytes, tensors: tuple[bytes, ...] = ()) -> bytes:
    """A file that is nothing but a header of these parts."""
    start = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(items))
    return start + b"".join(items) + b"".join(tensors) + bytes(128)


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def item(key: str | bytes, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def info(name: str, size: int = 8, offset: int = 0) -> bytes:
    return text(name) + struct.pack("<IQIQ", 1, size, 0, offset)


U32, STRING, ARRAY = 4, 8, 9


def test_a_header_of_our_own_is_healthy(tmp_path: Path) -> None:
    strings = struct.pack("<IQ", STRING, 2) + text("a") + text("b")
    path = tmp_path / "fine.gguf"
    path.write_bytes(
        header(
            item("general.alignment", U32, struct.pack("<I", 32)),
            item("list", ARRAY, strings),
            tensors=(info("x"), info("y", offset=32)),
        )
    )
    with GgufFile(path) as file:
        assert file.get("list") == ["a", "b"]
        assert file.rows("y").tolist() == [[0.0] * 8]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (header(item(b"\xff\xfe", U32, bytes(4))), "a name at byte .* is not UTF-8"),
        (header(item("a", 77, bytes(4))), "metadata of the unknown type 77"),
        (header(item("a", ARRAY, struct.pack("<IQ", 9, 1))), "an array of type 9"),
        (
            header(item("a", ARRAY, struct.pack("<IQ", STRING, 1 << 50))),
            "an array of 1125899906842624 strings",
        ),
        (
            header(item("a", ARRAY, struct.pack("<IQ", STRING, 2) + text("x" * 40) + b"\xff" * 8)),
            "string array goes on past the end",
        ),
        (header(item("a", ARRAY, struct.pack("<IQ", U32, 1 << 40))), "goes on past its"),
        (header(item("a", U32, bytes(4)), item("a", U32, bytes(4))), "key 'a' stands twice"),
        (header(item("general.alignment", U32, struct.pack("<I", 24))), "alignment 24 is no power"),
        (header(item("general.alignment", STRING, text("32"))), "alignment '32' is no power"),
        (header(tensors=(info("x"), info("x", offset=32))), "the tensor 'x' stands twice"),
    ],
)
def test_an_odd_header_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "odd.gguf"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=rf"odd\.gguf is broken: .*{message}.*Check its checksum"):
        GgufFile(path)


def test_a_type_without_a_decoder_is_refused(tmp_path: Path) -> None:
    import gguf

    kind = int(gguf.GGMLQuantizationType.I8)
    tensor = text("x") + struct.pack("<IQIQ", 1, 8, kind, 0)
    path = tmp_path / "odd.gguf"
    path.write_bytes(header(tensors=(tensor,)))
    with (
        GgufFile(path) as file,
        pytest.raises(BundleError, match="x has the type I8, which cannot be read back"),
    ):
        file.rows("x")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be read"):
        GgufFile(tmp_path / "none.gguf")


def test_a_truncated_file_is_refused_with_the_missing_bytes(tmp_path: Path, healthy: Path) -> None:
    size = healthy.stat().st_size
    with pytest.raises(BundleError, match="truncated by at least"):
        GgufFile(damaged(tmp_path, healthy, {}, size - 4096))


def info_position(path: Path, name: str) -> int:
    """Where a tensor's info ends with type (u32) and offset (u64), for a matrix."""
    encoded = struct.pack("<Q", len(name)) + name.encode()
    return path.read_bytes().rindex(encoded) + len(encoded)


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, struct.pack("<I", 9), "9 dimensions"),
        (4, struct.pack("<Q", 0), "empty shape"),
        (4, struct.pack("<Q", 250), "no multiple of 32"),
        (4, struct.pack("<Q", 1 << 62), "truncated"),
        (20, struct.pack("<I", 4242), "unknown tensor type"),
        (24, struct.pack("<Q", 1), "not aligned"),
        (24, struct.pack("<Q", 0), "overlap"),
        (24, struct.pack("<Q", 1 << 63), "truncated"),
    ],
)
def test_an_odd_tensor_info_is_refused(
    tmp_path: Path, healthy: Path, at: int, value: bytes, message: str
) -> None:
    place = info_position(healthy, "blk.1.ffn_up.weight") + at
    with pytest.raises(BundleError, match=message):
        GgufFile(damaged(tmp_path, healthy, {place: value}))


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damage_is_either_harmless_or_refused(
    data: st.DataObject, tmp_path: Path, healthy: Path
) -> None:
    header = 16384
    change = data.draw(st.dictionaries(st.integers(0, header), st.binary(min_size=1, max_size=9)))
    cut = data.draw(st.none() | st.integers(0, healthy.stat().st_size))
    path = damaged(tmp_path, healthy, change, cut)
    try:
        with GgufFile(path) as file:
            for key in file.keys:
                file.get(key)
            for name in file.tensors:
                file.rows(name, np.array([0]))
    except BundleError:
        pass


def test_the_pico_holds_every_weight(healthy: Path) -> None:
    with GgufFile(healthy) as file:
        assert set(file.tensors) == set(gguf_tensors(make_weights(1)))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.gguf")
    with pytest.raises(BundleError, match="is no file"):
        GgufFile(tmp_path / "m.gguf")
