"""Search Kaggle with its own client: datasets, models and notebooks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from loragraft.adapter.candidate import OTHERS, Candidate, Describe, Kind, Sort, shorten
from loragraft.adapter.fetch.kaggle import explain_kaggle, open_kaggle

if TYPE_CHECKING:
    from kagglesdk.kaggle_client import KaggleClient

Finder = Callable[["KaggleClient", str | None, str | None, Sort, int], list[Candidate]]
"""Finds uploads by words, or those of an owner."""

_SITE = "https://www.kaggle.com"


def search_kaggle(
    query: str, kind: Kind, sort: Sort, limit: int, describe: Describe
) -> list[Candidate]:
    """Search one kind of upload; see :func:`~loragraft.adapter.search.search`.

    Raises:
        UnavailableError: If Kaggle cannot be reached or refuses.
        MissingExtraError: If kagglehub is not installed.
    """
    find = _FINDERS[kind]
    with (
        open_kaggle("Searching Kaggle") as client,
        explain_kaggle(f"the search for {query!r}"),
    ):
        found = find(client, query, None, sort, limit)[:limit]
        owners = dict.fromkeys(candidate.id.partition("/")[0] for candidate in found)
        uploads = {o: find(client, None, o, "updated", OTHERS + 1) for o in owners if o}
    return [_completed(candidate, uploads, describe) for candidate in found]


def _completed(
    candidate: Candidate, uploads: dict[str, list[Candidate]], describe: Describe
) -> Candidate:
    own = uploads.get(candidate.id.partition("/")[0], [])
    others = [other.id for other in own if other.id != candidate.id][:OTHERS]
    # A title says more than a slug where both are given: "Qwen2.5-1.5B", not "qwen2-5-1-5b".
    says = describe(candidate.title) or describe(candidate.id)
    return replace(candidate, name_says=says, others=tuple(others))


def _datasets(
    client: KaggleClient, query: str | None, owner: str | None, sort: Sort, limit: int
) -> list[Candidate]:
    from kagglesdk.datasets.types.dataset_api_service import ApiListDatasetsRequest
    from kagglesdk.datasets.types.dataset_enums import DatasetSortBy

    request = ApiListDatasetsRequest()
    request.search, request.user, request.page_size = query, owner, limit
    request.sort_by = {
        "updated": DatasetSortBy.DATASET_SORT_BY_UPDATED,
        "downloads": DatasetSortBy.DATASET_SORT_BY_DOWNLOAD_COUNT,
        "votes": DatasetSortBy.DATASET_SORT_BY_VOTES,
    }[sort]
    answer = client.datasets.dataset_api_client.list_datasets(request)
    return [
        Candidate(
            source="kaggle",
            kind="dataset",
            id=item.ref,
            fetch=f"kaggle:{item.ref}",
            url=f"{_SITE}/datasets/{item.ref}",
            title=item.title or item.ref,
            author=item.owner_name or item.ref.partition("/")[0],
            bytes=item.total_bytes,
            updated=_time(item.last_updated),
            downloads=item.download_count,
            votes=item.vote_count,
            description=shorten(item.subtitle or item.description),
        )
        for item in answer.datasets or ()
    ]


def _models(
    client: KaggleClient, query: str | None, owner: str | None, sort: Sort, limit: int
) -> list[Candidate]:
    from kagglesdk.models.types.model_api_service import ApiListModelsRequest
    from kagglesdk.models.types.model_enums import ListModelsOrderBy

    request = ApiListModelsRequest()
    request.search, request.owner, request.page_size = query or "", owner or "", limit
    request.sort_by = {
        "updated": ListModelsOrderBy.LIST_MODELS_ORDER_BY_UPDATE_TIME,
        "downloads": ListModelsOrderBy.LIST_MODELS_ORDER_BY_DOWNLOAD_COUNT,
        "votes": ListModelsOrderBy.LIST_MODELS_ORDER_BY_VOTE_COUNT,
    }[sort]
    answer = client.models.model_api_client.list_models(request)
    return [_model(item) for item in answer.models or ()]


def _model(item: Any) -> Candidate:  # noqa: ANN401 - ApiModel
    # The framework's name as an address has it: MODEL_FRAMEWORK_PY_TORCH is "pyTorch".
    variations = [
        f"kaggle:{item.ref}/{_camel(v.framework.name)}/{v.slug}" for v in item.instances or ()
    ]
    sizes = [v.total_uncompressed_bytes for v in item.instances or ()]
    return Candidate(
        source="kaggle",
        kind="model",
        id=item.ref,
        fetch=variations[0] if variations else None,
        url=f"{_SITE}/models/{item.ref}",
        title=item.title or item.ref,
        author=item.author or item.ref.partition("/")[0],
        bytes=sizes[0] if sizes else None,
        updated=_time(item.update_time),
        votes=item.vote_count,
        description=shorten(item.subtitle or item.description),
    )


def _camel(name: str) -> str:
    first, *rest = name.removeprefix("MODEL_FRAMEWORK_").lower().split("_")
    return first + "".join(part.capitalize() for part in rest)


def _notebooks(
    client: KaggleClient, query: str | None, owner: str | None, sort: Sort, limit: int
) -> list[Candidate]:
    from kagglesdk.kernels.types.kernels_api_service import ApiListKernelsRequest
    from kagglesdk.kernels.types.kernels_enums import KernelsListSortType

    request = ApiListKernelsRequest()
    request.search, request.user, request.page_size = query or "", owner or "", limit
    # Kaggle counts no downloads of notebooks: those most voted for come first instead.
    newest = sort == "updated"
    request.sort_by = KernelsListSortType.DATE_RUN if newest else KernelsListSortType.VOTE_COUNT
    answer = client.kernels.kernels_api_client.list_kernels(request)
    return [
        Candidate(
            source="kaggle",
            kind="notebook",
            id=item.ref,
            fetch=None,
            url=f"{_SITE}/code/{item.ref}",
            title=item.title or item.ref,
            author=item.author or item.ref.partition("/")[0],
            updated=_time(item.last_run_time),
            votes=item.total_votes,
            description=shorten(item.language),
        )
        for item in answer.kernels or ()
    ]


def _time(value: datetime | None) -> str | None:
    """Return a time as ISO 8601; Kaggle's are in UTC and its empty one is year 1."""
    if value is None or value.year < 2000:
        return None
    aware = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
    return aware.isoformat()


_FINDERS: dict[Kind, Finder] = {
    "dataset": _datasets,
    "model": _models,
    "notebook": _notebooks,
}
