"""What a remote may be believed: the offers and the catalogue its TUF metadata vouch for.

python-tuf does the client's workflow, over our transport and within the limits of
docs/reference/formats/repository.md; here its errors become sentences. Importing this costs.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec
from tuf.api import exceptions as failures
from tuf.api.metadata import TargetFile
from tuf.ngclient.config import UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.updater import Updater

from holdall.delivery.remote.transport import Transport
from holdall.delivery.zstandard import decompress_up_to
from holdall.errors import CorruptError, NotFoundError, UntrustedError
from holdall.model import catalogue as catalogues
from holdall.model import offer as offers
from holdall.model.catalogue import Catalogue, Entry, Segment
from holdall.model.offer import Offer
from holdall.store.remotes import Remote
from holdall.system.files import each_child, read_regular, write_atomic

MAX_ROOT = 2**16
_MAX_ROLE = 2_000_000
_MAX_STORED = 64 * 2**20
_LIMITS = UpdaterConfig(
    max_root_rotations=256,
    max_delegations=16,
    root_max_length=MAX_ROOT,
    timestamp_max_length=2**14,
    snapshot_max_length=_MAX_ROLE,
    targets_max_length=1_000_000,
)
_HASH = "sha256"
_ROLES = ("root", "timestamp", "snapshot")
_TEMPORARY = "tmp"  # how the names begin of what python-tuf has not finished


class Trusted:
    """What a remote says, asked over `transport` and kept in its folder; for the lock's holder.

    `root` is the first trusted root. Raises UntrustedError, CorruptError and NetworkError, as do
    all methods; what was there before stays then, and the next try goes on from it.
    """

    def __init__(self, remote: Remote, transport: Transport, root: bytes) -> None:
        self._remote = remote
        self._transport = transport
        self._fetcher = _Fetcher(transport)
        os.makedirs(remote.metadata, exist_ok=True)
        for name in each_child(remote.metadata, lambda name: name.startswith(_TEMPORARY)):
            os.unlink(f"{remote.metadata}/{name}")
        with self._in_words():
            self._updater = Updater(
                remote.metadata,
                "metadata/",
                fetcher=self._fetcher,
                config=_LIMITS,
                bootstrap=root,
            )

    def refresh(self) -> None:
        """Ask what is new; two small requests where nothing is."""
        with self._in_words():
            self._updater.refresh()
        self._prune()

    @property
    def expires(self) -> float:
        """Until when what was said holds, in seconds since the epoch."""
        return min(_expiry(self._kept(role)).timestamp() for role in _ROLES)

    @property
    def root_version(self) -> int:
        """The version of the newest root."""
        return int(self._kept("root")["version"])

    def offer(self, app_id: str) -> Offer | None:
        """What is offered of an app; None for nothing."""
        name = offers.target_name(app_id)
        path = f"{self._remote.offers}/{sha256(app_id.encode()).hexdigest()}.json"
        data = self._target(name, path, offers.MAX_BYTES)
        return None if data is None else offers.parse(data, app_id)

    def catalogue(self, *, anew: bool = False) -> None:
        """Bring what is kept of the catalogue up to date, or put it together `anew`."""
        folder = self._remote.catalogue
        before = _read(f"{folder}/catalogue.json", catalogues.MAX_BYTES)
        data = self._target(catalogues.TARGET, f"{folder}/new.json", catalogues.MAX_BYTES)
        new = Catalogue() if data is None else catalogues.parse(data)
        encoded = catalogues.encode(new)
        if before == encoded and not anew and os.path.exists(f"{folder}/entries"):
            return
        if sum(segment.size for segment in new.segments) > _MAX_STORED:
            raise CorruptError(f"The catalogue of {self._remote.name} is longer than it may be.")
        parts = [self._segment(segment) for segment in new.segments]
        write_entries(self._remote, catalogues.merged(parts).values())
        write_atomic(f"{folder}/catalogue.json", encoded)
        wanted = {f"{segment.sha256}.zst" for segment in new.segments}
        for name in each_child(folder, lambda name: name.endswith(".zst") and name not in wanted):
            os.unlink(f"{folder}/{name}")

    def _segment(self, segment: Segment) -> list[Entry]:
        path = f"{self._remote.catalogue}/{segment.sha256}.zst"
        stored = _read(path, segment.size)
        if stored is None or sha256(stored).hexdigest() != segment.sha256:
            stored = self._transport.read(segment.name, segment.size)
            if len(stored) != segment.size or sha256(stored).hexdigest() != segment.sha256:
                raise CorruptError(
                    f"The remote {self._remote.name} sends another {segment.name} than it promised."
                )
            write_atomic(path, stored)
        return catalogues.parse_entries(decompress_up_to(stored, catalogues.MAX_SEGMENT))

    def _target(self, name: str, path: str, limit: int) -> bytes | None:
        """The bytes of a target, kept at `path`; None where nobody who may has one."""
        with self._in_words():
            info = self._updater.get_targetinfo(name)
            if info is None:
                with suppress(FileNotFoundError):
                    os.unlink(path)
                return None
            if info.length > limit or _HASH not in info.hashes:
                raise CorruptError(
                    f"The remote {self._remote.name} has a {name} longer than the {limit} bytes "
                    "allowed, or without its SHA-256."
                )
            kept = _read(path, limit)
            if kept is not None and _is(info, kept):
                return kept
            folder, _, last = name.rpartition("/")
            where = f"targets/{folder}/" if folder else "targets/"
            data = self._fetcher.download_bytes(f"{where}{info.hashes[_HASH]}.{last}", info.length)
            info.verify_length_and_hashes(data)
        write_atomic(path, data)
        return data

    def _kept(self, role: str) -> dict[str, Any]:
        """What is signed of a role, as python-tuf keeps it: it was checked."""
        path = f"{self._remote.metadata}/{role}.json"
        try:
            with open(path, "rb") as file:
                return dict(json.loads(file.read())["signed"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CorruptError(
                f"{path} was changed; remove it, and what it said is asked for again."
            ) from error

    def _prune(self) -> None:
        """Remove roles that are not in the snapshot any more."""
        named = {f"{role}.json" for role in _ROLES} | self._kept("snapshot")["meta"].keys()
        folder = self._remote.metadata
        for name in each_child(folder, lambda name: name.endswith(".json") and name not in named):
            os.unlink(f"{folder}/{name}")

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        """Turn python-tuf's errors into ours."""
        remote = self._remote.name
        try:
            yield
        except failures.ExpiredMetadataError as error:
            raise UntrustedError(self._stale(str(error))) from error
        except failures.BadVersionNumberError as error:
            raise UntrustedError(
                f"The remote {remote} says something older than it said before ({_told(error)}): it"
                " was set back, or somebody replays what it said once; nothing of it is used."
            ) from error
        except failures.UnsignedMetadataError as error:
            raise UntrustedError(
                f"What the remote {remote} says is not signed by enough of the keys that may "
                f"({_told(error)}); nothing of it is used."
            ) from error
        except failures.LengthOrHashMismatchError as error:
            raise CorruptError(
                f"The remote {remote} sends files that do not belong together ({_told(error)}); try"
                " again later."
            ) from error
        except failures.DownloadHTTPError as error:
            raise NotFoundError(
                f"What the remote {remote} should have is not there: {_told(error)}."
            ) from error
        except (failures.RepositoryError, failures.DownloadError, ValueError) as error:
            raise CorruptError(
                f"What the remote {remote} says cannot be read ({_told(error)})."
            ) from error

    def _stale(self, said: str) -> str:
        """The sentence for metadata that are over; `said` begins with the role's name."""
        role = next((word for word in _ROLES if word in said), "")
        since = ""
        with suppress(CorruptError, KeyError, ValueError):
            signed = self._fetcher.signed.get(role) or self._kept(role)
            since = f" since {_expiry(signed):%Y-%m-%d}"
        return (
            f"The remote {self._remote.name} says nothing new{since}, when its "
            f"{role or 'metadata'} expired: it is out of date, or held back (freeze); nothing of it"
            " is used, so check the clock, and ask whoever runs it."
        )


