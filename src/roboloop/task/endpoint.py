"""Posts to a language model's endpoint: limited in time and size, and nobody else gets the key."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, TypeVar
from urllib import error as urllib_error
from urllib import request as urllib_request
from urllib.parse import urlsplit

from roboloop.errors import RoboloopError

CHUNK = 1 << 16
"""Bytes that are read at once."""
QUOTED = 200
"""Characters of what a server says that are shown."""
AGAIN = (429, 500, 502, 503, 504)
"""HTTP statuses after which asking again may help."""
MAX_PAUSE_S = 30.0
"""Longest pause before asking again, whatever the server wishes."""

T = TypeVar("T")


@dataclass(frozen=True)
class Endpoint:
    """Where a model is, and how long to bear with it."""

    base_url: str
    """`http` or `https`, without the `/chat/completions` at its end."""
    model: str
    key_variable: str = "OPENAI_API_KEY"
    """Environment variable that holds the key; when it is not set, none is sent."""
    timeout_s: float = 60.0
    """For one request, from the connection to the answer's last byte."""
    retries: int = 2
    """How often to ask again after 429, 5xx and failed connections."""
    max_bytes: int = 262_144
    """Longest answer."""
    pause_s: float = 1.0
    """Before the first retry; doubles from one to the next."""

    @property
    def url(self) -> str:
        """Where requests go."""
        return f"{self.base_url.rstrip('/')}/chat/completions"

    @property
    def key(self) -> str:
        """The key; empty where there is none.

        Raises:
            RoboloopError: No header can carry it.
        """
        key = os.environ.get(self.key_variable, "").strip()
        if key.isascii() and key.isprintable():
            return key
        raise RoboloopError(f"the key in {self.key_variable} has characters that no key has")

    def check(self) -> None:
        """Check the settings.

        Raises:
            RoboloopError: One of them makes no sense; the message names it.
        """
        try:
            parts = urlsplit(self.base_url)
            good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            good, parts = False, urlsplit("")
        plain = self.base_url.isascii() and self.base_url.isprintable()
        if not good or not plain or " " in self.base_url or parts.query or parts.fragment:
            shown = quoted(self.base_url)
            raise RoboloopError(f"the endpoint `{shown}` is no http or https address")
        if parts.username is not None or parts.password is not None:
            raise RoboloopError(
                "the endpoint's address has a user name in it",
                f"a key belongs in the environment variable {self.key_variable}",
            )
        if not self.model:
            raise RoboloopError("no model to ask", "give --model NAME", self.url)
        for name, value in (("timeout_s", self.timeout_s), ("max_bytes", self.max_bytes)):
            if not 0 < value < 1e9:
                raise RoboloopError(f"{name} is {value:g}, wanted a positive number")
        if not 0 <= self.retries <= 100:
            raise RoboloopError(f"retries is {self.retries}, wanted 0 to 100")


class _Failed(Exception):
    """A request without an answer: why, and the pause (s) after which another may help."""

    def __init__(self, why: str, pause_s: float | None = None, hint: str | None = None) -> None:
        super().__init__(why)
        self.why, self.pause_s, self.hint = why, pause_s, hint


class _NoRedirects(urllib_request.HTTPRedirectHandler):
    """Follows nothing: a redirect becomes an error."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """The key goes where the user sends it, nowhere else."""


def post(endpoint: Endpoint, body: bytes) -> bytes:
    """Post JSON to an endpoint, again where that may help, and return what it answers.

    Raises:
        RoboloopError: There is no answer: it cannot be reached, refuses, is too slow or too long.
    """
    endpoint.check()
    key = endpoint.key
    for attempt in range(endpoint.retries + 1):
        try:
            return _within(endpoint.timeout_s, lambda: _request(endpoint, body, key))
        except _Failed as error:
            if error.pause_s is None or attempt == endpoint.retries:
                tried = f", {attempt + 1} times" if attempt else ""
                problem = f"the endpoint {error.why}{tried}"
                raise RoboloopError(problem, error.hint, endpoint.url) from None
            time.sleep(min(max(error.pause_s, endpoint.pause_s * 2**attempt), MAX_PAUSE_S))
    raise AssertionError


def quoted(text: str, key: str = "") -> str:
    """Foreign text on one line: shortened, without the key or what steers a terminal."""
    text = text.replace(key, "***") if key else text
    line = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    return f"{line[:QUOTED]}..." if len(line) > QUOTED else line or "(nothing)"


def _within(timeout_s: float, work: Callable[[], T]) -> T:
    """Run `work` in a thread that is given up after a time: no trickle of bytes holds us."""
    done: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:  # raised again below
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout_s)
    if failed:
        raise failed[0]
    if not done:
        raise _late(timeout_s)
    return done[0]


def _late(timeout_s: float) -> _Failed:
    return _Failed(f"does not answer within {timeout_s:g} s", hint="give it more: --timeout-s")


def _request(endpoint: Endpoint, body: bytes, key: str) -> bytes:
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    headers |= {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib_request.Request(endpoint.url, body, headers, method="POST")
    try:
        opener = urllib_request.build_opener(_NoRedirects)
        with opener.open(request, timeout=endpoint.timeout_s) as response:
            return _read(response, endpoint.max_bytes)
    except urllib_error.HTTPError as error:
        raise _refusal(error, endpoint, key) from None
    except (OSError, HTTPException, ValueError) as error:
        cause = error.reason if isinstance(error, urllib_error.URLError) else error
        if isinstance(cause, TimeoutError):
            raise _late(endpoint.timeout_s) from None
        why = getattr(cause, "strerror", None) or type(cause).__name__
        raise _Failed(f"cannot be reached: {why}", endpoint.pause_s) from None


def _read(response: Any, max_bytes: int) -> bytes:
    """Read a body that is not too long, piece by piece."""
    pieces, size = [], 0
    while piece := response.read1(CHUNK):
        size += len(piece)
        if size > max_bytes:
            raise _Failed(f"answers with more than {max_bytes:,} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def _refusal(error: urllib_error.HTTPError, endpoint: Endpoint, key: str) -> _Failed:
    """What an HTTP status means to us."""
    status = error.code
    try:
        with error:
            said = error.read1(CHUNK).decode("utf-8", "replace")
    except (OSError, HTTPException):
        said = ""
    if 300 <= status < 400:
        return _Failed(f"redirects elsewhere (HTTP {status})", hint="give the address it moved to")
    why = f"refuses with HTTP {status}: {quoted(said, key)}"
    if status in (401, 403):
        return _Failed(why, hint=f"is the key in {endpoint.key_variable} the right one?")
    wish = error.headers.get("Retry-After") or "0"
    pause_s = float(wish) if wish.isascii() and wish.isdigit() else 0.0
    return _Failed(why, pause_s if status in AGAIN else None)
