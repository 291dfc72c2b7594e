"""Connections to servers: kept alive, through the proxies and certificates of the surroundings.

A server that sends too slowly is given up, in its headers as well as in a body. Knows nothing of
what is asked for.
"""

import io
import os
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from functools import partial
from http.client import HTTPResponse
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

from urllib3 import PoolManager, ProxyManager, Timeout, make_headers
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.util import Url, parse_url

from holdall.errors import UsageError

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

AUTHORITIES = "HOLDALL_CA_BUNDLE"
_BUFFER = 2**16
_KEPT = 8  # connections to one server


class Timing(NamedTuple):
    """How patient to be with a server, in seconds."""

    connect: float = 10  # until a connection stands
    answer: float = 30  # without a byte
    window: float = 60  # of waiting, in which less than `slowest` bytes a second is too slow
    slowest: int = 1000
    tries: int = 4  # in a row that bring nothing
    pause: float = 0.5  # after the first of them; doubled after each
    longest_pause: float = 60  # that a server may ask for


PATIENT = Timing()


class TooSlowError(Exception):
    """A server keeps a connection, but sends next to nothing; says how much came."""


class Connections:
    """What requests go out through; the proxies are those of the environment when it was made.

    A forked process makes connections of its own. Raises UsageError for settings of the
    environment that cannot be.
    """

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._proxies = getproxies()
        self._managers: dict[str, PoolManager] = {}
        self._tls: ssl.SSLContext | None = None
        self._lock = threading.Lock()
        self._owner = os.getpid()

    def get(self, url: Url, headers: Mapping[str, str]) -> "BaseHTTPResponse":
        """Ask once; raises urllib3's HTTPError, and TooSlowError, as does reading on."""
        return self._manager(url).urlopen(
            "GET",
            url.url,
            headers=headers,
            preload_content=False,
            decode_content=False,
            redirect=False,
            retries=False,
            timeout=Timeout(connect=self._timing.connect, read=self._timing.answer),
        )

    def close(self) -> None:
        """End those that nobody uses."""
        with self._lock:
            for manager in self._managers.values():
                manager.clear()
            self._managers.clear()

    def _manager(self, url: Url) -> PoolManager:
        proxy = self._proxy(url)
        with self._lock:
            if self._owner != os.getpid():  # what was inherited is the other process's to use
                for manager in self._managers.values():
                    manager.clear()
                self._managers.clear()
                self._owner = os.getpid()
            if proxy not in self._managers:
                self._managers[proxy] = self._new(url, proxy)
            return self._managers[proxy]

    def _proxy(self, url: Url) -> str:
        """The address of the proxy a server is asked through; "" for none."""
        if proxy_bypass(_server(url), self._proxies):
            return ""
        return self._proxies.get(url.scheme or "", self._proxies.get("all", ""))

    def _new(self, url: Url, proxy: str) -> PoolManager:
        secure = url.scheme == "https" or proxy.startswith("https:")
        if secure and self._tls is None:
            self._tls = _tls()
        manager = self._direct() if not proxy else self._through(proxy)
        manager.pool_classes_by_scheme = _pool_classes(self._timing)
        return manager

    def _direct(self) -> PoolManager:
        return PoolManager(maxsize=_KEPT, ssl_context=self._tls)

    def _through(self, proxy: str) -> PoolManager:
        try:
            address = parse_url(proxy if "://" in proxy else f"http://{proxy}")
            if address.scheme not in {"http", "https"} or not address.host:
                raise UsageError(f"The proxy {_shown(address)} is not one of http or https.")
            headers = make_headers(proxy_basic_auth=unquote(address.auth)) if address.auth else None
            return ProxyManager(
                address._replace(auth=None).url,
                maxsize=_KEPT,
                proxy_headers=headers,
                ssl_context=self._tls,
                proxy_ssl_context=self._tls,
            )
        except HTTPError as error:
            raise UsageError("The proxy that the environment names is no address.") from error


def _server(url: Url) -> str:
    return f"{url.host}:{url.port}" if url.port else url.host or ""


def _shown(url: Url) -> str:
    return url._replace(auth=None).url


def _tls() -> ssl.SSLContext:
    """The operating system's certificates; a file that is named instead of them is OpenSSL's way.

    OpenSSL itself looks at SSL_CERT_FILE and SSL_CERT_DIR.
    """
    named = os.environ.get(AUTHORITIES)
    try:
        return ssl.create_default_context(cafile=named or None)
    except OSError as error:
        reason = (error.strerror or "it has no certificates").lower()
        raise UsageError(f"{AUTHORITIES} names {named}, which cannot be used: {reason}.") from error


class _Pace(io.RawIOBase):
    """What a socket gives, as long as it is not too slow; time is only counted while waiting."""

    def __init__(self, raw: io.RawIOBase, timing: Timing) -> None:
        self._raw = raw
        self._timing = timing
        self._waited = 0.0
        self._came = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]  # no Buffer in 3.11
        begun = time.monotonic()
        count = self._raw.readinto(buffer)
        self._waited += time.monotonic() - begun
        self._came += count or 0
        if count and self._waited >= self._timing.window:
            if self._came < self._timing.slowest * self._waited:
                raise TooSlowError(f"{self._came} bytes came in {self._waited:.3g} seconds")
            self._waited, self._came = 0.0, 0
        return count

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _Answer(HTTPResponse):
    def __init__(self, timing: Timing, connection: socket.socket, **options: object) -> None:
        super().__init__(connection, **options)  # type: ignore[arg-type]  # as http.client has them
        raw = self.fp.detach()
        self.fp = io.BufferedReader(_Pace(raw, timing), _BUFFER)


def _pool_classes(timing: Timing) -> dict[str, type[HTTPConnectionPool]]:
    """urllib3's own, with answers that are paced."""
    answer = partial(_Answer, timing)

    class Plain(HTTPConnection):
        response_class = answer  # type: ignore[assignment]  # called like the class

    class Secure(HTTPSConnection):
        response_class = answer  # type: ignore[assignment]  # called like the class

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain  # type: ignore[mutable-override]  # as urllib3 does

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure  # type: ignore[mutable-override]  # as urllib3 does

    return {"http": PlainPool, "https": SecurePool}
