"""A local server that answers as Ollama's documented API does, with faults to switch on.

Files, templates and answers are real: blobs lie on the disk, a registered template is rendered by
the rules of Ollama, and answers and log-probabilities come from llama.cpp on the registered file.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

from loragraft.checkpoint.template import compile_template
from tests.support.ollama_http import Handler
from tests.support.ollama_runner import Runner
from tests.support.ollama_store import NEW, Generation, Refused, Store

Json = dict[str, Any]
DEFAULTS: Json = {"num_ctx": 2048, "num_predict": -1, "stop": []}
TYPES = {"stop": list, "temperature": (int, float), "num_ctx": (int, float)}


@lru_cache(maxsize=16)
def template_reader(jinja: str) -> Callable[..., str]:
    """Read a template once."""
    return compile_template(jinja)


class OllamaStandIn:
    """The server; a context manager.

    Attributes:
        faults: What shall go wrong, by name; see the uses.
        faults_for: And with questions that hold a text, one each time: ``hang``, ``garbage``,
            ``busy``, ``die`` (a broken connection), ``crash`` (an error in the middle).
        requests: Method and path of every request so far.
    """

    def __init__(self, folder: Path, generation: Generation = NEW) -> None:
        """Listen on a free port of this machine."""
        self.generation, self.store, self.runner = generation, Store(folder, generation), Runner()
        self.faults: Json = {}
        self.faults_for: dict[str, list[str]] = {}
        self.requests: list[tuple[str, str]] = []
        self.bodies: list[Json] = []
        self.ended = threading.Event()
        owner = self

        class Bound(Handler):
            server_of = owner

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def close(self) -> None:
        """End it, hanging answers included."""
        self.ended.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        self.runner.close()

    def __enter__(self) -> OllamaStandIn:
        """Return the server."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        self.close()

    def names(self) -> list[str]:
        """Return the names of its models."""
        return [model["name"] for model in self.store.list()]

    def take(self, name: str) -> bool:
        """Whether a fault is on; a number counts down."""
        left = self.faults.get(name)
        if isinstance(left, int) and not isinstance(left, bool):
            self.faults[name] = left - 1
            return left > 0
        return bool(left)

    def take_for(self, body: Json) -> str | None:
        """Return what goes wrong with a question."""
        if body.get("_debug_render_only"):
            return None
        text = str(body.get("messages"))
        for mark, left in self.faults_for.items():
            if mark in text and left:
                return left.pop(0)
        return None

    def create(self, body: Json) -> Iterator[Json]:
        """Make a model, and say how it goes."""
        request = dict(body)
        yield {"status": "parsing GGUF"}
        if self.take("create_full"):
            raise Refused(500, "write /models/blobs/sha256-1: no space left on device")
        if self.take("create_refused"):
            raise Refused(500, "something unheard of")
        parameters = dict(request.get("parameters") or {})
        if self.take("lose_stop"):
            parameters["stop"] = ["<|nothing|>"]
        if self.take("rewrite_parameters"):
            parameters["temperature"] = 1.5
        if self.take("swallow_system"):
            request["system"] = ""
        if change := self.faults.get("template"):
            request["template"] = change(request["template"])
        if other := self.faults.get("other_gguf"):
            digest = hashlib.sha256(Path(other).read_bytes()).hexdigest()
            self.store.blob(f"sha256:{digest}").write_bytes(Path(other).read_bytes())
            request["files"] = {"m.gguf": f"sha256:{digest}"}
        self.store.create(body["model"], {**request, "parameters": parameters})
        yield {"status": "writing manifest"}
        if not self.take("create_silent"):
            yield {"status": "success"}

    def conversation(self, model: Json, messages: list[Json]) -> list[Json]:
        """Add the model's own messages and system prompt, as the server does."""
        found = [*model["messages"], *messages]
        if model["system"] and messages[0]["role"] != "system":
            found = [{"role": "system", "content": model["system"]}, *found]
        return found

    def rendered(self, model: Json, messages: list[Json], think: bool | None) -> str:
        """Render a conversation by what is in force."""
        if model["jinja"]:
            facts = self.store.facts(model["layer"]["digest"])
            read = template_reader(model["template"])
            return read(messages, add_generation_prompt=True, **facts.variables)
        from loragraft.ollama.template import render_go

        return render_go(model["template"], messages, think=think)

    def prompt(self, model: Json, body: Json, options: Json) -> tuple[str, list[int]]:
        """Render and tokenize; cut what is too long, or refuse it."""
        path = self.store.blob(model["layer"]["digest"])
        if body.get("raw"):
            text = body["prompt"]
            return text, self.runner.tokenize(path, int(options["num_ctx"]), text)
        messages = self.conversation(model, body["messages"])
        second = [self.store.facts(model["layer"]["digest"]).bos_id or 0]
        context = int(options["num_ctx"])
        last = len(messages) - 1
        for start in range(last + 1):
            kept = [m for m in messages[:start] if m["role"] == "system"] + messages[start:]
            text = self.rendered(model, kept, body.get("think"))
            ids = self.runner.tokenize(path, context, text)
            ids = [*second, *ids] if self.faults.get("double_bos") else ids
            ids = ids[1:] if self.faults.get("no_bos") else ids
            if len(ids) < context:
                break
            if self.generation.refuses_long and body.get("truncate") is False:
                raise Refused(400, f"the input length exceeds the context length of {context}")
        return text, ids if len(ids) < context else ids[: context // 2]

    def options(self, model: Json, body: Json) -> Json:
        """Join defaults, the model's parameters and the request's, and check types."""
        given = {**model["parameters"], **(body.get("options") or {})}
        for name, kind in TYPES.items():
            if name in given and not isinstance(given[name], kind):
                raise Refused(500, f'option "{name}" must be of type array')
        penalty = {"repeat_penalty": self.generation.repeat_penalty}
        cap = {"num_ctx": cap} if (cap := self.faults.get("num_ctx")) else {}
        return {**DEFAULTS, **penalty, **given, **cap}

    def chat(self, body: Json) -> Iterator[Json]:
        """Answer POST /api/chat piece by piece."""
        model = self.store.load(body["model"])
        if body.get("think") and ".Thinking" not in model["template"]:
            raise Refused(400, f'"{body["model"]}" does not support thinking')
        if self.faults.get("no_memory"):
            raise Refused(500, "model requires more system memory (9 GiB) than is available")
        options = self.options(model, body)
        text, ids = self.prompt(model, body, options)
        head = {"model": body["model"], "created_at": "2026-01-01T00:00:00Z"}
        if body.get("_debug_render_only") and self.generation.shows_render:
            yield {**head, "_debug_info": {"rendered_template": text}, "done": False}
            return
        if self.faults.get("nothing"):
            ids_out: Iterator[Any] = iter(())
        else:
            top = 0
            if body.get("logprobs") and self.generation.gives_log_probs:
                top = int(body.get("top_logprobs") or 1)
            path = self.store.blob(model["layer"]["digest"])
            ids_out = self.runner.answer(
                path, ids, options, top=top, endless=bool(self.faults.get("endless"))
            )
        count, done = 0, "stop"
        for piece in ids_out:
            if piece.done:
                done = piece.done
            else:
                count += 1
            part: Json = {**head, **_saying(body, piece.text)}
            if piece.log_probs:
                part["logprobs"] = piece.log_probs
            yield {**part, "done": False}
        yield {
            **head,
            **_saying(body, ""),
            "done": True,
            "done_reason": done,
            "prompt_eval_count": len(ids),
            "eval_count": count,
        }


def _saying(body: Json, text: str) -> Json:
    """Return a piece of an answer as its request wants it."""
    if body.get("raw"):
        return {"response": text}
    return {"message": {"role": "assistant", "content": text}}
