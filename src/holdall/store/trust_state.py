"""What a store remembers about trust.

Its keyring, and for each ref the highest release accepted and who signed it.

The floor outlives the app: removing an app never makes an older release acceptable again.
"""

import json
from typing import NamedTuple

from holdall.errors import CorruptError
from holdall.model.ref import Ref
from holdall.model.release import Order, order_of
from holdall.store.layout import Layout
from holdall.system.files import each_child, write_atomic
from holdall.trust import keyring
from holdall.trust.keyring import Keyring


class Floor(NamedTuple):
    """The highest accepted release of a ref, and who signed it.

    `publisher` is the fingerprint of the key, "" for an unsigned release.
    """

    serial: int
    version: str
    publisher: str

    @property
    def order(self) -> Order:
        """Where it stands among the releases of its ref."""
        return order_of(self.serial, self.version)


def read_keyring(layout: Layout) -> Keyring:
    """The store's keyring; a store without one trusts nobody."""
    try:
        with open(layout.keyring, "rb") as file:
            return keyring.parse(file.read())
    except FileNotFoundError:
        return Keyring()


def write_keyring(layout: Layout, value: Keyring) -> None:
    """Keep the keyring."""
    write_atomic(layout.keyring, keyring.encode(value), durable=True)


def read_floor(layout: Layout, ref: Ref) -> Floor | None:
    """The floor of `ref`, or None for one never accepted.

    Raises CorruptError rather than forget.
    """
    try:
        with open(layout.floor(ref), "rb") as file:
            table = json.loads(file.read())
        return Floor(int(table["serial"]), str(table["version"]), str(table["publisher"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptError(
            f"{layout.floor(ref)} cannot be read; without it older releases of {ref} would pass."
        ) from error


def write_floor(layout: Layout, ref: Ref, floor: Floor) -> None:
    """Keep a floor, whole also after a power loss: a torn one keeps everything out."""
    data = json.dumps(floor._asdict(), sort_keys=True).encode() + b"\n"
    write_atomic(layout.floor(ref), data, whole=True)


def publisher_of(layout: Layout, app_id: str) -> str:
    """The fingerprint that signed any ref of an app before, or "" when the app is new here."""
    folder = f"{layout.root}/state/floors/{app_id}"
    for arch in each_child(folder):
        for branch in each_child(f"{folder}/{arch}"):
            floor = read_floor(layout, Ref(app_id, arch, branch))
            if floor and floor.publisher:
                return floor.publisher
    return ""
