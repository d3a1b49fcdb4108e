"""What a call met: trouble that may pass, a request at fault, or what nothing will help."""

from __future__ import annotations

import contextlib
import email.utils
import functools
import html
import json
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx2

from ...errors import EngineFault
from ...types import Failure

LONGEST_WAIT = 120.0
"""The most seconds that a server may ask for before the next attempt."""

_TOO_LONG = ("context length", "max_model_len", "too long", "maximum input length", "max_seq_len")
_LOWER = "; lower max_doc_tokens, max_query_tokens or window"


ODD = (
    KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError,
)  # fmt: skip
"""What reading a reply raises that is not as it should be: a wrong shape, a number without end."""


class Malformed(Exception):
    """A reply of status 200 that does not hold what was asked for."""


@dataclass(frozen=True, slots=True)
class Refused(Failure):
    """A server's refusal of what a call holds, which parts of the call may escape."""


class Trouble(Exception):
    """A call failed in a way that may pass.

    cost: what it takes off the call's patience. wait: seconds before the next attempt, at least.
    """

    def __init__(self, reason: str, *, cost: float = 1.0, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.cost, self.wait = cost, wait


@dataclass(frozen=True)
class Judge:
    """Reads responses and broken exchanges. The key is in no message, even if a server sends it."""

    key: str | None = field(repr=False)
    key_name: str | None

    def payload(self, where: str, response: httpx2.Response) -> Any:
        """The JSON of a reply, or the Failure of this one request.

        Raises Trouble for 429, 5xx and what is no JSON; EngineFault for every other status.
        """
        status = response.status_code
        if status == 200:
            return _json(response)
        told = f"{status}: {self.said(response)}"
        if status == 429:
            raise Trouble(told, cost=0.25, wait=_retry_after(response))
        if status >= 500:
            raise Trouble(told, wait=_retry_after(response))
        if status in (400, 413, 422):
            too_long = any(sign in told.lower() for sign in _TOO_LONG)
            return Refused(f"{where} refuses {told}{_LOWER if too_long else ''}")
        if status in (401, 403):
            raise self.refused(where, response)
        if response.has_redirect_location:
            raise self.moved(where, response)
        raise EngineFault(f"{where} answers {told}")

    def refused(self, where: str, response: httpx2.Response) -> EngineFault:
        """The error for a key that is missing or wrong; it names the variable."""
        name, told = self.key_name, f"{response.status_code}: {self.said(response)}"
        cure = f"is ${name} the right key?" if name else "name its variable: -o api_key_env=NAME"
        return EngineFault(f"{where} lets nobody in ({told}); {cure}")

    def moved(self, where: str, response: httpx2.Response) -> EngineFault:
        """The error for a redirect, which is not followed: it might carry the key elsewhere."""
        there = self.hidden(urljoin(where, response.headers["Location"]))
        base = there.removesuffix(urlsplit(where).path)
        return EngineFault(
            f"{where} points to {there} ({response.status_code}); use --base-url {base}"
        )

    def broken(self, url: str, error: Exception) -> Exception:
        """What an exchange means that gave no response: Trouble, or EngineFault for ever."""
        told = self.hidden(str(error)) or type(error).__name__
        for cause in _causes(error):
            if isinstance(cause, ssl.SSLCertVerificationError):
                reason = cause.verify_message
                return EngineFault(f"{url}: {reason}; SSL_CERT_FILE names certificates to trust")
            if isinstance(cause, ssl.SSLError):
                return EngineFault(f"{url} does not speak TLS: is it http://?")
            if isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_NONAME:
                return EngineFault(f"{url}: there is no such host")
        garbled = isinstance(error, httpx2.RemoteProtocolError) and "illegal" in told
        if garbled or isinstance(error, httpx2.LocalProtocolError | httpx2.UnsupportedProtocol):
            return EngineFault(f"{url} does not speak HTTP ({told}): is it https://?")
        return Trouble(told)

    def said(self, response: httpx2.Response) -> str:
        """The message in an error reply, in one line."""
        try:
            found = response.json()
        except ValueError:
            found = response.text
        for name in ("error", "message", "detail"):
            found = found.get(name, found) if isinstance(found, dict) else found
        text = found if isinstance(found, str) else json.dumps(found)
        return self.hidden(text)

    def hidden(self, text: str) -> str:
        """The text in one line of at most 300 characters, without the key."""
        text = " ".join(text.split())
        return (_spelled(self.key).sub("***", text) if self.key else text)[:300]


@functools.cache
def _spelled(key: str) -> re.Pattern[str]:
    """The key as it is or as JSON, a URL or HTML writes it, or a mixture of them."""
    ways = (
        rf"(?:\\{{0,3}}{re.escape(c)}|\\{{1,3}}u00{ord(c):02x}|%(?:25)*{ord(c):02x}"
        rf"|&#0*{ord(c)};|&#x0*{ord(c):x};|{re.escape(html.escape(c))})"
        for c in key
    )
    return re.compile("".join(ways), re.IGNORECASE)


def _json(response: httpx2.Response) -> Any:
    try:
        return response.json()
    except (ValueError, RecursionError) as error:
        raise Malformed(f"no JSON: {error}") from error


def _retry_after(response: httpx2.Response) -> float:
    """Seconds that a Retry-After header asks for, as a number or as a date; else 0."""
    told, seconds = response.headers.get("Retry-After", ""), 0.0
    with contextlib.suppress(ValueError, TypeError):
        date = email.utils.parsedate_to_datetime(told)
        seconds = (date - datetime.now(UTC)).total_seconds()
    with contextlib.suppress(ValueError):
        seconds = float(told)
    return min(max(seconds, 0.0), LONGEST_WAIT)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
