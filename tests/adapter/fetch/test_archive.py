"""Archives, honest and hostile: only plain files under safe names ever come out."""

from __future__ import annotations

import gzip
import io
import lzma
import random
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from loragraft.adapter.fetch.archive import archive_kind, unpack
from loragraft.adapter.fetch.limits import Limits
from loragraft.errors import AdapterError, LoragraftError

SMALL = Limits(total_bytes=1 << 20, file_bytes=1 << 19, files=20, ratio=100, ratio_from=1 << 16)
FILES = {"adapter_config.json": b"{}", "sub/adapter_model.safetensors": bytes(range(256)) * 9}
KINDS = {"zip": "zip", "tar": "tar", "tar.gz": "tar.gz", "tgz": "tar.gz", "tar.bz2": "tar.bz2",
         "tar.xz": "tar.xz"}  # fmt: skip


def make_tar(path: Path, members: Iterable[tuple[tarfile.TarInfo, bytes]], mode: str = "w") -> Path:
    """Write a tar file of just these members."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for member, data in members:
            member.size = len(data) if member.isreg() else member.size
            archive.addfile(member, io.BytesIO(data))
    return path


def make_zip(path: Path, members: Iterable[tuple[str | zipfile.ZipInfo, bytes]]) -> Path:
    """Write a zip file of just these members."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members:
            archive.writestr(member, data, zipfile.ZIP_DEFLATED)
    return path


def healthy(path: Path, kind: str, files: dict[str, bytes] | None = None) -> Path:
    """Write an archive as any tool would."""
    contents = FILES if files is None else files
    if kind == "zip":
        return make_zip(path, list(contents.items()))
    members = [(tarfile.TarInfo(name), data) for name, data in contents.items()]
    suffix = KINDS[kind].partition(".")[2]
    return make_tar(path, members, f"w:{suffix}")


def found(folder: Path) -> dict[str, bytes]:
    """Return a folder's files."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An empty folder in an otherwise known surrounding."""
    folder = tmp_path / "deep" / "out"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_healthy_archive(tmp_path: Path, out: Path, kind: str) -> None:
    path = healthy(tmp_path / "download", kind)
    assert archive_kind(path) == KINDS[kind]
    assert unpack(path, out, SMALL) == []
    assert found(out) == FILES


@pytest.mark.parametrize("kind", KINDS)
def test_dates_are_kept(tmp_path: Path, out: Path, kind: str) -> None:
    path = tmp_path / "a"
    if kind == "zip":
        make_zip(path, [(zipfile.ZipInfo("a.json", (2023, 5, 6, 7, 8, 10)), b"1")])
    else:
        member = tarfile.TarInfo("a.json")
        member.mtime = 1_683_349_690
        make_tar(path, [(member, b"1")])
    unpack(path, out, SMALL)
    assert abs((out / "a.json").stat().st_mtime - 1_683_349_690) < 86400


