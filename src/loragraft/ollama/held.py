"""What a server holds of a model, compared with what was asked: file, template, parameters, texts.

Servers accept broken models, put the GGUF's Jinja in the place of a template and rewrite files
without a word; what they show of a model is byte-exact otherwise (Ollama 0.24.0 and 0.32.15).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loragraft.checkpoint.gguf_file import GgufFile
from loragraft.engine.ollama_shown import parse_shown
from loragraft.ollama.compose import Composed
from loragraft.ollama.finding import Check, first_difference
from loragraft.ollama.modelfile import Modelfile
from loragraft.ollama.parameters import as_shown, describe

REPLACE = "Register it again with --replace."
_LAYER = re.compile(r"^FROM \S*?sha256[-:]([0-9a-f]{64})\s*$", re.MULTILINE)
_LAST_PART = re.compile(r"^FROM .*sha256[-:]([0-9a-f]{64})\s*$", re.MULTILINE)
_SIZES = ("block_count", "embedding_length", "feed_forward_length", "context_length",
          "attention.head_count", "attention.head_count_kv", "vocab_size")  # fmt: skip
"""Metadata by which another model under the tag is told at once."""


def layer_digest(shown: Mapping[str, Any]) -> str | None:
    """Return the SHA256 of the file that the server runs, out of the Modelfile it shows."""
    text = str(shown.get("modelfile") or "")
    found = _LAYER.search(text) or _LAST_PART.search(text)
    return found[1] if found else None


def check_blob(shown: Mapping[str, Any], digest: str, held: bool) -> Check:
    """Is the uploaded file there under its SHA256, and does the model run it?"""
    layer = layer_digest(shown)
    expected = f"the server holds sha256:{digest}"
    details = {"blob": digest, "layer": layer}
    if layer == digest:
        return Check("file", "pass", f"the model runs sha256:{digest}", expected, "", details)
    if layer is None:
        said = "the server does not show which file it runs"
        return Check("file", "pass" if held else "warn", said, expected, "", details)
    # Newer servers rewrite a file, and may drop the upload later: behaviour decides.
    said = f"the server made sha256:{layer} of it"
    if not held:
        said += "; the upload itself is no longer there"
    return Check("file", "pass", said, expected, "", details)


def check_sizes(shown: Mapping[str, Any], gguf: Path) -> Check:
    """Is it a model of the same shape?"""
    info = shown.get("model_info")
    info = info if isinstance(info, Mapping) else {}
    with GgufFile(gguf) as file:
        architecture = file.get("general.architecture")
        keys = ["general.architecture", *(f"{architecture}.{name}" for name in _SIZES)]
        ours = {key: file.get(key) for key in keys}
    both = [key for key in keys if ours[key] is not None and info.get(key) is not None]
    other = [f"{key} {info[key]}, not {ours[key]}" for key in both if info[key] != ours[key]]
    expected = "the shape of the bundle's GGUF"
    if other:
        return Check("shape", "fail", "; ".join(other), expected, f"Another model. {REPLACE}")
    if not both:
        return Check("shape", "skipped", "the server shows no metadata", expected)
    return Check("shape", "pass", f"{len(both)} values of the metadata agree", expected)


def check_template(shown: Mapping[str, Any], composed: Composed, rendering: Check) -> Check:
    """Is the template in force the one that was asked for, or one that renders the same?"""
    found, asked = str(shown.get("template") or ""), composed.modelfile.template or ""
    expected = "the template that was sent, or one that renders the same"
    if found == asked:
        return Check("template", "pass", f"as sent, {len(asked)} characters", expected)
    whose = "the GGUF's own Jinja" if found == composed.facts.template else "another template"
    if rendering.verdict in ("pass", "warn"):
        said = f"the server has put {whose} in its place, and renders as the training did"
        return Check("template", "pass", said, expected)
    said = f"the server has put {whose} in its place; {first_difference(found, asked)}"
    return Check("template", "fail", said, expected, REPLACE)


def check_parameters(shown: Mapping[str, Any], modelfile: Modelfile) -> Check:
    """Are the parameters, stop texts among them, those that were asked for?"""
    found = parse_shown(str(shown.get("parameters") or ""))
    asked = as_shown(modelfile.parameters)
    expected = describe(asked)
    if found == asked:
        return Check("parameters", "pass", f"all {asked.total()} as sent", expected)
    lost, added = asked - found, found - asked
    said = "; ".join(
        f"{word} {describe(which)}" for word, which in (("lost", lost), ("added", added)) if which
    )
    step = REPLACE
    if any(name == "stop" for name, _ in lost):
        step = f"Answers would run on past their end. {REPLACE}"
    return Check("parameters", "fail", said, expected, step)


def check_texts(shown: Mapping[str, Any], modelfile: Modelfile) -> list[Check]:
    """Are system prompt, messages and licenses held as they were sent?"""
    system = str(shown.get("system") or ""), modelfile.system or ""
    licenses = str(shown.get("license") or ""), "\n".join(modelfile.licenses)
    listed = shown.get("messages") or []
    turns = [
        (str(turn.get("role")), str(turn.get("content")))
        for turn in listed
        if isinstance(turn, Mapping)
    ]
    checks = [_same_text("system", *system), _same_text("license", *licenses)]
    if turns != list(modelfile.messages):
        said = f"{len(turns)} messages before every conversation"
        expected = f"the {len(modelfile.messages)} that were sent"
        checks.append(Check("messages", "fail", said, expected, REPLACE))
    # What is neither asked for nor there needs no line.
    return [check for check in checks if check.verdict == "fail" or check.name == "system"]


def _same_text(name: str, found: str, asked: str) -> Check:
    expected = f"{len(asked)} characters, as sent" if asked else "none"
    if found == asked:
        return Check(name, "pass", expected, expected)
    return Check(name, "fail", first_difference(found, asked), expected, REPLACE)
