"""Register a bundle on an Ollama server: upload, create, prove; or leave everything as it was.

A model that has the tag already is kept under a backup's name until the new one is proven, and
comes back on any failure, an interruption, or by the next run after a crash.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from loragraft.artifact.progress import Progress, Silent
from loragraft.checkpoint.bundle import LocalModel
from loragraft.engine.ollama_server import OllamaServer
from loragraft.errors import BundleError, CheckFailedError, LockedError, LoragraftError
from loragraft.ollama.bundle_record import write_into_bundle
from loragraft.ollama.compose import Composed, compose
from loragraft.ollama.naming import backup_tag, check_tag, same_tag, suggest_tag
from loragraft.ollama.overrides import Overrides
from loragraft.ollama.proof import Proof, prove
from loragraft.ollama.record import Pending, Record, Registered, text_digest
from loragraft.ollama.verify import checked_digest


@dataclass(frozen=True)
class Registration:
    """What registering did.

    Attributes:
        entry: What is noted of the model.
        proof: What was checked.
        changed: Whether anything was made on the server; False where it was all there.
        uploaded: Whether the file was sent.
        notes: What a user should know.
    """

    entry: Registered
    proof: Proof
    changed: bool
    uploaded: bool
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            **vars(self.entry),
            "changed": self.changed,
            "uploaded": self.uploaded,
            "notes": list(self.notes),
            "proof": self.proof.to_json(),
        }


def register(
    model: LocalModel,
    server: OllamaServer,
    *,
    name: str | None = None,
    overrides: Overrides | None = None,
    replace_existing: bool = False,
    progress: Progress | None = None,
    record: Record | None = None,
) -> Registration:
    """Register a bundle and prove it.

    Args:
        model: As :func:`~loragraft.checkpoint.bundle.open_model` gives it.
        server: Where to.
        name: Its name there, made of the bundle's by default.
        overrides: What takes the place of what the bundle gives by itself.
        replace_existing: Whether a model of that name gives way.
        progress: Who hears what is being done.
        record: Where it is noted.

    Raises:
        BundleError: If the bundle is not what its checksums say, or the name is taken.
        CheckFailedError: If the server does not serve what was trained; it is as before then.
        UnavailableError: If the server is not there, hangs or has no room; as before, too.
    """
    watcher, notebook = progress or Silent(), record or Record()
    tag = check_tag(name) if name is not None else suggest_tag(model.name)
    server.version()  # before a file is hashed for nothing
    digest = checked_digest(model, watcher)
    composed = compose(model, overrides)
    with notebook.working_on(server.url, tag):
        recover(server, notebook, watcher, tag)
        job = _Job(model, server, tag, composed, digest, watcher, notebook)
        there = server.find(tag)
        if there is not None and job.is_same():
            proof = job.prove()
            if proof.holds or not replace_existing:
                return job.confirm(proof)
        if there is not None and not replace_existing:
            raise BundleError(
                f"Ollama at {server.url} has another model under {tag}. Choose another --name, or "
                "give --replace: the old one is kept until the new one is proven."
            )
        return job.make(there is not None)


def manifest_digest(server: OllamaServer, tag: str) -> str:
    """Return the server's digest of a model, or nothing where its list lacks it."""
    found = [model for model in server.models() if same_tag(str(model["name"]), tag)]
    return str(found[0].get("digest") or "") if found else ""


