"""A bundle to the Hugging Face Hub, by huggingface_hub, after its checksums were checked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loragraft.artifact.checksums import CHECKSUMS_NAME, check_checksums, read_checksums
from loragraft.checkpoint.hub import is_network_error
from loragraft.errors import BundleError, InputError, UnavailableError

_REPO = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
TOKEN_HELP = (
    "Log in with `hf auth login`, or set HF_TOKEN to a token with write access "
    "(https://huggingface.co/settings/tokens)."
)


@dataclass(frozen=True)
class PushReport:
    """What was, or would be, uploaded.

    Attributes:
        repo_id: The repository.
        files: Name and bytes of each file.
        url: The commit or pull request; None on a dry run.
        dry_run: Whether nothing was sent.
    """

    repo_id: str
    files: tuple[tuple[str, int], ...]
    url: str | None
    dry_run: bool

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        files = [{"name": name, "bytes": size} for name, size in self.files]
        return {"repo_id": self.repo_id, "files": files, "url": self.url, "dry_run": self.dry_run}


def push_bundle(
    bundle: Path,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    create_pr: bool = False,
    dry_run: bool = False,
) -> PushReport:
    """Upload a bundle's listed files as one commit; the repository is made if missing.

    Args:
        bundle: The bundle's folder.
        repo_id: ``owner/name`` (or ``name`` under the token's owner).
        private: Whether a new repository is private; an existing one keeps its setting.
        revision: Branch to commit to, made if missing; the main one where None.
        create_pr: Open a pull request in place of a direct commit.
        dry_run: Check everything on this side and send nothing.

    Raises:
        BundleError: If the folder is no bundle, or a file is not as its checksum says.
        InputError: If the repository's name is malformed, or the Hub refuses what is sent.
        UnavailableError: If there is no token, it is refused, or the Hub cannot be reached.
    """
    if _REPO.fullmatch(repo_id) is None:
        raise InputError(f"{repo_id!r} is no repository name. Expected owner/name.")
    files = _checked_files(bundle)
    if dry_run:
        return PushReport(repo_id, files, None, True)
    with _explain_hub(repo_id):
        url = _upload(bundle, repo_id, [name for name, _ in files], private, revision, create_pr)
    return PushReport(repo_id, files, url, False)


def _checked_files(bundle: Path) -> tuple[tuple[str, int], ...]:
    problems = check_checksums(bundle)
    if problems:
        shown = " ".join(problem.message for problem in problems[:4])
        raise BundleError(f"{bundle} is not as it was exported: {shown} Export it again.")
    names = sorted([*read_checksums(bundle), CHECKSUMS_NAME])
    return tuple((name, (bundle / name).stat().st_size) for name in names)


def _upload(
    bundle: Path,
    repo_id: str,
    names: list[str],
    private: bool,
    revision: str | None,
    create_pr: bool,
) -> str:
    from huggingface_hub import HfApi, get_token

    if get_token() is None:
        raise UnavailableError(f"There is no Hugging Face token, so nothing was sent. {TOKEN_HELP}")
    api = HfApi(library_name="loragraft")
    repo = api.create_repo(repo_id, private=private or None, exist_ok=True).repo_id
    if revision is not None and not create_pr:
        api.create_branch(repo, branch=revision, exist_ok=True)
    info = api.upload_folder(
        repo_id=repo,
        folder_path=str(bundle),
        revision=revision,
        create_pr=create_pr,
        allow_patterns=[_escape(name) for name in names],
        commit_message=f"Upload {bundle.name} with loragraft",
    )
    return str(info.pr_url if create_pr and info.pr_url else info.commit_url)


def _escape(name: str) -> str:
    """Escape what fnmatch would take for a pattern."""
    return re.sub(r"([*?\[])", r"[\1]", name)


@contextmanager
def _explain_hub(repo_id: str) -> Iterator[None]:
    """Turn the Hub's and the network's errors into ours; anything else is a bug."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    try:
        yield
    except HfHubHTTPError as error:
        raise _explain_status(repo_id, error) from error
    except HFValidationError as error:
        raise InputError(f"{repo_id!r} is no repository name: {error}") from error
    except OfflineModeIsEnabled as error:
        raise UnavailableError(
            "HF_HUB_OFFLINE is set, so nothing was sent. Unset it and push again."
        ) from error
    except (UnavailableError, InputError):
        raise
    except Exception as error:
        if not is_network_error(error):
            raise
        raise UnavailableError(
            f"The Hub cannot be reached ({type(error).__name__}: {error}). Check the connection "
            "and HF_ENDPOINT, then push again: files that arrived are not sent twice."
        ) from error


def _explain_status(repo_id: str, error: Any) -> Exception:  # noqa: ANN401
    response = getattr(error, "response", None)
    status = response.status_code if response is not None else None
    said = (getattr(error, "server_message", None) or str(error)).strip().splitlines()
    words = f" The Hub says: {said[-1]}" if said else ""
    if status == 401:
        return UnavailableError(f"The Hub refuses the token (401).{words} {TOKEN_HELP}")
    if status == 403:
        return UnavailableError(
            f"The token may not write to {repo_id} (403).{words} Use a token with write access to "
            "it, or give --create-pr."
        )
    if status == 404:
        return InputError(f"{repo_id} is not there, or hidden from this token (404).{words}")
    if status is not None and status < 500 and status != 429:
        return InputError(f"The Hub refuses the upload to {repo_id} ({status}).{words}")
    return UnavailableError(
        f"The Hub answers {status} for {repo_id}.{words} Try again later: files that arrived are "
        "not sent twice."
    )