NAMES = {
    "../evil": "leads out",
    "a/../../evil": "leads out",
    "..\\evil": "leads out",
    "/etc/evil": "is absolute",
    "\\evil": "is absolute",
    "C:\\evil": "is absolute",
    "c:evil": "is absolute",
    "//host/share/evil": "is absolute",
    "CON": "reserved on Windows",
    "a/nul.txt/b": "reserved on Windows",
    "com1.safetensors": "reserved on Windows",
    "LPT² .x": "reserved on Windows",
    ".fetch/state": "taken by unfinished",
    "x" * 300: "longer than 200 bytes",
    "/".join("abcdefghijklmnopqrst"): "folders deep",
    "/".join(["x" * 150] * 8): "longer than 1000 bytes",
}


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_harms_is_refused(tmp_path: Path, out: Path, kind: str, name: str) -> None:
    before = set(tmp_path.rglob("*"))
    path = healthy(tmp_path / "a", kind, {"good": b"1", name: b"evil"})
    with pytest.raises(AdapterError, match=NAMES[name]):
        unpack(path, out, SMALL)
    assert not list(tmp_path.rglob("*evil*"))
    assert set(tmp_path.rglob("*")) - before <= {path, out / "good"}


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("a.json", "a.json", "stands twice"),
        ("./a.json", "a.json", "one file on some systems"),
        ("A.json", "a.json", "one file on some systems"),
        ("a\u0308.json", "ä.json", "one file on some systems"),
        ("straße", "STRASSE", "one file on some systems"),
        ("aa:b", "aa?b", "one file on some systems"),
        ("a", "a/b", "which is a file"),
        ("a/b", "a", "both a file and a folder"),
        ("Sub/a", "sub/b", "one folder on some systems"),
        ("a.", "a", "one file on some systems"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_are_one_are_refused(
    tmp_path: Path, out: Path, kind: str, first: str, second: str, words: str
) -> None:
    if kind == "zip":
        path = make_zip(tmp_path / "a", [(first, b"1"), (second, b"2")])
    else:
        members = [(tarfile.TarInfo(name), b"x") for name in (first, second)]
        path = make_tar(tmp_path / "a", members)
    with pytest.raises(AdapterError, match=words):
        unpack(path, out, SMALL)


def test_names_that_only_look_odd_are_spelled_anew(tmp_path: Path, out: Path) -> None:
    files = {"runs/10:22:33 <b>.txt": b"1", "dot./a ": b"2", "b\u200bc": b"3", "tab\there": b"4"}
    notes = unpack(healthy(tmp_path / "a", "tar", files), out, SMALL)
    assert set(found(out)) == {"runs/10-22-33 -b-.txt", "dot/a", "b\u200bc", "tab-here"}
    assert "'runs/10:22:33 <b>.txt' is stored as 'runs/10-22-33 -b-.txt'." in notes


def test_bytes_that_are_no_text(tmp_path: Path, out: Path) -> None:
    unpack(healthy(tmp_path / "a", "tar", {"caf\udce9.json": b"1"}), out, SMALL)
    assert set(found(out)) == {"caf-.json"}


def test_what_a_desktop_leaves_is_left_out(tmp_path: Path, out: Path) -> None:
    rubbish = {"__MACOSX/sub/._a": b"1", "sub/.DS_Store": b"2", "._x": b"3", "Thumbs.db": b"4"}
    notes = unpack(healthy(tmp_path / "a", "zip", {**FILES, **rubbish}), out, SMALL)
    assert found(out) == FILES
    assert len(notes) == 4


def special(kind: bytes, target: str = "") -> tarfile.TarInfo:
    """Return a tar member that is no file."""
    member = tarfile.TarInfo("odd")
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (special(tarfile.SYMTYPE, "/etc/passwd"), "holds the link 'odd'"),
        (special(tarfile.SYMTYPE, "good"), "holds the link 'odd'"),
        (special(tarfile.LNKTYPE, "/etc/passwd"), "holds the link 'odd'"),
        (special(tarfile.CHRTYPE), "no plain file"),
        (special(tarfile.BLKTYPE), "no plain file"),
        (special(tarfile.FIFOTYPE), "no plain file"),
    ],
)
def test_links_and_devices_are_refused(
    tmp_path: Path, out: Path, member: tarfile.TarInfo, words: str
) -> None:
    path = make_tar(tmp_path / "a", [(tarfile.TarInfo("good"), b"1"), (member, b"")])
    with pytest.raises(AdapterError, match=words):
        unpack(path, out, SMALL)
    assert not (out / "odd").is_symlink()
    assert not (out / "odd").exists()


def test_writing_through_a_link_is_refused(tmp_path: Path, out: Path) -> None:
    link = special(tarfile.SYMTYPE, str(tmp_path))
    path = make_tar(tmp_path / "a", [(link, b""), (tarfile.TarInfo("odd/evil"), b"1")])
    with pytest.raises(AdapterError, match="holds the link"):
        unpack(path, out, SMALL)
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices_in_a_zip_are_refused(tmp_path: Path, out: Path, kind: int) -> None:
    member = zipfile.ZipInfo("odd")
    member.create_system, member.external_attr = 3, (kind | 0o777) << 16
    path = make_zip(tmp_path / "a", [("good", b"1"), (member, b"/etc/passwd")])
    with pytest.raises(AdapterError, match="holds"):
        unpack(path, out, SMALL)


