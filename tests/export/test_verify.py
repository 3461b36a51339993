"""Bundles, healthy and broken in one way each."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import pytest

from loragraft.artifact.checksums import write_checksums
from loragraft.artifact.hashing import sha256_file
from loragraft.artifact.metadata import write_metadata
from loragraft.errors import BundleError, CheckFailedError
from loragraft.export.verify import (
    VerifyReport,
    checksums_gate,
    gguf_gate,
    modelfile_source,
    require_verified,
    structure_gate,
    verify_bundle,
)
from tests.export.pico_llama import (
    Weights,
    deltas,
    make_adapter,
    make_weights,
    merged_weights,
    save_base,
    write_model,
)

BASE = make_weights(41)
NAME = "pico.Q8_0.gguf"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("base"), BASE)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_adapter(tmp_path_factory.mktemp("adapter"), 42)


def seal(folder: Path) -> None:
    names = [p.name for p in folder.iterdir() if p.name != "checksums.txt"]
    write_checksums(folder, {name: sha256_file(folder / name) for name in names})


def make_bundle(folder: Path, weights: Weights, qtype: str = "Q8_0") -> Path:
    folder.mkdir()
    write_model(folder / NAME, weights, qtype)
    (folder / "Modelfile").write_text(f"FROM ./{NAME}\nPARAMETER num_ctx 512\n")
    (folder / "README.md").write_text("# pico\n")
    describe(folder)
    seal(folder)
    return folder


@pytest.fixture
def bundle(tmp_path: Path, adapter: Path) -> Path:
    return make_bundle(tmp_path / "bundle", merged_weights(BASE, deltas(adapter)))


def describe(folder: Path, **values: object) -> None:
    metadata = {"kind": "export", "name": "pico", "files": [{"name": NAME}], "gates": []}
    write_metadata(folder, {**metadata, **values})


def record_failure(folder: Path) -> None:
    describe(folder, gates=[{"name": "load", "verdict": "fail"}])


def verdicts(report: VerifyReport) -> dict[str, str]:
    return {gate.name: gate.verdict for gate in report.gates}


def test_a_healthy_bundle_passes_against_base_and_adapter(
    bundle: Path, base: Path, adapter: Path
) -> None:
    report = verify_bundle(bundle, base=base, adapters=[(adapter, 1.0)])
    assert verdicts(report) == dict.fromkeys(
        ("checksums", "structure", "gguf", "load", "tokenizer", "effect", "residual"), "pass"
    ), report.to_json()
    assert report.passed
    require_verified(report)


def test_alone_it_is_checked_without_a_base(bundle: Path) -> None:
    assert set(verdicts(verify_bundle(bundle))) == {"checksums", "structure", "gguf", "load"}


def test_a_bundle_of_the_base_alone_is_compared_with_it(tmp_path: Path, base: Path) -> None:
    folder = make_bundle(tmp_path / "bundle", BASE)
    found = verdicts(verify_bundle(folder, base=base))
    assert found["residual"] == "pass"
    assert "effect" not in found


def record_adapters(folder: Path, *files: str, **values: object) -> None:
    named = {"name": "run/adapter_model.safetensors", "files": dict.fromkeys(files, "0" * 64)}
    describe(folder, adapters=[named], **values)
    seal(folder)


def test_a_merged_bundle_is_not_held_against_the_base_alone(
    bundle: Path, base: Path, adapter: Path
) -> None:
    """The adapter's change would count as a wrong base."""
    assert verdicts(verify_bundle(bundle, base=base))["residual"] == "fail"
    record_adapters(bundle, "adapter_config.json")
    report = verify_bundle(bundle, base=base, full=True)
    found = {gate.name: gate for gate in report.gates}
    assert found["residual"].verdict == found["divergence"].verdict == "skipped"
    assert "merged with run/adapter_model.safetensors" in found["residual"].measured
    assert found["tokenizer"].verdict == "pass"
    assert "effect" not in found
    assert report.passed
    report = verify_bundle(bundle, base=base, adapters=[(adapter, 1.0)])
    assert verdicts(report)["residual"] == "pass"


