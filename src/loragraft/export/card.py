"""The model card of a bundle: what it is, what was measured, how to run it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from loragraft.artifact.space import format_bytes
from loragraft.export.request import ExportedFile, ExportReport, ExportRequest


def _front_matter(request: ExportRequest, report: ExportReport) -> list[str]:
    lines = ["---", "library_name: gguf", "tags:", "- gguf", "- loragraft"]
    if request.base_id:
        lines += [f"base_model: {json.dumps(request.base_id)}"]
        # "adapter" would say that this is one; it is the whole model, changed or only quantized.
        lines += [f"base_model_relation: {'finetune' if request.adapters else 'quantized'}"]
    return [*lines, "---", ""]


def _file_row(file: ExportedFile) -> str:
    types = ", ".join(f"{count} {name}" for name, count in file.type_counts.items())
    return f"| `{file.name}` | {format_bytes(file.nbytes)} | {file.bits_per_weight:.2f} | {types} |"


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def render_card(request: ExportRequest, report: ExportReport, inputs: Mapping[str, Any]) -> str:
    """Return the card as Markdown with the Hub's front matter."""
    base = request.base_name
    first = report.files[0]
    lines = _front_matter(request, report)
    lines += [f"# {request.name}", ""]
    made = "with its LoRA adapter merged in" if request.adapters else "without an adapter"
    lines += [f"`{_escape(base)}` {made}, as GGUF for llama.cpp and Ollama.", ""]
    for adapter in inputs["adapters"]:
        digest = str(adapter.get("sha256", ""))[:12]
        lines += [f"- adapter `{_escape(adapter['name'])}`, scale {adapter['scale']:g}, {digest}"]
    lines += ["", "## Files", "", "| file | size | bits per weight | tensors |"]
    lines += ["| --- | --- | --- | --- |", *(_file_row(file) for file in report.files), ""]
    for file in report.files:
        if file.fallbacks:
            lines += [f"In `{file.name}` some types had to give way:", ""]
            lines += [f"- {count} tensors: {why}" for why, count in file.fallbacks.items()]
            lines += [""]
    lines += ["## Gates", "", "| gate | verdict | measured | expected |"]
    lines += ["| --- | --- | --- | --- |"]
    for gate in report.gates:
        lines.append(
            f"| {gate.name} | {gate.verdict} | {_escape(gate.measured)} | "
            f"{_escape(gate.expected)} |"
        )
    lines += ["", "## Run it", "", "```"]
    model, name = shlex.quote(first.name), shlex.quote(request.name)
    lines += [f"llama-cli -m {model}", "", f"ollama create {name} -f Modelfile"]
    lines += ["```", "", "`sha256sum -c checksums.txt` checks the files."]
    return "\n".join(lines) + "\n"
