"""What the status of an answer says: good, come back later, or no."""

from __future__ import annotations

from virtualobserver.errors import ArchiveAnswerError, ArchiveError, ArchiveRefused, ArchiveUnavailable
from virtualobserver.io.http.body import first_words
from virtualobserver.io.http.ratelimit import Retry, retry_after
from virtualobserver.io.http.transport import Reply
from virtualobserver.secrets import host_of

__all__ = ["AttemptError", "refuse_status"]

_TRY_AGAIN = frozenset({429, 500, 502, 503, 504})
_ADVICE = {401: "; check the credentials", 403: "; check the credentials", 404: "; check the address"}


class AttemptError(Exception):
    """Carries the public error of one attempt to the loop that decides about the next."""

    def __init__(
        self, error: ArchiveError, *, wait: float | None = None, again: bool = True, host: str = ""
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.wait = wait
        self.again = again
        self.host = host


def refuse_status(reply: Reply, accept: tuple[int, ...], *, now: float, retry: Retry) -> None:
    """Raise unless the status is a good one.

    Parameters
    ----------
    reply
        The open answer.
    accept
        The good ones; none for every 2xx that is a whole answer.
    now
        Seconds since 1970, for a date in Retry-After.
    retry
        Bounds of the pause that the archive may ask for.

    Raises
    ------
    AttemptError
        If it is worth another try.
    ArchiveRefused, ArchiveAnswerError
        If it is not.
    """
    status = reply.status
    if status in accept or (not accept and 200 <= status < 300 and status != 206):
        return
    if accept and status == 204:
        msg = f"{reply.url}: no content (HTTP 204) where a file was expected"
        raise ArchiveAnswerError(msg)
    if status in _TRY_AGAIN:
        wait = retry_after(reply.headers.get("Retry-After"), now=now, longest=retry.longest_wait)
        if status == 429 and wait is None:
            wait = min(retry.first_wait * 2.0, retry.longest_wait)
        error = ArchiveUnavailable(f"{reply.url}: HTTP {status}; the archive asks to come back later")
        wait = wait if status in (429, 503) else None
        raise AttemptError(error, wait=wait, host=host_of(reply.url))
    msg = f"{reply.url}: HTTP {status}{_ADVICE.get(status, '')}{first_words(reply)}"
    raise ArchiveRefused(msg)
