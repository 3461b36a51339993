"""The models of the stand-in for Ollama: blobs and manifests on the disk, shown as Go spells them.

Behaviours are those measured on Ollama 0.24.0 and 0.32.15, and read in its source.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from loragraft.checkpoint.gguf_chat import ChatFacts, read_chat_facts
from loragraft.checkpoint.gguf_file import GgufFile
from loragraft.errors import LoragraftError

MODEL_TYPE = "application/vnd.ollama.image.model"
CHATML_STOPS = ["<|im_start|>", "<|im_end|>"]
CHATML = (
    "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}"
    "<|im_start|>assistant\n"
)


class Refused(Exception):
    """An answer with a status and an error's text."""

    def __init__(self, status: int, words: str) -> None:
        """Say so."""
        super().__init__(words)
        self.status, self.words = status, words


@dataclass(frozen=True)
class Generation:
    """What differs between versions of Ollama."""

    version: str
    rewrites: bool
    """Makes a layer of its own of an uploaded GGUF."""
    overrides: bool
    """Puts the GGUF's Jinja in the place of a template, where that mentions tools."""
    repeat_penalty: float
    refuses_long: bool
    """Heeds "truncate": false."""
    shows_render: bool = True
    gives_log_probs: bool = True


OLD = Generation("0.24.0", False, False, 1.1, False)
NEW = Generation("0.32.15", True, True, 1.0, True)
ANCIENT = Generation("0.6.2", False, False, 1.1, False, False, False)


@lru_cache(maxsize=16)
def known_facts(path: str) -> ChatFacts:
    """Read a blob's header once: its name is its digest."""
    return read_chat_facts(Path(path))


def canonical(name: str) -> str:
    """Return a name as the server's list has it, or refuse it."""
    if not re.fullmatch(r"(?:[\w.:-]+/)?(?:[\w-]+/)?\w[\w.-]{0,79}(?::\w[\w.-]{0,79})?", name):
        raise Refused(400, "invalid model name")
    short = name.removeprefix("registry.ollama.ai/").removeprefix("library/")
    return short if ":" in short.rpartition("/")[2] else f"{short}:latest"


