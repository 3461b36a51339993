"""Search the Hugging Face Hub with its own client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from loragraft.adapter.candidate import OTHERS, Candidate, Describe, Kind, Sort, shorten
from loragraft.checkpoint.hub import is_network_error
from loragraft.errors import UnavailableError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_SORTS: Mapping[Sort, str] = {"updated": "last_modified", "downloads": "downloads",
                              "votes": "likes"}  # fmt: skip
_COMMON = ["author", "cardData", "downloads", "gated", "lastModified", "likes", "tags",
           "usedStorage"]  # fmt: skip
_ADAPTER_OF = "base_model:adapter:"
_DULL = ("region:", "base_model:", "license:", "dataset:", "arxiv:", "doi:", "endpoints_")
"""Beginnings of tags that say nothing, or what stands elsewhere."""


@contextmanager
def _explain(query: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not is_network_error(error):
            raise
        lines = str(error).strip().splitlines()
        reason = lines[0].rstrip(".") if lines else type(error).__name__
        raise UnavailableError(
            f"The Hub could not be searched for {query!r}: {reason}. Check the connection and "
            "HF_HUB_OFFLINE, then try again."
        ) from None


def search_hub(
    query: str, kind: Kind, sort: Sort, limit: int, describe: Describe
) -> list[Candidate]:
    """Search models or datasets; see :func:`~loragraft.adapter.search.search`.

    Raises:
        UnavailableError: If the Hub cannot be reached or refuses.
    """
    from huggingface_hub import HfApi, constants

    api = HfApi(library_name="loragraft")
    with _explain(query):
        if kind == "model":
            found: list[Any] = list(
                api.list_models(
                    search=query,
                    sort=_SORTS[sort],  # type: ignore[arg-type]
                    limit=limit,
                    expand=[*_COMMON, "pipeline_tag", "library_name"],  # type: ignore[list-item]
                )
            )
        else:
            found = list(
                api.list_datasets(
                    search=query,
                    sort=_SORTS[sort],  # type: ignore[arg-type]
                    limit=limit,
                    expand=[*_COMMON, "description"],  # type: ignore[list-item]
                )
            )
        authors = dict.fromkeys(info.id.partition("/")[0] for info in found)
        uploads = {author: _uploads(api, author, kind) for author in authors}
    return [
        _candidate(info, kind, uploads[info.id.partition("/")[0]], constants.ENDPOINT, describe)
        for info in found
    ]


def _uploads(api: HfApi, author: str, kind: Kind) -> list[str]:
    """Return an author's latest uploads of the same kind."""
    if kind == "model":
        found: list[Any] = list(
            api.list_models(author=author, sort="last_modified", limit=OTHERS + 1)
        )
    else:
        found = list(api.list_datasets(author=author, sort="last_modified", limit=OTHERS + 1))
    return [info.id for info in found]


def _candidate(
    info: Any,  # noqa: ANN401 - ModelInfo or DatasetInfo
    kind: Kind,
    uploads: list[str],
    endpoint: str,
    describe: Describe,
) -> Candidate:
    prefix = "datasets/" if kind == "dataset" else ""
    others = [name for name in uploads if name != info.id][:OTHERS]
    tags = [str(tag) for tag in info.tags or ()]
    storage = getattr(info, "used_storage", None)
    return Candidate(
        source="hf",
        kind=kind,
        id=info.id,
        fetch=f"hf:{prefix}{info.id}",
        url=f"{endpoint}/{prefix}{info.id}",
        title=info.id.rpartition("/")[2],
        author=info.author or info.id.partition("/")[0],
        bytes=storage if isinstance(storage, int) else None,
        updated=info.last_modified.isoformat() if info.last_modified else None,
        downloads=info.downloads,
        votes=info.likes,
        description=_description(info, tags),
        name_says=describe(info.id),
        claimed_base=_claimed_base(info, tags),
        gated=bool(info.gated),
        others=tuple(others),
    )


def _description(info: Any, tags: list[str]) -> str:  # noqa: ANN401 - as above
    """Return a dataset's own words; a model's are in its card, so its tags stand for them."""
    said = getattr(info, "description", None)
    if said:
        return shorten(said)
    kinds = [getattr(info, name, None) for name in ("library_name", "pipeline_tag")]
    useful = [tag for tag in tags if not tag.startswith(_DULL)]
    return shorten(", ".join(dict.fromkeys([*(str(k) for k in kinds if k), *useful])))


def _claimed_base(info: Any, tags: list[str]) -> str | None:  # noqa: ANN401 - as above
    """Return the base that the card names."""
    tagged = next((tag for tag in tags if tag.startswith(_ADAPTER_OF)), None)
    if tagged is not None:
        return tagged.removeprefix(_ADAPTER_OF)
    base = (getattr(info, "card_data", None) or {}).get("base_model")
    first = base[0] if isinstance(base, list) and base else base
    return first if isinstance(first, str) else None
