"""The last stage, against a server that answers as Ollama does, by llama.cpp on the real file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loragraft.engine.ollama_server import OllamaServer
from loragraft.errors import InputError
from loragraft.trace.chain import trace_chain
from loragraft.trace.report import StageReport, TraceReport
from tests.support.ollama_server import OllamaStandIn
from tests.support.ollama_store import ANCIENT
from tests.trace.conftest import Chain
from tests.trace.editing import edit_gguf

CHATML = (
    "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}"
    "<|im_start|>assistant\n"
)
MISTRAL = (
    '{{ range .Messages }}{{ if eq .Role "user" }}[INST] {{ .Content }} [/INST]'
    "{{ else }}{{ .Content }}</s>{{ end }}{{ end }}"
)


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[OllamaStandIn]:
    with OllamaStandIn(tmp_path / "server") as server:
        yield server


def register(stand_in: OllamaStandIn, path: Path, template: str, *stops: str) -> None:
    with OllamaServer(stand_in.url) as client:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        client.upload(path, digest)
        parameters: Mapping[str, Any] = {"num_ctx": 512, "stop": list(stops)}
        client.create("m", {"template": template, "parameters": parameters}, digest)


def ask(found: Chain, stand_in: OllamaStandIn, model: Path | None = None) -> TraceReport:
    with OllamaServer(stand_in.url) as server:
        return trace_chain(replace(found.request(model), server=server, tag="m"))


def last(report: TraceReport) -> StageReport:
    assert report.stages[-1].key == "ollama"
    return report.stages[-1]


def test_a_healthy_server(chain: Callable[[str], Chain], stand_in: OllamaStandIn) -> None:
    found = chain("mistral")
    register(stand_in, found.gguf(), MISTRAL, "</s>")
    report = ask(found, stand_in)
    assert report.healthy, report.headline
    stage = last(report)
    assert [cell.verdict for cell in stage.cells.values()] == ["same"] * 4
    assert "log-probabilities differ by" in stage.cells["distribution"].detail
    assert stage.answers[0].finish == "stop"


def test_a_swapped_template(chain: Callable[[str], Chain], stand_in: OllamaStandIn) -> None:
    found = chain("mistral")
    register(stand_in, found.gguf(), CHATML, "</s>")
    report = ask(found, stand_in)
    assert report.guilty is last(report), report.headline
    assert report.guilty.causes[0].code == "template_swapped"
    assert "ollama register" in report.guilty.causes[0].fix


@pytest.mark.parametrize("shown", [True, False])
def test_a_doubled_bos(chain: Callable[[str], Chain], stand_in: OllamaStandIn, shown: bool) -> None:
    """The template writes the BOS that the server adds as well."""
    found = chain("mistral")
    if not shown:
        stand_in.generation = stand_in.store.generation = ANCIENT
    register(stand_in, found.gguf(), "<s>" + MISTRAL, "</s>")
    report = ask(found, stand_in)
    assert report.guilty is last(report), report.headline
    assert [cause.code for cause in report.guilty.causes] == ["bos_doubled"]
    if not shown:
        assert "the server counts" in report.guilty.causes[0].evidence
        assert last(report).cells["text"].verdict == "not seen"


def test_a_stop_token_that_the_server_does_not_heed(
    chain: Callable[[str], Chain], stand_in: OllamaStandIn
) -> None:
    found = chain("mistral")
    register(stand_in, found.gguf(), MISTRAL)
    stand_in.faults["endless"] = True
    report = ask(found, stand_in)
    assert report.guilty is last(report), report.headline
    assert report.guilty.causes[0].code == "stop_lost"
    assert "the server goes on with" in report.guilty.causes[0].evidence


def test_a_tag_made_of_another_file(
    chain: Callable[[str], Chain], stand_in: OllamaStandIn, tmp_path: Path
) -> None:
    found = chain("pico-llama")
    other = edit_gguf(found.gguf("Q8_0"), tmp_path / "o.gguf", {"llama.rope.freq_base": 10.0})
    register(stand_in, other, CHATML)
    report = ask(found, stand_in)
    assert report.guilty is last(report), report.headline
    assert {cause.code for cause in report.guilty.causes} & {"rope_theta", "other_model"}


def test_no_such_tag(chain: Callable[[str], Chain], stand_in: OllamaStandIn) -> None:
    with pytest.raises(InputError, match="no model 'm'"):
        ask(chain("mistral"), stand_in)


def test_nobody_listens(chain: Callable[[str], Chain], stand_in: OllamaStandIn) -> None:
    found = chain("mistral")
    stand_in.close()
    report = ask(found, stand_in)
    assert report.healthy
    assert "Ollama" in str(last(report).skipped)