def test_an_adapters_tokenizer_is_not_held_against_the_bases(bundle: Path, base: Path) -> None:
    record_adapters(bundle, "tokenizer.json")
    assert verdicts(verify_bundle(bundle, base=base))["tokenizer"] == "skipped"


def test_a_resized_vocabulary_is_not_held_against_the_base_alone(
    tmp_path: Path, base: Path
) -> None:
    smaller = {**BASE, "model.embed_tokens.weight": BASE["model.embed_tokens.weight"][:200]}
    small = save_base(tmp_path / "small", smaller, vocab_size=200)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (small / name).unlink()
    folder = make_bundle(tmp_path / "bundle", BASE)
    record_adapters(folder, "tokenizer.json")
    report = verify_bundle(folder, base=small)
    assert verdicts(report)["residual"] == "skipped"
    assert report.passed


@pytest.mark.parametrize("adapters", [None, 5, [], ["x"], [5]])
def test_metadata_without_adapters_ask_for_none(
    tmp_path: Path, base: Path, adapters: object
) -> None:
    folder = make_bundle(tmp_path / "bundle", BASE)
    describe(folder, adapters=adapters)
    seal(folder)
    assert verdicts(verify_bundle(folder, base=base))["residual"] == "pass"


def test_wider_limits_on_the_bundles_own_word_are_said(
    bundle: Path, base: Path, adapter: Path
) -> None:
    given = [(adapter, 1.0)]
    before = {g.name: g.measured for g in verify_bundle(bundle, base=base, adapters=given).gates}
    assert "reference" not in before["effect"] + before["residual"]
    describe(bundle, precision="reference")
    seal(bundle)
    after = {g.name: g.measured for g in verify_bundle(bundle, base=base, adapters=given).gates}
    for name in ("effect", "residual"):
        assert after[name].startswith(before[name])
        assert "judged as --precision reference, with wider limits" in after[name]


@pytest.mark.slow
def test_full_adds_the_divergence(bundle: Path, base: Path, adapter: Path) -> None:
    report = verify_bundle(bundle, base=base, adapters=[(adapter, 1.0)], full=True)
    assert verdicts(report)["divergence"] in ("pass", "warn")
    assert report.passed


def test_a_bundle_without_the_adapter_fails(tmp_path: Path, base: Path, adapter: Path) -> None:
    folder = make_bundle(tmp_path / "bundle", BASE)
    report = verify_bundle(folder, base=base, adapters=[(adapter, 1.0)])
    assert verdicts(report)["effect"] == "fail"
    with pytest.raises(CheckFailedError, match="not merged"):
        require_verified(report)


def test_another_base_fails(tmp_path: Path, base: Path, adapter: Path) -> None:
    folder = make_bundle(tmp_path / "bundle", merged_weights(make_weights(77), deltas(adapter)))
    assert (
        verdicts(verify_bundle(folder, base=base, adapters=[(adapter, 1.0)]))["residual"] == "fail"
    )


def test_a_flipped_bit_fails_the_checksums(bundle: Path) -> None:
    data = bytearray((bundle / NAME).read_bytes())
    data[-1000] ^= 1
    (bundle / NAME).write_bytes(data)
    report = verify_bundle(bundle)
    assert verdicts(report)["checksums"] == "fail"
    assert NAME in report.gates[0].measured


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / "Modelfile").unlink(), "Modelfile is missing"),
        (lambda f: (f / "README.md").unlink(), "README.md is missing"),
        (lambda f: (f / "EXPERIMENT_METADATA.json").unlink(), "METADATA.json is missing"),
        (lambda f: (f / "Modelfile").write_bytes(b"FROM \xff\xfe"), "not UTF-8 text"),
        (
            lambda f: write_metadata(f, {"kind": "export", "name": "x", "gates": []}),
            "lacks 'files'",
        ),
        (lambda f: describe(f, files=[]), f"does not name {NAME}"),
        (lambda f: describe(f, files={}), "'files' or 'gates' that are no list"),
        (lambda f: describe(f, gates=5), "'files' or 'gates' that are no list"),
        (lambda f: (f / "Modelfile").write_text("FROM ../other.gguf\n"), "no GGUF file of this"),
        (lambda f: (f / "Modelfile").write_text("PARAMETER x 1\n"), "no FROM"),
        (lambda f: (f / "EXPERIMENT_METADATA.json").write_text("{"), "not readable as JSON"),
        (lambda f: (f / NAME).rename(f / "other.gguf"), "which is gone"),
        (lambda f: (f / NAME).unlink(), "no .gguf file"),
        (record_failure, "the gate load failed"),
    ],
)
def test_a_broken_structure_fails(bundle: Path, spoil: object, words: str) -> None:
    spoil(bundle)  # type: ignore[operator]
    seal(bundle)
    gate = structure_gate(bundle)
    assert gate.verdict == "fail"
    assert words in gate.measured


