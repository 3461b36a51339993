"""Is what a server has under a tag still what a bundle holds?"""

from __future__ import annotations

from loragraft.artifact.hash_cache import cached_sha256
from loragraft.artifact.progress import Progress, Silent
from loragraft.checkpoint.bundle import LocalModel, check_model
from loragraft.engine.ollama_server import OllamaServer
from loragraft.ollama.bundle_files import finish_update
from loragraft.ollama.compose import compose
from loragraft.ollama.naming import check_tag
from loragraft.ollama.overrides import Overrides
from loragraft.ollama.proof import Proof, prove


def checked_digest(model: LocalModel, progress: Progress) -> str:
    """Check a bundle's checksums, or hash a bare file; return the GGUF's SHA256.

    Raises:
        BundleError: If the bundle is not what its checksums say.
    """
    if model.folder is not None:
        finish_update(model.folder)
        size = sum(path.stat().st_size for path in model.folder.iterdir() if path.is_file())
        progress.begin("Checking the bundle's checksums", size)
        check_model(model, progress.advance)
        return model.digests[model.gguf.name]
    progress.begin(f"Hashing {model.gguf.name}", model.gguf.stat().st_size)
    return cached_sha256(model.gguf, on_bytes=progress.advance)


def verify(
    tag: str,
    model: LocalModel,
    server: OllamaServer,
    *,
    overrides: Overrides | None = None,
    progress: Progress | None = None,
) -> Proof:
    """Prove a registered model once more; nothing on the server is changed.

    Args:
        tag: Its name.
        model: The bundle it was made of.
        server: Where it is.
        overrides: Those it was registered with.
        progress: Who hears what is being done.

    Raises:
        InputError: If there is no such model.
        BundleError: If the bundle is not what its checksums say.
        UnavailableError: If the server is not there or hangs.
    """
    watcher = progress or Silent()
    name = check_tag(tag)
    server.show(name)  # before a file is hashed for nothing
    digest = checked_digest(model, watcher)
    return prove(server, name, model, compose(model, overrides), digest, watcher)
