"""Responses of servers: how their JSON is read, and what a failed one means.

A failure is a refusal of one call, a server that is unavailable, or a wrong setting.
"""

from __future__ import annotations

import functools
import html
import json
import math
import os
import re
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from urllib.parse import urljoin, urlsplit

from ...errors import BadOption, EngineFault
from ...types import Failure, Reply
from ..prepare import Prepared

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")
Replies: TypeAlias = list[Reply | Failure]

_LONGEST_MESSAGE = 300
_ODD = (
    KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError,
)  # fmt: skip


class Malformed(Exception):
    """A response of status 200 that does not hold what was requested."""


class Unavailable(Exception):
    """A call that failed although it was tried several times."""


@dataclass(frozen=True, slots=True)
class Refused(Failure):
    """A refusal of what a call holds; parts of the call may be accepted."""


@dataclass(frozen=True)
class Call:
    """A request: where and what to post, and how to read the replies from the response's JSON."""

    path: str
    body: Mapping[str, Any]
    read: Callable[[Any], Replies]

    def replies(self, payload: Any) -> Replies:
        """Read the replies; raises Malformed where the JSON has another shape."""
        return read_as(self.read, payload)


def read_as(read: Callable[[Any], T], payload: Any) -> T:
    """Return `read(payload)`; raises Malformed where it fails."""
    try:
        return read(payload)
    except _ODD as error:
        raise Malformed(f"{type(error).__name__}: {error}") from error


def in_order(entries: Sequence[Any], batch: Sequence[Prepared]) -> list[Any]:
    """Return the entries by index. Raises Malformed unless there is one for each of `batch`."""
    found = sorted(entries, key=lambda entry: int(entry["index"]))
    if [entry["index"] for entry in found] != list(range(len(batch))):
        raise Malformed(f"its {len(found)} entries are not numbered from 0 to {len(batch) - 1}")
    return found


def number(value: Any) -> float:
    """Return a number of a response; null, which JSON has in place of NaN, is NaN."""
    return math.nan if value is None else float(value)


def text_or_none(value: Any) -> str | None:
    """Return a text of a response; None where it is empty or no text."""
    return value if isinstance(value, str) and value else None


def usage(payload: Any, *names: str) -> int:
    """Return the first of these token counts that the server reports, else 0."""
    counts = (payload.get("usage") or {}) if isinstance(payload, dict) else {}
    return int(next((counts[name] for name in names if counts.get(name)), 0))


@dataclass(frozen=True)
class ApiKey:
    """The key that is sent as a bearer token, or none; no text and no error shows it.

    variable: the environment variable that holds it, the option `api_key_env`.
    """

    value: str | None = field(default=None, repr=False)
    variable: str | None = None

    @classmethod
    def of(cls, variable: str | None) -> ApiKey:
        """Read the key from the environment. Raises BadOption where it is missing or is none."""
        if variable is None:
            return cls()
        key = os.environ.get(variable, "").strip()
        if not key:
            raise BadOption(f"api_key_env: the environment has no {variable}, or it is empty")
        if not key.isascii() or not key.isprintable():
            raise BadOption(f"api_key_env: {variable} holds characters that no key has")
        return cls(key, variable)

    def redacted(self, text: str) -> str:
        """Return a server's text without the key, in one line of at most 300 characters."""
        text = _spellings(self.value).sub("***", text) if self.value else text
        start = text[: 10 * _LONGEST_MESSAGE]
        line = " ".join("".join(c if c.isprintable() else " " for c in start).split())
        return line[:_LONGEST_MESSAGE]

    def error(self, response: httpx2.Response) -> str:
        """Return status and message of an error response, in one line."""
        return f"{response.status_code}: {self.redacted(_message(response))}"

    def payload(self, where: str, response: httpx2.Response) -> Any:
        """Return the JSON of a response, or the refusal of this one call.

        Raises Malformed for what is no JSON, and EngineFault for a status that no other call
        would escape.
        """
        status = response.status_code
        if status == HTTPStatus.OK:
            return read_as(lambda found: found.json(), response)
        error = self.error(response)
        if status in (400, 413, 422):
            cure = "if it is too long, lower max_doc_tokens, max_tokens or window"
            return Refused(f"{where} refuses {error} ({cure})")
        if status in (401, 403):
            cure = f"check the key in {self.variable}" if self.variable else "set api_key_env=NAME"
            phrase = HTTPStatus(status).phrase
            message = self.redacted(_message(response))
            raise EngineFault(f"{where}: {status} {phrase}: {cure} (the server says: {message})")
        if response.has_redirect_location:  # not followed: it would carry the key elsewhere
            target = self.redacted(urljoin(where, response.headers["Location"]))
            base = target.removesuffix(urlsplit(where).path)
            raise EngineFault(f"{where} redirects to {target} ({status}): use --base-url {base}")
        raise EngineFault(f"{where} answers {error}")

    def broken_connection(self, error: BaseException) -> str:
        """Return why a connection broke; raises EngineFault where a setting must be wrong."""
        reason, cause = "", error.__cause__
        while cause is not None:
            reason = reason or self.redacted(str(cause) or type(cause).__name__)
            if isinstance(cause, ssl.SSLCertVerificationError):
                cure = "set SSL_CERT_FILE to the certificates to trust"
                raise EngineFault(f"{self.redacted(cause.verify_message)}; {cure}") from None
            unknown = isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_NONAME
            if unknown or isinstance(cause, ssl.SSLError) or "illegal" in reason:
                raise EngineFault(f"base_url: {reason}; check host, http:// and https://") from None
            cause = cause.__cause__ or cause.__context__
        return reason


@functools.cache
def _spellings(key: str) -> re.Pattern[str]:
    """Match the key as it is and as JSON, URLs and HTML escape its characters."""
    ways = (
        rf"(?:\\{{0,3}}{re.escape(c)}|\\{{1,3}}u00{ord(c):02x}|%(?:25)*{ord(c):02x}"
        rf"|&#0*{ord(c)};|&#x0*{ord(c):x};|{re.escape(html.escape(c))})"
        for c in key
    )
    return re.compile("".join(ways), re.IGNORECASE)


def _message(response: httpx2.Response) -> str:
    try:
        found = response.json()
    except (ValueError, RecursionError):
        return response.text
    for name in ("error", "message", "detail"):
        found = found.get(name, found) if isinstance(found, dict) else found
    return found if isinstance(found, str) else json.dumps(found)
