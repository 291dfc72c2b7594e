"""The files of installed versions as folders to read, whatever their form.

A mounted form is seen through a process that holds the mount in a namespace of its own, so the
host's mounts never change and nothing is left behind. Contents are read without it where they can.
"""

import os
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from holdall.forms import laying, seeding
from holdall.forms.folder_source import FolderSource
from holdall.forms.port import Form, Place
from holdall.model.tree import Tree
from holdall.store.contents import ContentSource
from holdall.system.files import remove_tree
from holdall.system.means import Means
from holdall.system.mounting import Answered
from holdall.system.room import Room


class Views:
    """Folders of files, each to be read until this is closed."""

    def __init__(self) -> None:
        self._rooms: dict[str, Room] = {}
        self._sources = ExitStack()

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

        All is what its own file has, though others share contents of it. Raises
        UnsupportedError with what would help, CorruptError and ProgramError.
        """
        mount = form.mount(place, means)
        if mount is None:
            return place.files
        if isinstance(mount, Answered):
            mount = mount._replace(data="")
        if place.files not in self._rooms:
            self._rooms[place.files] = Room(mount, place.files)
        return self._rooms[place.files].folder

    def source(self, place: Place, form: Form, tree: Tree, means: Means) -> ContentSource:
        """The contents of a tree that a deployment has, checked by whoever takes them.

        Raises as `folder`, and NotFoundError.
        """
        if form.TRAITS.contents:
            return self._sources.enter_context(form.TRAITS.contents(place, tree))
        return FolderSource(tree, self.folder(place, form, means))

    def unpacked(self, place: Place, form: Form, tree: Tree, means: Means, staging: str) -> str:
        """A folder with copies of all files, for whoever needs paths where nothing can be mounted.

        It is made in the folder `staging`, and goes when this is closed. Raises as `source`.
        """
        folder = f"{staging}/{os.urandom(8).hex()}"
        os.makedirs(staging, exist_ok=True)
        self._sources.callback(remove_tree, folder)
        source = self.source(place, form, tree, means)
        laying.lay_down(seeding.plan(tree, ()), source, folder, passing=True)
        return folder

    def close(self) -> None:
        """Let go of everything that was mounted or opened; what was given before is gone."""
        self._sources.close()
        for room in self._rooms.values():
            room.close()
        self._rooms.clear()
