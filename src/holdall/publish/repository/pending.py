"""What waits for the next publication: offers that changed, and roles that gather signatures.

Each is a file of its own below the folder that is not handed out, and stays until it is published.
"""

import os
from contextlib import suppress

from tuf.api.metadata import Metadata, Root, T, Targets

from holdall.errors import CorruptError
from holdall.model import offer as offers
from holdall.model.offer import Offer
from holdall.model.ref import checked_id
from holdall.publish.repository.layout import Layout
from holdall.publish.repository.metadata import encode, read
from holdall.system.files import each_child, read_regular, write_atomic

_SUFFIX = ".json"


class Pending:
    """The files below one repository's folder of pending changes."""

    def __init__(self, layout: Layout) -> None:
        self._apps = f"{layout.pending}/apps"
        self._roles = f"{layout.pending}/roles"

    def app_ids(self) -> list[str]:
        """The apps whose offers changed, sorted."""
        names = each_child(self._apps)
        return [checked_id(name.removesuffix(_SUFFIX)) for name in names if name.endswith(_SUFFIX)]

    def offer(self, app_id: str) -> Offer | None:
        """What will be offered of an app; None where nothing changed."""
        try:
            data = read_regular(f"{self._apps}/{app_id}{_SUFFIX}", limit=offers.MAX_BYTES)
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise CorruptError(f"The pending offer of {app_id} is no regular file.") from error
        return offers.parse(data, app_id)

    def put_offer(self, offer: Offer) -> None:
        """Have an offer published; one without releases takes the app out."""
        path = f"{self._apps}/{offer.id}{_SUFFIX}"
        write_atomic(path, offers.encode(offer), durable=True)

    def drop_offer(self, app_id: str) -> None:
        """Forget a change, which was published."""
        with suppress(FileNotFoundError):
            os.unlink(f"{self._apps}/{app_id}{_SUFFIX}")

    @property
    def root(self) -> Metadata[Root] | None:
        """The next root, with the signatures it has so far."""
        return self._role("root", Root)

    @property
    def targets(self) -> Metadata[Targets] | None:
        """The next version of targets, with the signatures it has so far."""
        return self._role("targets", Targets)

    def put_role(self, name: str, metadata: Metadata[T]) -> None:
        """Keep a role that is to be published."""
        write_atomic(f"{self._roles}/{name}{_SUFFIX}", encode(metadata), durable=True)

    def drop_role(self, name: str) -> None:
        """Forget a role, which was published."""
        with suppress(FileNotFoundError):
            os.unlink(f"{self._roles}/{name}{_SUFFIX}")

    def _role(self, name: str, kind: type[T]) -> Metadata[T] | None:
        path = f"{self._roles}/{name}{_SUFFIX}"
        return read(path, kind) if os.path.exists(path) else None
