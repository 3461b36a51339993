"""What the Hub's client raises, whichever HTTP library its version stands on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from loragraft.errors import InputError, UnavailableError

_HTTP_LIBRARIES = frozenset({"httpx", "httpx2", "httpcore", "requests"})
"""huggingface_hub went from requests to httpx (1.0) and to httpx2 (2.0)."""


def is_network_error(error: Exception) -> bool:
    """Whether an error came from the network, the disk or the Hub, and is no bug of ours."""
    return isinstance(error, OSError) or any(
        kind.__module__.partition(".")[0] in _HTTP_LIBRARIES for kind in type(error).__mro__
    )


@contextmanager
def explain_hub(repository: str, failed: str) -> Iterator[None]:
    """Turn the Hub client's errors into ours.

    Args:
        repository: Which repository is asked for.
        failed: What is said of it where the Hub cannot be reached, as a predicate.

    Raises:
        InputError: If there is no such repository or revision.
        UnavailableError: If it is gated, or the Hub cannot be reached.
    """
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError:
        raise UnavailableError(
            f"{repository} is gated. Accept its licence on its page at the Hub, then log in with "
            "`hf auth login` and run the command again."
        ) from None
    except errors.RevisionNotFoundError:
        raise InputError(f"{repository} has no such revision. Leave @revision out.") from None
    except errors.RepositoryNotFoundError:
        raise InputError(
            f"There is no path and no public repository {repository}. Check the spelling; for a "
            "private one log in with `hf auth login`."
        ) from None
    except errors.HFValidationError as error:
        raise InputError(f"{repository} cannot name a repository: {error}") from None
    except Exception as error:
        if not is_network_error(error):
            raise
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        reason = said.strip(":. ").removeprefix("Got: ")  # what the client puts before its cause
        raise UnavailableError(
            f"{repository} {failed}: {reason}. Check the connection, or give the path of a local "
            "copy."
        ) from None