def test_an_encrypted_zip_is_refused(tmp_path: Path, out: Path) -> None:
    path = make_zip(tmp_path / "a", [("good", b"1")])
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(AdapterError, match="encrypted"):
        unpack(path, out, SMALL)


def test_a_zip_with_lzma_is_refused(tmp_path: Path, out: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a", b"1" * 100)
    with pytest.raises(AdapterError, match="compression method 14"):
        unpack(tmp_path / "a", out, SMALL)


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.bz2", "tar.xz"])
def test_a_bomb_is_stopped_by_its_ratio(tmp_path: Path, out: Path, kind: str) -> None:
    path = healthy(tmp_path / "a", kind, {"zeros": bytes(400_000)})
    with pytest.raises(AdapterError, match=r"unpacks to more than 100 times its size"):
        unpack(path, out, SMALL)
    assert sum(len(data) for data in found(out).values()) <= 1 << 17


@pytest.mark.parametrize("kind", KINDS)
def test_too_large_a_file_or_sum_is_refused(tmp_path: Path, out: Path, kind: str) -> None:
    rng = random.Random(2)
    one = healthy(tmp_path / "one", kind, {"a": rng.randbytes(600_000)})
    with pytest.raises(AdapterError, match=r"unpacks to more than 512\.0 KiB \(--max-size\)"):
        unpack(one, out, SMALL)
    many = healthy(tmp_path / "many", kind, {f"{i}": rng.randbytes(400_000) for i in range(3)})
    with pytest.raises(AdapterError, match="unpacks to more than"):
        unpack(many, out, SMALL)


@pytest.mark.parametrize("kind", KINDS)
def test_too_many_members_are_refused(tmp_path: Path, out: Path, kind: str) -> None:
    path = healthy(tmp_path / "a", kind, {f"{i}": b"" for i in range(21)})
    with pytest.raises(AdapterError, match="more than 20 members"):
        unpack(path, out, SMALL)


def test_folders_count_as_members(tmp_path: Path, out: Path) -> None:
    folders = [tarfile.TarInfo(f"d{i}") for i in range(21)]
    for folder in folders:
        folder.type = tarfile.DIRTYPE
    path = make_tar(tmp_path / "a", [(folder, b"") for folder in folders])
    with pytest.raises(AdapterError, match="more than 20 members"):
        unpack(path, out, SMALL)


def test_a_zip_that_lies_about_a_size(tmp_path: Path, out: Path) -> None:
    path = make_zip(tmp_path / "a", [("a", random.Random(3).randbytes(300_000))])
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\x01\x02") + 24
    data[place : place + 4] = (10).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(AdapterError):
        unpack(path, out, SMALL)


def test_a_zip_with_an_endless_directory_is_not_read(tmp_path: Path, out: Path) -> None:
    many = {f"{i:0900}": b"" for i in range(9_000)}
    path = make_zip(tmp_path / "a", list(many.items()))
    with pytest.raises(AdapterError, match="own tables"):
        unpack(path, out, Limits(files=100_000))


def test_a_tar_with_an_endless_header_is_not_read(tmp_path: Path, out: Path) -> None:
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 3 << 30
    with gzip.open(tmp_path / "a", "wb") as file:
        file.write(header.tobuf())
        file.write(bytes(5 << 20))
    with pytest.raises(AdapterError, match="as no honest one has"):
        unpack(tmp_path / "a", out, Limits())


def test_a_sparse_map_without_end_is_not_read(tmp_path: Path, out: Path) -> None:
    member = tarfile.TarInfo("holes")
    member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0",
                          "GNU.sparse.name": "x", "GNU.sparse.realsize": "1"}  # fmt: skip
    data = b"999999999\n" + b"0\n" * (4 << 20)
    path = make_tar(tmp_path / "a", [(member, data)], "w:gz")
    with pytest.raises(AdapterError, match="as no honest one has"):
        unpack(path, out, Limits())


