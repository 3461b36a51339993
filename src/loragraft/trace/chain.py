"""``loragraft trace``: the same conversations through every stage, from the base to the server."""

from __future__ import annotations

import gc
import shlex
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from loragraft.artifact.progress import Progress, Silent
from loragraft.errors import (
    BundleError,
    CheckFailedError,
    CheckpointError,
    LoragraftError,
    UnavailableError,
    UnsupportedError,
)
from loragraft.trace.building import build_floats, build_merged
from loragraft.trace.cause import Cause, Subject
from loragraft.trace.files import observe_file
from loragraft.trace.judging import Judge, Seen
from loragraft.trace.observation import Observation
from loragraft.trace.probes import Probe
from loragraft.trace.reference import Reference, lay_out_folder, layout_paper, open_reference
from loragraft.trace.report import TraceReport
from loragraft.trace.request import TraceRequest, broken_checksums, check_inputs, floats_in
from loragraft.trace.shown import quoted
from loragraft.trace.training import (
    open_engines,
    plain_voice,
    run_engine,
    speak,
    torch_threads,
)
from loragraft.trace.weights import weigh_checkpoint

if TYPE_CHECKING:
    pass

STAGES = {
    "base": "base",
    "adapter": "base + adapter",
    "merged": "merged checkpoint",
    "unquantized": "unquantized GGUF",
    "quantized": "quantized GGUF",
    "ollama": "Ollama",
}


def trace_chain(request: TraceRequest, progress: Progress | None = None) -> TraceReport:
    """Follow the probes through every stage and judge each.

    Args:
        request: What to follow.
        progress: Told of each stage.

    Raises:
        CheckpointError: If the base is none, or broken.
        AdapterError: If the adapter is none, or does not land on the base.
        InputError: If the bundle says that it was made from something else, or the server has
            no such model.
        UnsupportedError: If the adapter's type changes no weights.
    """
    check_inputs(request)
    watcher = progress or Silent()
    with ExitStack() as stack:
        scratch = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix="loragraft-trace-", dir=request.scratch)
            )
        )
        watcher.begin("Checking the bundle", 0)
        broken = broken_checksums(request.model, watcher)
        reference = open_reference(request.export, stack)
        tracer = _Tracer(request, reference, scratch, watcher)
        tracer.follow_training()
        tracer.follow_merged()
        tracer.follow_floats()
        tracer.follow_bundle(broken)
        tracer.follow_server()
        watcher.end()
        notes = (*(cause.evidence for cause in broken), *reference.notes, *tracer.notes)
        return TraceReport(tuple(tracer.judge.stages), tuple(p.name for p in request.probes), notes)


