"""An actor's runs at Apify: started once, watched, read page by page, stopped."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from loragraft.artifact.secret import Secret
from loragraft.dataset.collect.transport import explained
from loragraft.errors import InputError, UnavailableError

if TYPE_CHECKING:
    from apify_client import ApifyClient

FINISHED = frozenset({"SUCCEEDED", "FAILED", "TIMED-OUT", "ABORTED"})
CONSOLE = "https://console.apify.com/actors/runs/"
_NAME = re.compile(r"[A-Za-z0-9_.-]*[A-Za-z0-9_-][A-Za-z0-9_.-]*([/~][A-Za-z0-9_.-]+)?")
"""Names and ids; nothing that would lead an address elsewhere."""
_LOOKED_AT = 20
"""Latest runs among which one that was started and not noted is looked for."""


@dataclass(frozen=True)
class Actor:
    """An actor.

    Attributes:
        id: Apify's own.
        name: ``owner/name``.
        prices: Its pricing records.
    """

    id: str
    name: str
    prices: Sequence[Any]


@dataclass(frozen=True)
class Run:
    """A run as it is now.

    Attributes:
        id: Of the run.
        actor: Id of its actor.
        dataset: Id of what it fills.
        status: Apify's word.
        message: What the actor says of itself.
        usd: What it cost so far, where that is known.
    """

    id: str
    actor: str
    dataset: str
    status: str
    message: str
    usd: float | None

    @property
    def finished(self) -> bool:
        """Whether it will add nothing more."""
        return self.status in FINISHED

    @property
    def url(self) -> str:
        """Where a person sees it."""
        return CONSOLE + self.id


@dataclass(frozen=True)
class Page:
    """Items of a run.

    Attributes:
        items: As they were stored, first come first.
        total: How many there are by now.
    """

    items: list[Any]
    total: int


class Runs:
    """What Apify is asked; every error is ours and without the key."""

    def __init__(self, client: ApifyClient, secret: Secret) -> None:
        """Wrap a client."""
        self._client, self._secret = client, secret

    def actor(self, name: str) -> Actor:
        """Return an actor.

        Raises:
            InputError: If there is none of that name.
        """
        if not _NAME.fullmatch(name):
            raise InputError(
                f"{name!r} is no actor's name. Give owner/name or the id, as in the store's "
                "address: https://apify.com/owner/name."
            )
        with explained(self._secret):
            found = self._client.actor(name).get()
            if found is None:
                raise InputError(
                    f"Apify knows no actor {name!r}, or keeps it from you. Give owner/name or the "
                    "id, as in the store's address: https://apify.com/owner/name."
                )
            label = f"{found.username}/{found.name}"
            return Actor(found.id, label, tuple(found.pricing_infos or ()))

    def get(self, run_id: str) -> Run:
        """Return a run as it is now.

        Raises:
            InputError: If there is none, or no longer.
        """
        if not _NAME.fullmatch(run_id):
            raise InputError(f"{run_id!r} is no run's id. See it at {CONSOLE}.")
        with explained(self._secret):
            found = self._client.run(run_id).get()
            if found is None:
                raise InputError(
                    f"Apify knows no run {run_id!r}: it is another account's, or was deleted, as "
                    "Apify does after a while. --add starts another run and keeps what is here."
                )
            return self._run(found)

    def _run(self, run: Any) -> Run:  # noqa: ANN401 - apify-client's Run
        message = self._secret.hide(run.status_message or "")[:300]
        return Run(
            run.id, run.act_id, run.default_dataset_id, str(run.status), message,
            run.usage_total_usd,
        )  # fmt: skip

    def known(self, actor: Actor) -> list[str]:
        """Return the ids of an actor's latest runs, to tell a new one by."""
        with explained(self._secret):
            runs = self._client.actor(actor.id).runs()
            return [run.id for run in runs.list(limit=_LOOKED_AT, desc=True).items]

    def find_lost(
        self, actor: Actor, run_input: Mapping[str, Any], known: Sequence[str]
    ) -> Run | None:
        """Return a run that was started with an input and not noted; None if none was.

        Args:
            actor: Whose.
            run_input: What it was started with; Apify adds an actor's defaults to it.
            known: Runs that were there before.
        """
        before = set(known)
        with explained(self._secret):
            runs = self._client.actor(actor.id).runs().list(limit=_LOOKED_AT, desc=True)
            for run in reversed(runs.items):
                if run.id in before:
                    continue
                store = self._client.key_value_store(run.default_key_value_store_id)
                record = store.get_record("INPUT")
                if record is not None and _holds(record["value"], run_input):
                    return self.get(run.id)
        return None

    def start(
        self,
        actor: Actor,
        run_input: Mapping[str, Any],
        *,
        most_items: int | None = None,
        most_usd: float | None = None,
    ) -> Run:
        """Start a run; never twice by itself.

        Raises:
            UnavailableError: If Apify does not answer: it may have started one all the same.
            InputError: If it refuses the input.
        """
        with explained(self._secret):
            return self._run(
                self._client.actor(actor.id).start(
                    run_input=dict(run_input),
                    max_items=most_items,
                    max_total_charge_usd=None if most_usd is None else Decimal(str(most_usd)),
                )
            )

    def page(self, run: Run, offset: int, limit: int) -> Page:
        """Return items of a run.

        Raises:
            UnavailableError: If its data set is gone.
        """
        from apify_client.errors import NotFoundError

        with explained(self._secret):
            try:
                found = self._client.dataset(run.dataset).list_items(offset=offset, limit=limit)
            except NotFoundError:
                raise UnavailableError(
                    f"The data of the run {run.id} are gone from Apify, which deletes them after "
                    "a while. --add starts another run and keeps what is here."
                ) from None
            if found.offset != offset or len(found.items) > limit:
                raise ValueError(f"asked for {limit} items from {offset} on, got other ones")
            return Page(found.items, found.total)

    def stop(self, run: Run) -> Run:
        """Stop a run."""
        with explained(self._secret):
            return self._run(self._client.run(run.id).abort())


def _holds(stored: Any, given: Mapping[str, Any]) -> bool:  # noqa: ANN401 - whatever is stored
    """Whether an input that a run has is the one that was given, defaults aside."""
    if not isinstance(stored, dict):
        return False
    return all(
        name in stored
        and json.dumps(stored[name], sort_keys=True) == json.dumps(value, sort_keys=True)
        for name, value in given.items()
    )
