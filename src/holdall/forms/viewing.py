"""The files of installed versions as folders to read, whatever their form.

A mounted form is seen through a process that holds the mount in a namespace of its own, so the
host's mounts never change and nothing is left behind.
"""

from types import TracebackType
from typing import Self

from holdall.forms.port import Form, Place
from holdall.system.means import Means
from holdall.system.room import Room


class Views:
    """Folders of files, each to be read until this is closed."""

    def __init__(self) -> None:
        self._rooms: dict[str, Room] = {}

    def __enter__(self) -> Self:
        """Closed at the end."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """See `close`."""
        self.close()

    def folder(self, place: Place, form: Form, means: Means) -> str:
        """A folder with a deployment's files, mounted for this process where they have to be.

        Raises UnsupportedError with what would help, CorruptError and ProgramError.
        """
        mount = form.mount(place, means)
        if mount is None:
            return place.files
        if place.files not in self._rooms:
            self._rooms[place.files] = Room(mount, place.files)
        return self._rooms[place.files].folder

    def close(self) -> None:
        """Let go of everything that was mounted; folders given before are gone."""
        for room in self._rooms.values():
            room.close()
        self._rooms.clear()