class _Tracer:
    """Takes one stage after the other to the judge."""

    def __init__(
        self, request: TraceRequest, reference: Reference, scratch: Path, progress: Progress
    ) -> None:
        self.request, self.reference = request, reference
        self.scratch, self.progress = scratch, progress
        self.judge = Judge([probe.name for probe in request.probes])
        self.trained = Observation((), ())
        self.notes: list[str] = []

    @property
    def taught(self) -> list[tuple[int, ...]]:
        """The training's own tokens of every probe that its template takes."""
        return [ids for ids in self.trained.ids if ids]

    def follow_training(self) -> None:
        """Base and base with adapter: together in memory, or on paper without torch."""
        self.progress.begin("Asking base and adapter", 0)
        request = self.request
        try:
            base, tuned = self._run_training()
        except (UnavailableError, UnsupportedError) as error:
            note = f"Rendered and tokenized only: {_why(error)}"
            base = _plain(request.base, None, request.probes, note)
            tuned = None
            if request.adapter is not None:
                tuned = _plain(request.base, request.adapter, request.probes, note)
        self.trained = tuned if tuned is not None else base
        facts = self.reference.paper.facts
        if facts is not None and facts.template is None:
            self.notes.append(
                "No chat template anywhere: the turns' plain words are compared. A model that "
                "chats needs the template that it was trained with."
            )
        self._take("base", base, trained=True)
        if tuned is None:
            self.judge.skip("adapter", STAGES["adapter"], "no adapter is given")
            self.judge.skip("merged", STAGES["merged"], "no adapter is given")
        else:
            self._take("adapter", tuned, trained=True, meant=True)
        gc.collect()

    def _run_training(self) -> tuple[Observation, Observation | None]:
        request = self.request
        base, tuned = open_engines(request.base, request.adapter, scale=request.factor)
        with torch_threads(request.threads):
            if tuned is None:
                return run_engine(base, request.probes, tokens=request.tokens), None
            seen = run_engine(tuned, request.probes, tokens=request.tokens)
            taught = [ids for ids in seen.ids if ids]
            with tuned.without_adapter():
                plain = run_engine(base, request.probes, taught=taught, tokens=request.tokens)
        return plain, seen

    def _take(
        self, key: str, seen: Observation, *, trained: bool = False, meant: bool = False
    ) -> None:
        subject = Subject(STAGES[key], self.reference.paper, seen, self.trained, self.reference, "")
        notes = self._own_ends(seen)
        self.judge.take(Seen(key, subject, meant=meant, notes=notes), trained=trained)

    def _own_ends(self, seen: Observation) -> tuple[str, ...]:
        """Say where the training's own checkpoint does not stop at its template's turn ends."""
        facts = self.reference.paper.facts
        if facts is None or seen.ends is None:
            return ()
        lost = sorted(self.reference.required_ends - seen.ends)
        if not lost:
            return ()
        names = ", ".join(quoted(facts.vocabulary[token]) for token in lost)
        return (
            f"Its generation_config.json does not end answers at {names}, as its template does: "
            "transformers goes on there.",
        )

    def follow_merged(self) -> None:
        """The merged checkpoint: given, or merged again."""
        request = self.request
        if request.adapter is None:
            return
        folder, notes = request.merged, tuple[str, ...]()
        if folder is None:
            made = self._build_merged()
            if made is None:
                return
            folder, notes = made, ("Merged again for this trace: no --merged is given.",)
        self.progress.begin("Asking the merged checkpoint", 0)
        try:
            self._take_merged(folder, notes)
        except CheckpointError as error:
            self._broken("merged", error)
        gc.collect()

    def _build_merged(self) -> Path | None:
        reason = None if self.request.build else "not given (--merged), and --no-build"
        if reason is None:
            try:
                return build_merged(self.request.export, self.scratch, self.progress)
            except LoragraftError as error:
                reason = _why(error)
        self.judge.skip("merged", STAGES["merged"], reason)
        return None

    def _take_merged(self, folder: Path, notes: tuple[str, ...]) -> None:
        request, reference = self.request, self.reference
        with ExitStack() as stack:
            layout = lay_out_folder(folder, stack)
            paper, weights, types = reference.paper, None, Counter[str]()
            if layout is not None:
                paper = layout_paper(layout)
                for info in layout.base.tensors.values():
                    types[info.dtype] += info.size
                if reference.layout is not None and reference.weighed:
                    weights = weigh_checkpoint(reference.layout, layout)
            try:
                engine, _ = open_engines(folder, None)
                with torch_threads(request.threads):
                    seen = run_engine(
                        engine, request.probes, taught=self.taught, tokens=request.tokens
                    )
            except (UnavailableError, UnsupportedError) as error:
                note = f"Rendered and tokenized only: {_why(error)}"
                seen = _plain(folder, None, request.probes, note)
            again = f"merge again with loragraft export merge {request.inputs} -o FOLDER"
            subject = Subject(
                STAGES["merged"], paper, seen, self.trained, reference, again, weights
            )
            self.judge.take(Seen("merged", subject, types, notes=notes))

    def follow_floats(self) -> None:
        """The GGUF before quantization: given, in the bundle, or written again."""
        kept = self.request.unquantized or floats_in(self.request.model)
        if kept is not None:
            self._take_file("unquantized", kept)
            return
        if not self.request.build:
            reason = "not given (--unquantized), and --no-build"
            self.judge.skip("unquantized", STAGES["unquantized"], reason)
            return
        try:
            with build_floats(self.request.export, self.scratch, self.progress) as path:
                self._take_file(
                    "unquantized", path,
                    notes=("Written again for this trace: no --unquantized is given.",),
                )  # fmt: skip
        except LoragraftError as error:
            self.judge.skip("unquantized", STAGES["unquantized"], _why(error))

    def follow_bundle(self, broken: tuple[Cause, ...]) -> None:
        """The bundle's own file."""
        self._take_file("quantized", self.request.model.gguf, broken)

    def _take_file(
        self,
        key: str,
        path: Path,
        causes: tuple[Cause, ...] = (),
        notes: tuple[str, ...] = (),
    ) -> None:
        request = self.request
        self.progress.begin(f"Asking {path.name}", 0)
        again = f"export it again with loragraft export merge-and-quantize {request.inputs}"
        try:
            file = observe_file(
                path, self.reference, request.probes, self.taught,
                tokens=request.tokens, threads=request.threads,
            )  # fmt: skip
        except (BundleError, CheckFailedError) as error:
            self._broken(key, error, causes)
            return
        except UnavailableError as error:
            self.judge.skip(key, STAGES[key], _why(error))
            return
        subject = Subject(
            STAGES[key], file.paper, file.seen, self.trained, self.reference, again,
            file.weights, file.effect,
        )  # fmt: skip
        self.judge.take(Seen(key, subject, file.types, causes=(*file.causes, *causes), notes=notes))

    def _broken(self, key: str, error: LoragraftError, causes: tuple[Cause, ...] = ()) -> None:
        """Report a stage that cannot be read at all."""
        found = Cause(
            "cannot_run", "distribution", "it cannot be read", str(error),
            "Make this stage anew, and compare its checksum where it was copied.",
        )  # fmt: skip
        none = (None,) * len(self.request.probes)
        nothing = Observation(none, none)
        subject = Subject(STAGES[key], self.reference.paper, nothing, self.trained,
                          replace(self.reference, layout=None), "")  # fmt: skip
        self.judge.broken(key, subject, (found, *causes))

    def follow_server(self) -> None:
        """The model as Ollama serves it."""
        request = self.request
        if request.server is None or request.tag is None:
            self.judge.skip("ollama", STAGES["ollama"], "not asked for (--ollama TAG)")
            return
        from loragraft.trace.server import observe_server

        self.progress.begin(f"Asking Ollama's {request.tag}", 0)
        place = shlex.quote(str(request.model.folder or request.model.gguf))
        again = f"register it again with loragraft ollama register {place} --replace"
        try:
            seen = observe_server(
                request.server, request.tag, request.model.gguf, self.reference, self.trained,
                self.judge.before, request.probes, tokens=request.tokens, threads=request.threads,
                again=again,
            )  # fmt: skip
        except UnavailableError as error:
            self.judge.skip("ollama", STAGES["ollama"], _why(error))
            return
        except LoragraftError as error:
            self._broken("ollama", error)
            return
        self.judge.take(seen)


def _plain(base: Path, adapter: Path | None, probes: Sequence[Probe], note: str) -> Observation:
    seen = speak(plain_voice(base, adapter), probes)
    return replace(seen, notes=(note,))


def _why(error: LoragraftError) -> str:
    return " ".join(str(error).split())
