"""Translating in a process apart, with bounds: a chat template is foreign code.

Jinja's sandbox keeps a template from reaching into Python; it does not keep it from looping for
hours or from filling the memory. `python -m loragraft.ollama.template.apart` reads the request as
JSON and writes the translation, or the reason why there is none.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from loragraft.artifact.child import child_command, child_environment, explain_exit
from loragraft.errors import TemplateError
from loragraft.ollama.template.translate import Case, Translation, translate_here

MAX_SOURCE = 1 << 18
"""Characters of a template: the largest of llama.cpp's collection has 17,000, and Jinja compiles
this many within seconds."""
MAX_SECONDS = 20
"""For a translation: ordinary ones take a second, on a busy machine a few."""
MAX_MEMORY = 2 << 30
"""Bytes of the process: ordinary translations take a twentieth."""
_PURPOSE = "Translating the chat template"


def translate(
    template: str, *, variables: Mapping[str, str], strip_bos: str | None = None
) -> Translation:
    """Return Ollama's template for a chat template.

    Args:
        template: the Jinja source.
        variables: what it may read: bos_token, eos_token.
        strip_bos: BOS text to leave out at the very start, where the server adds that token.

    Raises:
        TemplateError: the template is faulty or too long, refuses every conversation, or takes
            too much time or memory.
    """
    if len(template) > MAX_SOURCE:
        raise TemplateError(
            f"the chat template has {len(template)} characters; at most {MAX_SOURCE} are "
            "translated. Check that it is the model's own template."
        )
    request = {"template": template, "variables": dict(variables), "strip_bos": strip_bos}
    answer = _asked(json.dumps(request))
    if "error" in answer:
        raise TemplateError(answer["error"])
    cases = tuple(Case(**{**case, "messages": tuple(case["messages"])}) for case in answer["cases"])
    return Translation(
        answer["go"], answer["system"], answer["exact"], cases, tuple(answer["notes"])
    )


def _asked(request: str) -> dict[str, Any]:
    """Return the process's answer."""
    try:
        done = subprocess.run(
            child_command(__name__, ()),
            input=request.encode(),
            capture_output=True,
            timeout=MAX_SECONDS,
            env=child_environment(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _stopped(f"took more than {MAX_SECONDS} seconds and was stopped") from None
    if done.returncode != 0:
        errors = done.stderr.decode("utf-8", "replace")
        raise _stopped(explain_exit("", done.returncode, errors).strip().rstrip("."))
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _stopped(how: str) -> TemplateError:
    return TemplateError(
        f"{_PURPOSE} {how}. A model's own template takes a second: check where this one is from."
    )


def _bound() -> None:
    """Bound this process's memory and time, where the system can."""
    try:
        import resource
    except ImportError:  # Windows: the parent's clock remains
        return
    for kind, most in ((resource.RLIMIT_AS, MAX_MEMORY), (resource.RLIMIT_CPU, MAX_SECONDS)):
        _, hard = resource.getrlimit(kind)
        if hard == resource.RLIM_INFINITY or hard > most:
            resource.setrlimit(kind, (most, hard))


def main() -> None:
    """Answer one request."""
    _bound()
    request = json.load(sys.stdin)
    try:
        found = translate_here(
            request["template"], variables=request["variables"], strip_bos=request["strip_bos"]
        )
        answer: dict[str, Any] = {**vars(found), "cases": [vars(case) for case in found.cases]}
    except TemplateError as error:
        answer = {"error": str(error)}
    except MemoryError:
        answer = {"error": str(_stopped(f"took more than {MAX_MEMORY >> 30} GB of memory"))}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
