"""Collect by twscrape, which searches X with accounts of one's own: the fallback without Apify.

The accounts lie in twscrape's own database; their cookies and passwords stay there. What the
package says goes to the progress, with every such secret taken out; it sends no statistics.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from loragraft.artifact.lock import hold_lock
from loragraft.artifact.progress import Progress, Silent
from loragraft.artifact.secret import HIDDEN
from loragraft.dataset.collect.request import SUCCEEDED, TARGET, CollectReport
from loragraft.dataset.collect.store import Store, explained_output
from loragraft.errors import InputError, MissingExtraError, UnavailableError

_STALLED = "pagination stalled"
"""What twscrape warns of where X has no more to give: it sends the last page again."""
_SHORTEST = 6
"""Characters of a secret: what is shorter would be taken out of ordinary words."""
_SECRET_COLUMNS = ("password", "email_password", "mfa_code", "cookies", "headers", "proxy")


@dataclass(frozen=True)
class TwscrapeRequest:
    """What to collect.

    Attributes:
        out: The file to make.
        queries: Searches, one after the other.
        accounts: twscrape's database of accounts.
        target: Records at most.
        resume: Whether a collection that is there goes on.
        replace: Whether what is there gives way.
        wait: Seconds to wait for an account that is free, where all are at their limits; None
            waits as long as it takes.
    """

    out: Path
    queries: tuple[str, ...]
    accounts: Path
    target: int | None = None
    resume: bool = False
    replace: bool = False
    wait: float | None = None


class Page(NamedTuple):
    """Posts of one answer, and where the next begins; None where nobody knows."""

    posts: list[dict[str, Any]]
    cursor: str | None


class Search(Protocol):
    """What searches X page by page."""

    def pages(self, query: str, cursor: str | None) -> AsyncGenerator[Page, None]:
        """Yield the answers to a query, from a cursor on where there is one."""


def collect_twscrape(
    request: TwscrapeRequest, *, progress: Progress | None = None
) -> CollectReport:
    """Collect the posts that searches find into a file; each page is kept as it arrives.

    Raises:
        InputError: If there are no accounts, no searches, or what is there does not fit.
        UnavailableError: If X or the accounts stop a search; what arrived is kept.
        MissingExtraError: If twscrape is not installed.
    """
    progress = progress or Silent()
    if not request.queries:
        raise InputError("Nothing says what to look for. Give --query, or --from-config.")
    hide = _hider(_secrets(request.accounts))
    key = {"source": "twscrape", "queries": json.dumps(request.queries, ensure_ascii=False)}
    with (
        explained_output(request.out),
        hold_lock(request.out.with_name(f".{request.out.name}.lock")),
        _told(progress, hide) as troubles,
        Store(request.out, key, resume=request.resume, replace=request.replace, hide=hide) as store,
    ):
        work = _Collection(request, store, _open(request), progress, troubles)
        return asyncio.run(work.go())


def _secrets(accounts: Path) -> set[str]:
    """Return every secret of the accounts, to take them out of all that is said and written.

    Raises:
        InputError: If the file is no database of accounts, or holds no active one.
    """
    if not accounts.is_file():
        raise InputError(
            f"{accounts} does not exist. Make it with twscrape's own command: twscrape --db "
            f"{accounts} add_cookie NAME < cookies.txt"
        )
    try:
        with contextlib.closing(sqlite3.connect(accounts)) as database:
            database.row_factory = sqlite3.Row
            rows = [dict(row) for row in database.execute("SELECT * FROM accounts")]
    except sqlite3.DatabaseError as error:
        raise InputError(
            f"{accounts} is no database of twscrape's accounts: {error}. Make one with: twscrape "
            f"--db {accounts} add_cookie NAME < cookies.txt"
        ) from None
    if not any(row.get("active") for row in rows):
        raise InputError(
            f"None of the {len(rows)} accounts in {accounts} is active. See them with: twscrape "
            f"--db {accounts} accounts; log in anew with: twscrape --db {accounts} relogin_failed"
        )
    return {text for row in rows for name in _SECRET_COLUMNS for text in _texts(row.get(name))}


def _texts(value: Any) -> Iterator[str]:  # noqa: ANN401 - a column
    """Yield the texts of a column, which may be JSON."""
    if not isinstance(value, str):
        return
    with contextlib.suppress(ValueError):
        value = json.loads(value)
    found = value.values() if isinstance(value, dict) else [value]
    yield from (str(text) for text in found if len(str(text)) >= _SHORTEST)


def _hider(secrets: set[str]) -> Callable[[str], str]:
    ordered = sorted(secrets, key=len, reverse=True)

    def hide(text: str) -> str:
        for secret in ordered:
            text = text.replace(secret, HIDDEN)
        return text

    return hide


@contextlib.contextmanager
def _told(progress: Progress, hide: Callable[[str], str]) -> Iterator[list[str]]:
    """Let what twscrape says go to the progress; yield its warnings as they come."""
    os.environ.setdefault("TWS_TELEMETRY", "0")  # before it is imported
    try:
        import twscrape  # noqa: F401 - it puts its own handler there, which ours replaces
        from loguru import logger
    except ImportError:
        raise MissingExtraError("twscrape", "twscrape", "Collecting by twscrape") from None
    troubles: list[str] = []

    def take(message: Any) -> None:  # noqa: ANN401 - loguru's own
        text = clean(hide(str(message.record["message"])))
        if message.record["level"].no >= logger.level("WARNING").no:
            troubles.append(text)
        progress.note(text)

    from loragraft.chat.cleaning import clean

    logger.remove()
    number = logger.add(take, level="INFO")
    try:
        yield troubles
    finally:
        logger.remove(number)


def _open(request: TwscrapeRequest) -> Search:
    from twscrape import API

    return _Twscrape(
        API(str(request.accounts), raise_when_no_account=request.wait is not None,
            wait_timeout=request.wait)
    )  # fmt: skip


class _Twscrape:
    """The package's search, with the cursors it keeps to itself."""

    def __init__(self, api: Any) -> None:  # noqa: ANN401 - twscrape's API
        self._api = api

    async def pages(self, query: str, cursor: str | None) -> AsyncGenerator[Page, None]:
        from twscrape import GqlFeaturesOutdatedError, NoAccountError
        from twscrape.models import parse_tweets

        variables = {} if cursor is None else {"cursor": cursor}
        try:
            async with contextlib.aclosing(self._api.search_raw(query, kv=variables)) as answers:
                async for answer in answers:
                    values = answer.json()
                    posts = [json.loads(post.json()) for post in parse_tweets(values)]
                    yield Page(posts, find_cursor(values))
        except NoAccountError as error:
            raise UnavailableError(
                f"{error}: all accounts are at X's limits. Come back later with --resume."
            ) from None
        except GqlFeaturesOutdatedError as error:
            raise UnavailableError(
                f"X has changed, and this twscrape is too old for it ({str(error)[:200]}). Get a "
                "newer one with: pip install -U twscrape. What arrived is kept: --resume goes on."
            ) from None
        except sqlite3.Error as error:
            raise UnavailableError(
                f"The accounts' database fails: {error}. May it be written to? --resume goes on."
            ) from None


