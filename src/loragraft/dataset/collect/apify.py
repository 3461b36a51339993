"""Collect from Apify: start an actor once, read what it finds page by page, stop it in time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from loragraft.artifact.lock import hold_lock
from loragraft.artifact.progress import Progress, Silent
from loragraft.artifact.secret import Secret
from loragraft.dataset.collect.cost import PER_RESULT, Estimate, dollars, estimate
from loragraft.dataset.collect.request import COST, TARGET, ApifyRequest, CollectReport, Pace
from loragraft.dataset.collect.runs import CONSOLE, Actor, Page, Run, Runs
from loragraft.dataset.collect.store import Store, explained_output, state_path
from loragraft.dataset.collect.transport import API, open_client
from loragraft.errors import CheckFailedError, InputError, LoragraftError, UnavailableError


def collect_apify(
    request: ApifyRequest,
    secret: Secret,
    *,
    agree: Callable[[Actor, Estimate], bool],
    url: str = API,
    pace: Pace | None = None,
    progress: Progress | None = None,
) -> CollectReport | None:
    """Collect the items of an actor's run into a file.

    Args:
        request: What to collect.
        secret: The key.
        agree: Asked before a run is started, with what it will cost; False starts none.
        url: Where the API is.
        pace: How long to wait.
        progress: Who wants to know.

    Returns:
        What was collected; None if it was not agreed to.

    Raises:
        InputError: If the request, the input or what is there does not fit.
        CheckFailedError: If it would cost more than allowed.
        UnavailableError: If Apify does not answer; what arrived is kept.
    """
    pace, progress = pace or Pace(), progress or Silent()
    refuse_key(secret, request)
    runs = Runs(open_client(secret, url, retry=pace.retry, note=progress.note), secret)
    out = request.out
    with explained_output(out), hold_lock(out.with_name(f".{out.name}.lock")):
        resume = request.resume or request.add
        with Store(out, {"source": "apify"}, resume=resume, replace=request.replace,
                   hide=secret.hide) as store:  # fmt: skip
            try:
                return _Collection(request, store, runs, pace, progress).go(agree)
            finally:
                if store.get("run") is None and store.get("starting") is None:
                    store.discard()


def plan_apify(
    request: ApifyRequest, secret: Secret, *, url: str = API, note: Callable[[str], None]
) -> tuple[Actor, Estimate]:
    """Return the actor that would be run and what it costs; nothing is started or written.

    Raises:
        InputError: If there is no such actor.
        UnavailableError: If Apify does not answer.
    """
    refuse_key(secret, request)
    if request.actor is None:
        raise InputError("A run that is there costs nothing to read: --dry-run plans new ones.")
    runs = Runs(open_client(secret, url, note=note), secret)
    actor = runs.actor(request.actor)
    return actor, estimate(actor.prices, request.target)


def refuse_key(secret: Secret, request: ApifyRequest) -> None:
    """Refuse the key where it would be kept or shown.

    Raises:
        InputError: Naming where it stands.
    """
    places = {
        "the actor's input": json.dumps(request.run_input, ensure_ascii=False),
        "--actor": request.actor or "",
        "--run": request.run_id or "",
        "--output": str(request.out),
    }
    for place, text in places.items():
        if secret.stands_in(text):
            raise InputError(
                f"The key stands in {place}, where it would be kept and shown. Take it out: it "
                "belongs into the environment only."
            )


class _Collection:
    """One call's way through a collection."""

    def __init__(
        self, request: ApifyRequest, store: Store, runs: Runs, pace: Pace, progress: Progress
    ) -> None:
        self._request, self._store, self._runs = request, store, runs
        self._pace, self._progress = pace, progress
        self._before = store.records

    def go(self, agree: Callable[[Actor, Estimate], bool]) -> CollectReport | None:
        store, add = self._store, self._request.add
        if store.ended is None or not add:
            self._check_same()
        unnoted = store.get("starting") is not None  # a run may have been started for a killed call
        if store.ended is not None and not unnoted and not self._has_more():
            return self._report()
        noted = store.get("run")
        if store.ended == TARGET and not add and not unnoted:
            store.reopen()
        anew = noted is None or unnoted or store.ended is not None
        run = self._begin(agree) if anew or noted is None else self._runs.get(noted)
        if run is None:
            return None
        self._progress.begin("Collecting", self._request.target or 0, "records")
        self._progress.advance(store.records)
        self._finish(run, self._read(run))
        return self._report()

    def _check_same(self) -> None:
        """Refuse to go on with something else than was begun."""
        request, store = self._request, self._store
        asked = {"actor": request.actor, "run": request.run_id}
        if request.actor is not None:
            asked["input"] = digest(request.run_input)
        for name, value in asked.items():
            there = store.get(name)
            if value is not None and there is not None and there != value:
                raise InputError(
                    f"The collection into {request.out} has another {name}: {there}, and {value} "
                    "is given. Give the same to go on with it; --add starts another run into the "
                    "same file once this one is over; --replace begins anew."
                )

    def _has_more(self) -> bool:
        """Whether there is more to be had for a collection that was over."""
        target, store = self._request.target, self._store
        if target is not None and target <= store.records:
            return False
        return self._request.add or store.ended == TARGET

    def _begin(self, agree: Callable[[Actor, Estimate], bool]) -> Run | None:
        """Start a run or attach to one, and note it."""
        request, store = self._request, self._store
        if request.run_id is not None:
            run: Run | None = self._runs.get(request.run_id)
        else:
            run = self._start(agree)
        if run is None:
            return None
        if store.ended is not None:
            store.reopen()
        store.put(run=run.id, offset=0, starting=None)
        self._note_run(run)
        return run

    def _start(self, agree: Callable[[Actor, Estimate], bool]) -> Run | None:
        """Start a run, or take one that a killed call started and could not note."""
        request, store, runs = self._request, self._store, self._runs
        if request.actor is None:
            raise InputError("Nothing says what to collect. Give --actor, or --run to attach.")
        actor = runs.actor(request.actor)
        if (known := store.get("starting")) is not None:
            lost = runs.find_lost(actor, request.run_input, json.loads(known))
            if lost is not None:
                self._progress.note(f"The run {lost.id!r} was started before: going on with it.")
                return lost
        cost = estimate(actor.prices, self._wanted())
        check_cost(cost, request.max_cost)
        if not agree(actor, cost):
            return None
        before = runs.known(actor)
        was = {name: store.get(name) for name in ("actor", "input")}
        store.put(actor=request.actor, input=digest(request.run_input), starting=json.dumps(before))
        try:
            return self._started(actor, cost, before)
        except InputError:
            store.put(starting=None, **was)
            raise

    def _started(self, actor: Actor, cost: Estimate, before: list[str]) -> Run:
        request, runs = self._request, self._runs
        by_result = cost.model == PER_RESULT
        try:
            return runs.start(
                actor,
                request.run_input,
                most_items=self._wanted() if by_result else None,
                most_usd=None if by_result else request.max_cost,
            )
        except UnavailableError:
            lost = runs.find_lost(actor, request.run_input, before)
            if lost is None:
                raise
            return lost

    def _wanted(self) -> int | None:
        target = self._request.target
        return None if target is None else max(1, target - self._store.records)

    def _read(self, run: Run) -> str:
        """Read pages until there are no more; return why there are none."""
        looks = 0
        while True:
            if (target := self._request.target) is not None and self._store.records >= target:
                return TARGET
            run = self._runs.get(run.id)
            if self._too_dear(run):
                return COST
            page = self._runs.page(run, self._store.number("offset"), self._request.page)
            if page.items:
                looks = 0
                self._take(page)
            elif not run.finished:
                self._pace.sleep(self._pace.poll)
            elif looks > self._last_look(page):
                self._tell_missing(page)
                return run.status
            else:
                looks += 1
                self._pace.sleep(self._pace.settle)

    def _last_look(self, page: Page) -> int:
        """Return how many looks a finished run gets: more while it announces more."""
        return self._pace.settled if page.total > self._store.number("offset") else 0

    def _tell_missing(self, page: Page) -> None:
        if page.total > (offset := self._store.number("offset")):
            self._progress.note(
                f"Apify counts {page.total:,} items and lists {offset:,}: the others may be listed "
                f"later. --replace with --run {self._store.get('run')} reads the run anew."
            )

    def _take(self, page: Page) -> None:
        store = self._store
        added = store.add(
            page.items, {"offset": store.number("offset")}, limit=self._request.target
        )
        self._progress.advance(added.records)

    def _too_dear(self, run: Run) -> bool:
        limit = self._request.max_cost
        return limit is not None and run.usd is not None and run.usd >= limit and not run.finished

    def _finish(self, run: Run, reason: str) -> None:
        """Stop a run that goes on, note how it ended, and let the file appear."""
        run = self._runs.get(run.id)
        if not run.finished:
            try:
                run = self._runs.stop(run)
            except LoragraftError as error:
                self._progress.note(f"The run could not be stopped: {error} Stop it at {run.url}")
        self._note_run(run)
        self._store.finish(reason)

    def _note_run(self, run: Run) -> None:
        noted = {"id": run.id, "actor": self._request.actor or run.actor, "status": run.status,
                 "message": run.message, "usd": run.usd}  # fmt: skip
        history = [one for one in self._history() if one["id"] != run.id]
        self._store.put(runs=json.dumps([*history, noted]))

    def _history(self) -> list[dict[str, Any]]:
        history: list[dict[str, Any]] = json.loads(self._store.get("runs") or "[]")
        return history

    def _report(self) -> CollectReport:
        store = self._store
        return CollectReport(
            out=store.out,
            records=store.records,
            again=store.number("again"),
            empty=store.number("empty"),
            ended=store.ended or "",
            runs=tuple(self._history()),
            new=store.records - self._before,
        )