class _Fetcher(FetcherInterface):
    """python-tuf's files through our transport, whose errors pass as they are."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.signed: dict[str, dict[str, Any]] = {}

    def _fetch(self, url: str) -> Iterator[bytes]:
        yield self._transport.read(url, _MAX_ROLE)

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """A file of the repository; raises DownloadHTTPError where there is none."""
        try:
            data = self._transport.read(url, max_length)
        except NotFoundError as error:
            said = str(error)
            raise failures.DownloadHTTPError(said[:1].lower() + said[1:], 404) from error
        if max_length <= _MAX_ROLE:
            with suppress(ValueError, KeyError, TypeError, RecursionError):
                role = url.rpartition("/")[2].removesuffix(".json").rpartition(".")[2]
                if role in _ROLES:
                    self.signed[role] = dict(json.loads(data)["signed"])
        return data


def fetch_root(transport: Transport, fingerprint: str) -> bytes:
    """A repository's first root; raises UntrustedError unless its SHA-256 is `fingerprint`."""
    try:
        root = transport.read("root.json", MAX_ROOT)
    except NotFoundError as error:
        raise NotFoundError(
            f"There is no repository at {transport.address}: it has no root.json."
        ) from error
    found = sha256(root).hexdigest()
    if found != fingerprint:
        raise UntrustedError(
            f"The root of {transport.address} has the fingerprint {found}, not the one you trust."
        )
    return root


def write_entries(remote: Remote, entries: Iterable[Entry]) -> None:
    """Keep all that can be searched in one file that is read fast."""
    kept = sorted((entry for entry in entries if not entry.gone), key=lambda entry: entry.id)
    write_atomic(f"{remote.catalogue}/entries", msgspec.msgpack.encode(kept))


def _read(path: str, limit: int) -> bytes | None:
    try:
        return read_regular(path, limit=limit)
    except (OSError, ValueError):
        return None


def _is(info: TargetFile, data: bytes) -> bool:
    try:
        info.verify_length_and_hashes(data)
    except failures.LengthOrHashMismatchError:
        return False
    return True


def _expiry(signed: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(str(signed["expires"]))


def _told(error: Exception) -> str:
    """What python-tuf says, as part of a sentence."""
    text = str(error).rstrip(".") or type(error).__name__
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text[:200])