def test_a_bundle_without_its_list_fails_both_gates_that_need_it(bundle: Path) -> None:
    (bundle / "checksums.txt").unlink()
    found = {gate.name: gate for gate in verify_bundle(bundle).gates}
    assert found["checksums"].verdict == "fail"
    assert "is not a bundle" in found["checksums"].measured
    assert "checksums.txt is missing" in found["structure"].measured


def test_many_problems_are_counted(bundle: Path) -> None:
    for number in range(6):
        (bundle / f"stray{number}").write_text("")
    gate = checksums_gate(bundle)
    assert gate.verdict == "fail"
    assert "(6 problems in all)" in gate.measured


def test_metadata_that_llama_cpp_needs_is_missed(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(str(tmp_path / "m.gguf"), "llama")
    writer.add_tensor("x", np.zeros((4, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    gate = gguf_gate(tmp_path / "m.gguf")
    assert gate.verdict == "fail"
    assert "lacks general.file_type, tokenizer.ggml.model, tokenizer.ggml.tokens" in gate.measured


def test_a_truncated_gguf_fails_in_every_gate_that_reads_it(bundle: Path) -> None:
    (bundle / NAME).write_bytes((bundle / NAME).read_bytes()[:-100_000])
    seal(bundle)
    found = verdicts(verify_bundle(bundle))
    assert found["gguf"] == found["load"] == "fail"
    assert found["checksums"] == "pass"


@pytest.mark.parametrize("qtype", ["F32", "F16", "Q8_0", "Q4_K"])
def test_invalid_rows_are_found(tmp_path: Path, qtype: str) -> None:
    path = write_model(tmp_path / "m.gguf", BASE, qtype)
    assert gguf_gate(path).verdict == "pass"
    from loragraft.checkpoint.gguf_file import GgufFile

    with GgufFile(path) as file:
        tensor = file.tensor("blk.1.ffn_down.weight")
    data = bytearray(path.read_bytes())
    nan = np.float32(np.nan).tobytes() if qtype == "F32" else np.float16(np.nan).tobytes()
    for row in range(tensor.rows):
        place = tensor.start + row * tensor.row_bytes
        data[place : place + len(nan)] = nan
    path.write_bytes(data)
    gate = gguf_gate(path)
    assert gate.verdict == "fail"
    assert "blk.1.ffn_down.weight" in gate.measured


def test_two_files_are_told_apart(bundle: Path, adapter: Path) -> None:
    write_model(bundle / "pico.F16.gguf", merged_weights(BASE, deltas(adapter)), "F16")
    (bundle / NAME).write_bytes(b"GGUF broken")
    metadata = {"kind": "export", "name": "pico", "gates": []}
    write_metadata(bundle, {**metadata, "files": [{"name": NAME}, {"name": "pico.F16.gguf"}]})
    seal(bundle)
    found = verdicts(verify_bundle(bundle))
    assert found["load:pico.F16.gguf"] == "pass"
    assert found[f"load:{NAME}"] == found[f"gguf:{NAME}"] == "fail"


def test_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="not a folder"):
        verify_bundle(tmp_path / "none")


def test_the_report_is_json(bundle: Path) -> None:
    assert json.loads(json.dumps(verify_bundle(bundle).to_json()))["passed"] is True


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("FROM ./a.gguf", "./a.gguf"),
        ("# x\n\nfrom  a b.gguf \n", "a b.gguf"),
        ('FROM "a.gguf"', "a.gguf"),
        ("FROM", None),
        ("", None),
    ],
)
def test_from_is_read(text: str, source: str | None) -> None:
    assert modelfile_source(text) == source