def digest(run_input: Mapping[str, Any]) -> str:
    """Return a hash of an input: inputs may hold cookies and passwords and are never kept."""
    return hashlib.sha256(json.dumps(run_input, sort_keys=True).encode()).hexdigest()[:16]


def check_cost(cost: Estimate, limit: float | None) -> None:
    """Refuse what is known to cost more than allowed.

    Raises:
        CheckFailedError: Naming both amounts.
    """
    least = cost.high if cost.high is not None else cost.low
    if limit is not None and least is not None and least > limit:
        raise CheckFailedError(
            f"{cost.results:,} results cost {cost.amount}, and --max-cost allows {dollars(limit)}. "
            "Nothing was started. Lower --target, or raise --max-cost."
        )


def stop_run(out: Path, secret: Secret, *, url: str = API) -> Run:
    """Stop the run of an interrupted collection; what it found can still be read with --resume.

    Raises:
        InputError: If no collection goes on there.
    """
    none = InputError(f"No run of a collection into {out} goes on.")
    if not state_path(out).exists():
        raise none
    with (
        explained_output(out),
        hold_lock(out.with_name(f".{out.name}.lock")),
        Store(out, {"source": "apify"}, resume=True, hide=secret.hide) as store,
    ):
        noted = store.get("run")
        if noted is None and store.get("starting") is not None:
            raise InputError(
                f"A run into {out} may have been started and could not be noted: --resume looks "
                f"for it and goes on with it, or see {CONSOLE}."
            )
        if noted is None or store.ended is not None:
            raise none
        runs = Runs(open_client(secret, url, note=Silent().note), secret)
        run = runs.get(noted)
        return run if run.finished else runs.stop(run)