def find_cursor(values: Any) -> str | None:  # noqa: ANN401 - an answer of X
    """Return where the next page of an answer begins, or None."""
    if isinstance(values, Mapping):
        if values.get("cursorType") == "Bottom" and isinstance(values.get("value"), str):
            return str(values["value"])
        values = list(values.values())
    if isinstance(values, list):
        for below in values:
            if (found := find_cursor(below)) is not None:
                return found
    return None


class _Collection:
    """One call's way through the queries."""

    def __init__(
        self,
        request: TwscrapeRequest,
        store: Store,
        search: Search,
        progress: Progress,
        troubles: list[str],
    ) -> None:
        self._request, self._store, self._search = request, store, search
        self._progress, self._troubles = progress, troubles

    @property
    def _reached(self) -> bool:
        target = self._request.target
        return target is not None and self._store.records >= target

    async def go(self) -> CollectReport:
        store = self._store
        before = store.records
        if store.ended == TARGET and not self._reached:
            store.reopen()
        if store.ended is None:
            self._progress.begin("Collecting", self._request.target or 0, "records")
            self._progress.advance(before)
            while not self._reached and store.number("query") < len(self._request.queries):
                await self._query(store.number("query"))
            store.finish(TARGET if self._reached else SUCCEEDED)
        return CollectReport(
            out=store.out, records=store.records, again=store.number("again"),
            empty=store.number("empty"), ended=store.ended or "", runs=(),
            new=store.records - before,
        )  # fmt: skip

    async def _query(self, number: int) -> None:
        """Take the pages of one query, from the noted one on.

        A cursor that X no longer knows gives nothing: then the query begins anew, and what is
        there already is passed over.

        Raises:
            UnavailableError: If the search ended because of trouble, not because there is no more.
        """
        query, cursor = self._request.queries[number], self._store.get("cursor")
        for begin in (cursor, None) if cursor else (None,):
            self._troubles.clear()
            pages = await self._take(query, begin)
            if self._reached:
                return
            serious = [text for text in self._troubles if _STALLED not in text]
            if serious:
                raise UnavailableError(
                    f"The search {query!r} ended early: {serious[-1]} What arrived is kept: run "
                    "the same command again with --resume."
                )
            if pages:
                break
        self._store.put(query=number + 1, cursor=None)

    async def _take(self, query: str, cursor: str | None) -> int:
        """Keep each page with the cursor behind it; return how many there were."""
        pages, store, target = 0, self._store, self._request.target
        async with contextlib.aclosing(self._search.pages(query, cursor)) as answers:
            async for page in answers:
                pages += 1
                here, behind = {"cursor": cursor or ""}, {"cursor": page.cursor or ""}
                added = store.add(page.posts, behind, limit=target, position_of_rest=here)
                self._progress.advance(added.records)
                cursor = page.cursor
                if self._reached:
                    break
        return pages