def go_value(value: object) -> str:
    """Spell a value as Go's %#v does."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        number = float(value)
        if (number and not 1e-4 <= abs(number) < 1e21) or (abs(number) >= 1e6 and number % 10 == 0):
            mantissa, _, exponent = f"{number:.17e}".partition("e")
            shortest = repr(float(mantissa)).removesuffix(".0")
            return f"{shortest}e{exponent}"
        return repr(number).removesuffix(".0")
    return json.dumps(value, ensure_ascii=False)


class Store:
    """Blobs and manifests in one folder."""

    def __init__(self, folder: Path, generation: Generation) -> None:
        """Make the folder."""
        self.generation = generation
        self.blobs, self.manifests = folder / "blobs", folder / "manifests"
        self.blobs.mkdir(parents=True, exist_ok=True)
        self.manifests.mkdir(exist_ok=True)

    def blob(self, digest: str) -> Path:
        """Return where a blob lies."""
        return self.blobs / digest.replace(":", "-")

    def _put(self, data: bytes, kind: str) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.blob(digest).write_bytes(data)
        return {"mediaType": kind, "digest": digest, "size": len(data)}

    def path(self, name: str) -> Path:
        """Return a manifest's path; names are looked up without regard to case."""
        wanted = canonical(name).lower().replace("/", "%")
        for known in self.manifests.iterdir():
            if known.name.lower() == wanted:
                return known
        return self.manifests / canonical(name).replace("/", "%")

    def load(self, name: str) -> dict[str, Any]:
        """Return a model's manifest, or refuse with 404."""
        path = self.path(name)
        if not path.exists():
            raise Refused(404, f"model '{name}' not found")
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def list(self) -> list[dict[str, Any]]:
        """Return what /api/tags answers."""
        return [
            {
                "name": path.name.replace("%", "/"),
                "model": path.name.replace("%", "/"),
                "modified_at": "2026-01-01T00:00:00Z",
                "size": json.loads(path.read_text())["layer"]["size"],
                "digest": hashlib.sha256(path.read_bytes()).hexdigest(),
                "details": {"format": "gguf"},
            }
            for path in sorted(self.manifests.iterdir())
        ]

    def facts(self, digest: str) -> ChatFacts:
        """Return what a blob's header says, or refuse it as the server does."""
        path = self.blob(digest)
        if not path.exists():
            raise Refused(500, f"open {path}: no such file or directory")
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise Refused(400, "supplied file was not in GGUF format")
        try:
            return known_facts(str(path))
        except LoragraftError:
            raise Refused(500, "unexpected EOF") from None

    def create(self, name: str, request: dict[str, Any]) -> None:
        """Make a model as POST /api/create does."""
        path = self.path(name)
        files = request.get("files") or {}
        if not files:
            raise Refused(400, "neither 'from' or 'files' was specified")
        (digest,) = files.values()
        facts = self.facts(digest)
        template = request.get("template") or CHATML
        if template.count("{{") != template.count("}}"):
            raise Refused(400, "template error: template: :1: unexpected end of action")
        jinja = facts.template or ""
        if self.generation.overrides and "tools" in jinja:
            template = jinja
        parameters = dict(request.get("parameters") or {})
        if "stop" not in parameters and "<|im_start|>" in jinja:
            parameters["stop"] = CHATML_STOPS
        data = self.blob(digest).read_bytes()
        kept = self._put(data + bytes(32) if self.generation.rewrites else data, MODEL_TYPE)
        if self.generation.rewrites:
            layer = kept
        else:
            layer = {"mediaType": MODEL_TYPE, "digest": digest, "size": len(data)}
        manifest = {
            "layer": layer,
            "template": template,
            "jinja": template == jinja,
            "system": request.get("system") or "",
            "license": request.get("license") or [],
            "parameters": parameters,
            "messages": request.get("messages") or [],
            "family": facts.architecture,
        }
        path.write_text(json.dumps(manifest, sort_keys=True))

    def copy(self, source: str, target: str) -> None:
        """Give a manifest a second name."""
        self.load(source)
        self.path(target).write_bytes(self.path(source).read_bytes())

    def delete(self, name: str) -> None:
        """Remove a manifest, and blobs that no other names."""
        layer = self.load(name)["layer"]["digest"]
        self.path(name).unlink()
        others = [json.loads(path.read_text()) for path in self.manifests.iterdir()]
        if all(other["layer"]["digest"] != layer for other in others):
            self.blob(layer).unlink(missing_ok=True)

    def vocabulary(self, digest: str) -> dict[str, Any]:
        """Return the tokenizer's part of a blob's metadata."""
        with GgufFile(self.blob(digest)) as file:
            return {key: file.get(key) for key in file.keys if key.startswith("tokenizer.")}

    def info(self, model: dict[str, Any], *, verbose: bool) -> dict[str, Any]:
        """Return a model's metadata; lists only where they are asked for."""
        found = self.vocabulary(model["layer"]["digest"])
        if not verbose:
            found = {k: None if isinstance(v, list) else v for k, v in found.items()}
        return {"general.architecture": model["family"], **found}

    def show(self, name: str, *, verbose: bool = False) -> dict[str, Any]:
        """Return what /api/show answers."""
        model = self.load(name)
        lines = [
            f"{key:<30} {go_value(item)}"
            for key, value in model["parameters"].items()
            for item in (value if isinstance(value, list) else [value])
        ]
        modelfile = (
            '# Modelfile generated by "ollama show"\n'
            "# To build a new Modelfile based on this, replace FROM with:\n"
            f"# FROM {name}\n\nFROM {self.blob(model['layer']['digest'])}\n"
            f'TEMPLATE """{model["template"]}"""\n'
        )
        shown = {
            "license": "\n".join(model["license"]),
            "modelfile": modelfile,
            "parameters": "\n".join(reversed(lines)),
            "template": model["template"],
            "system": model["system"],
            "messages": model["messages"],
            "details": {"format": "gguf", "family": model["family"]},
            "model_info": self.info(model, verbose=verbose),
            "capabilities": ["completion"],
        }
        return {key: value for key, value in shown.items() if value not in ("", [])}
