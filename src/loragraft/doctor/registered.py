"""What loragraft has registered on Ollama servers, and uploads that no model refers to.

Newer servers rewrite a file when they make a model of it, and the uploaded one stays. It is
Ollama's: its server removes it at the next start, and until then it is only pointed out.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from loragraft.doctor.leftovers import Leftover
from loragraft.doctor.rows import Row, Surroundings, fine, note, shown
from loragraft.doctor.sizes import Size
from loragraft.doctor.store import find_stores
from loragraft.engine.ollama_host import is_loopback, parse_host
from loragraft.errors import InputError
from loragraft.ollama.record import Record, Registered

STAYS = (
    "no model refers to this upload; Ollama removes it when it starts (newer versions: once it "
    "is an hour old), unless OLLAMA_NOPRUNE is set. Restart Ollama to have the room"
)


def check_registered(surroundings: Surroundings) -> list[Row]:
    """Say how many models are registered, and what was cut off in the middle."""
    code, expected = "ollama.registered", "a list that can be read"
    try:
        record = Record()
        models = record.models()
    except InputError as error:
        step = "Nothing on a server is lost: only loragraft ollama list and remove need it."
        return [note(code, shown(str(error)), expected, step)]
    urls = _urls(models, surroundings.environ)
    cut_off = [item.tag for url in urls for item in record.pending(url)]
    facts = {"file": str(record.path), "models": len(models), "cut_off": cut_off}
    words = f"{len(models)} models ({shown(record.path)})"
    if cut_off:
        words += f"; cut off, or under way: {', '.join(map(shown, cut_off))}"
        step = "If none is under way, register it again: what was there before comes back first."
        return [note(code, words, expected, step, facts)]
    return [fine(code, words, expected, facts=facts)]


def _urls(models: list[Registered], environ: Mapping[str, str]) -> list[str]:
    """Return the servers that models are on, and the one that is set."""
    urls = [model.url for model in models]
    with suppress(InputError):
        urls.append(parse_host(environ=environ))
    return list(dict.fromkeys(urls))


def find_blobs(environ: Mapping[str, str]) -> list[Leftover]:
    """Find uploads of ours on this machine that no model refers to; they are never removed here."""
    try:
        models = Record().models()
    except InputError:
        return []
    digests = {model.blob for model in models if is_loopback(model.url)}
    found: dict[Path, Leftover] = {}
    for store in find_stores(environ, seconds=1.0) if digests else ():
        for digest, size in store.unused(sorted(digests)).items():
            path = store.folder / "blobs" / f"sha256-{digest}"
            found[path] = Leftover("Ollama blob", (path,), Size(size, 1), STAYS, kept=STAYS)
    return list(found.values())