@dataclass(frozen=True)
class _Job:
    """One registration."""

    model: LocalModel
    server: OllamaServer
    tag: str
    composed: Composed
    digest: str
    progress: Progress
    record: Record

    @property
    def request(self) -> dict[str, Any]:
        """What the server is sent beside the file."""
        return self.composed.modelfile.request()

    def is_same(self) -> bool:
        """Whether the model under the tag was made of this very bundle, and is unchanged."""
        known = self.record.find(self.server.url, self.tag)
        if known is None or known.blob != self.digest:
            return False
        asked = text_digest(self.request) == known.request
        return asked and known.manifest == manifest_digest(self.server, self.tag)

    def confirm(self, proof: Proof) -> Registration:
        """Return what is there already; nothing is changed."""
        known = self.record.find(self.server.url, self.tag)
        if known is None or not proof.holds:
            raise _unproven(proof, "It was registered before and nothing was changed now.")
        return Registration(known, proof, False, False, self.composed.notes)

    def make(self, taken: bool) -> Registration:
        """Upload, create, prove; undo it if that fails."""
        uploaded = not self.server.has_blob(self.digest)
        if uploaded:
            self.server.upload(self.model.gguf, self.digest, self.progress)
        with self._restorable(taken):
            self.server.create(self.tag, self.request, self.digest, self.progress)
            proof = self.prove()
            if not proof.holds:
                raise _unproven(proof, "The server is as it was before.")
            entry = self._entry(proof)
            self.record.put(entry)
        notes = (*self.composed.notes, *write_into_bundle(self.model, entry, proof))
        return Registration(entry, proof, True, uploaded, notes)

    def prove(self) -> Proof:
        """Check what the server has under the tag."""
        return prove(self.server, self.tag, self.model, self.composed, self.digest, self.progress)

    def _entry(self, proof: Proof) -> Registered:
        return Registered(
            url=self.server.url,
            tag=self.tag,
            bundle=str((self.model.folder or self.model.gguf).resolve()),
            gguf=self.model.gguf.name,
            blob=self.digest,
            layer=proof.layer,
            manifest=manifest_digest(self.server, self.tag),
            request=text_digest(self.request),
            server_version=self.server.version(),
            registered=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )

    @contextmanager
    def _restorable(self, taken: bool) -> Iterator[None]:
        """Keep what has the tag until the block is done; bring it back if that fails."""
        backup = backup_tag(self.tag) if taken else None
        pending = Pending(
            url=self.server.url,
            tag=self.tag,
            backup=backup,
            template=text_digest(self.composed.modelfile.template or ""),
            jinja=text_digest(self.composed.facts.template or ""),
        )
        if backup is not None and self.server.find(backup) is not None:
            self.server.delete(backup)  # a leftover: nothing is under way with this tag
        self.record.put(pending)
        try:
            if backup is not None:
                self.server.copy(self.tag, backup)
            yield
        except BaseException:
            self._put_back(pending)
            raise
        self.record.settle(self.server.url, self.tag)
        if backup is not None:
            self._drop_backup(backup)

    def _put_back(self, pending: Pending) -> None:
        """Undo what was begun; where even that fails, say what is left to do."""
        try:
            _undo(self.server, self.record, pending, ours=True)
        except LoragraftError as error:
            words = f"The next registration on this server puts {pending.tag} back"
            if pending.backup is not None:
                words += f"; by hand: ollama cp {pending.backup} {pending.tag}"
            self.progress.note(f"{error} {words}.")

    def _drop_backup(self, backup: str) -> None:
        try:
            self.server.delete(backup)
        except LoragraftError as error:
            self.progress.note(f"{error} The old model stays: remove it with ollama rm {backup}.")


def _undo(server: OllamaServer, record: Record, pending: Pending, *, ours: bool) -> None:
    """Bring the server back to what it was before a registration.

    Args:
        server: Where it was.
        record: Where it is noted.
        pending: What was under way.
        ours: Whether what has the tag now is known to be the half-made model.
    """
    if pending.backup is not None:
        if server.find(pending.backup) is not None:
            server.copy(pending.backup, pending.tag)
            server.delete(pending.backup)
    else:
        there = server.find(pending.tag)
        template = text_digest(str((there or {}).get("template") or ""))
        if there is not None and (ours or template in (pending.template, pending.jinja)):
            server.delete(pending.tag)
    record.settle(pending.url, pending.tag)


def recover(server: OllamaServer, record: Record, progress: Progress, held: str = "") -> None:
    """Bring back what registrations left that ended in the middle.

    Args:
        server: Where to look.
        record: What is noted.
        progress: Who hears of it.
        held: The tag whose lock this process holds already.
    """
    for pending in record.pending(server.url):
        try:
            if held and same_tag(pending.tag, held):
                _undo(server, record, pending, ours=False)
            else:
                with record.working_on(server.url, pending.tag):
                    _undo(server, record, pending, ours=False)
        except LockedError:
            continue  # under way in another process
        how = "was brought back" if pending.backup else "was left half-made and is removed"
        progress.note(f"{pending.tag}: an earlier registration had been cut off; it {how}.")


def _unproven(proof: Proof, after: str) -> CheckFailedError:
    said = " ".join(
        f"{check.name}: {check.measured}; expected {check.expected}. {check.next_step}".strip()
        for check in proof.failed
    )
    return CheckFailedError(f"{proof.tag} does not serve what was trained. {said} {after}")