def test_an_xz_that_asks_for_too_much_memory_is_refused(tmp_path: Path, out: Path) -> None:
    plain = healthy(tmp_path / "plain", "tar").read_bytes()
    packer = lzma.LZMACompressor(lzma.FORMAT_XZ, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0}])
    data = bytearray(packer.compress(plain) + packer.flush())
    # The dictionary's size is one byte of the block header, which ends in its CRC-32.
    start, size = 12, (data[12] + 1) * 4
    place = data.index(bytes([0x21, 0x01]), start, start + size) + 2
    data[place] = 38  # 2 GiB
    crc = start + size - 4
    data[crc : crc + 4] = zlib_crc(data[start:crc])
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(AdapterError, match=r"[Mm]emory"):
        unpack(tmp_path / "a", out, SMALL)


def zlib_crc(data: bytes) -> bytes:
    """Return a CRC-32 as xz stores it."""
    return zlib.crc32(data).to_bytes(4, "little")


def test_several_xz_streams_are_one_file(tmp_path: Path, out: Path) -> None:
    plain = healthy(tmp_path / "plain", "tar").read_bytes()
    parts = lzma.compress(plain[:700]) + bytes(8) + lzma.compress(plain[700:]) + bytes(4)
    (tmp_path / "a").write_bytes(parts)
    unpack(tmp_path / "a", out, SMALL)
    assert found(out) == FILES


def sparse(folder: Path) -> Path:
    """Return a tar with a sparse member: some bytes that claim to be a gigabyte."""
    member = tarfile.TarInfo("holes")
    member.type, member.size = tarfile.GNUTYPE_SPARSE, 512
    block = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    block[386:398], block[398:410] = b"00000000000\0", b"00000001000\0"
    block[483:495] = b"10000000000\0"
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block[:512]):06o}\0 ".encode()
    (folder / "a").write_bytes(bytes(block[:512]) + bytes(512 + 1024))
    return folder / "a"


def test_a_sparse_member_is_refused(tmp_path: Path, out: Path) -> None:
    with pytest.raises(AdapterError, match=r"no plain file|broken"):
        unpack(sparse(tmp_path), out, SMALL)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_off_archive(tmp_path: Path, out: Path, kind: str) -> None:
    files = {"a": random.Random(4).randbytes(100_000), "b": random.Random(5).randbytes(100_000)}
    path = healthy(tmp_path / "a", kind, files)
    path.write_bytes(path.read_bytes()[:120_000])
    with pytest.raises(AdapterError, match="broken or cut off"):
        unpack(path, out, SMALL)


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_archive(tmp_path: Path, out: Path, kind: str) -> None:
    with pytest.raises(AdapterError, match=r"holds no files|broken|no zip or tar"):
        unpack(healthy(tmp_path / "a", kind, {}), out, SMALL)


@pytest.mark.parametrize("name", ["adapter_model.bin", "model.pt", "a.safetensors", "x.npz"])
def test_weights_are_no_archive(tmp_path: Path, name: str) -> None:
    assert archive_kind(healthy(tmp_path / name, "zip")) is None
    assert archive_kind(tmp_path / name, "a.zip") == "zip"


@pytest.mark.parametrize("data", [b"", b"x" * 600, b"PK", b"{}"])
def test_other_files_are_no_archive(tmp_path: Path, out: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    assert archive_kind(tmp_path / "a") is None
    with pytest.raises(AdapterError, match="is no zip or tar file"):
        unpack(tmp_path / "a", out, SMALL)


def _flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 6)):
        data[rng.randrange(len(data))] = rng.randrange(256)


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def _repeat(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    data[start:start] = data[start : start + rng.randrange(600)]


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (_flip, _cut, _repeat)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_mutated_archives_only_ever_give_clear_errors(tmp_path: Path, kind: str) -> None:
    original = healthy(tmp_path / "a", kind).read_bytes()
    rng = random.Random(kind)
    refused = 0
    for number in range(200):
        data = bytearray(original)
        rng.choice(MUTATIONS)(data, rng)
        path, out = tmp_path / "m", tmp_path / "outs" / str(number)
        path.write_bytes(data)
        out.mkdir(parents=True)
        try:
            unpack(path, out, SMALL)
        except LoragraftError:
            refused += 1
    assert refused > 40
    outside = {p.name for p in tmp_path.iterdir()} - {"a", "m", "outs"}
    assert not outside
