"""What answers for a failure of the session itself, and what aiohttp knows of a response that may not have left."""

from __future__ import annotations

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import StreamWriter

from .exceptions import AdapterError, ConflictError, SessionEndedError, TooManySessionsError

__all__ = [
    "ConflictAnswer",
    "UnavailableAnswer",
    "answer_instead",
    "answer_to",
    "forget_framing",
    "has_left",
    "may_have_left",
]


def answer_to(error: BaseException) -> BaseException:
    """Return the response that stands for an exception, or the exception itself where none does."""
    if isinstance(error, SessionEndedError):
        return ConflictAnswer(text="The session has ended. Please try again.")
    if isinstance(error, TooManySessionsError):
        return ConflictAnswer(text="Too many sessions. Please sign out on another device first.")
    if isinstance(error, AdapterError | ConflictError):
        return _unavailable()
    return error


class ConflictAnswer(web.HTTPConflict):
    """The answer where the session has ended, or its owner has too many: to another manager a failure, no response."""


class UnavailableAnswer(web.HTTPServiceUnavailable):
    """The answer where the store failed; likewise."""


def _unavailable() -> web.HTTPServiceUnavailable:
    return UnavailableAnswer(text="Sessions are not available at the moment.", headers={"Retry-After": "1"})


async def answer_instead(request: web.Request, error: Exception) -> None:
    """Send a 503 in place of the response that is being prepared: what is raised there only drops the connection.

    :raises ConnectionResetError: when that is done, which aiohttp takes for a client that is gone.
    """
    answer = _unavailable()
    answer.force_close()
    await answer.prepare(request)
    await answer.write_eof()
    raise ConnectionResetError("the session could not be stored: 503 was sent in place of the response") from error


def has_left(writer: AbstractStreamWriter) -> bool:
    """Whether the headers of a response are written, sent or not."""
    if not isinstance(writer, StreamWriter):
        return False
    return writer.output_size > 0 or writer._headers_buf is not None  # noqa: SLF001 - nothing public tells


def may_have_left(writer: AbstractStreamWriter) -> bool:
    """Whether headers that were about to leave did, as far as anybody knows."""
    return not isinstance(writer, StreamWriter) or has_left(writer)


def forget_framing(writer: AbstractStreamWriter) -> None:
    """Undo what aiohttp set up for the body of a response that does not leave: another response will go its way."""
    if isinstance(writer, StreamWriter):
        writer.chunked = False
        writer._compress = None  # noqa: SLF001 - there is no public way back
