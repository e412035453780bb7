"""Errors of the Hub client and of its HTTP library, as one line that names the repository and states what to do."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager

from ..text import first_line


def http_errors() -> tuple[type[Exception], ...]:
    """The error that the Hub client's HTTP library raises without a connection. The library depends on the version."""
    found = []
    for library in ("httpx", "httpx2", "requests"):
        module = sys.modules.get(library)
        error = getattr(module, "HTTPError", None) or getattr(module, "RequestException", None)
        if error is not None:
            found.append(error)
    return tuple(found)


@contextmanager
def hub_errors(repo: str) -> Generator[None, None, None]:
    """Converts errors of the Hub client to one-line messages that name the repository and state what to do."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise PermissionError(
            f"{repo}: this repository is gated; accept its terms on its page, then run `hf auth login`"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"{repo}: there is no such repository on the Hub, or it is private and the token gives no access; run "
            f"`hf auth login`, or pass token=..."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise FileNotFoundError(f"{repo}: there is no such revision; omit it for the newest") from error
    except errors.RemoteEntryNotFoundError as error:
        raise FileNotFoundError(
            f"{repo}: there is no config.json or no model.safetensors, so it is not a network of sngan-hub"
        ) from error
    except errors.LocalEntryNotFoundError as error:
        raise FileNotFoundError(
            f"{repo}: there is no such folder, it is not in the cache, and the Hub cannot be reached; connect to the "
            f"internet for the first download"
        ) from error
    except errors.HFValidationError as error:
        raise ValueError(f"{repo}: this is not a valid repository id ({first_line(error)})") from error
    except errors.HfHubHTTPError as error:
        status: int = getattr(error.response, "status_code", 0)
        hint = {401: ": the token is missing or invalid; run `hf auth login`", 403: ": the token lacks this permission",
                429: ": too many requests; try again later"}.get(status, "")  # fmt: skip
        raise ConnectionError(f"{repo}: the Hub answered {status}{hint} ({_one_line(error)})") from error
    except http_errors() as error:
        raise ConnectionError(f"{repo}: the Hub cannot be reached ({_one_line(error)}); connect to the internet and "
                              f"try again") from error  # fmt: skip


def _one_line(error: Exception) -> str:
    server = getattr(error, "server_message", None)
    return " ".join((server or str(error) or repr(error)).split())[:200]
