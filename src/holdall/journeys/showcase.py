"""What a published bundle has to show of its app: icon, metainfo, menu entry; kept by release.

Of a bundle, only the frames with these files are read, each checked as ever.
"""

import os
from collections.abc import Collection, Iterator
from typing import NamedTuple

import msgspec

from holdall.desktop import entries
from holdall.errors import CorruptError, HoldallError, UsageError
from holdall.journeys.arrival import Arrival, arriving
from holdall.journeys.host import Event, Report
from holdall.model.digest import digest_of
from holdall.model.manifest import Manifest
from holdall.model.tree import File
from holdall.publish.site import icons, metainfo, plain_text
from holdall.publish.site.app import Extras
from holdall.publish.site.icons import Icon
from holdall.publish.site.metainfo import Metainfo
from holdall.store.contents import ContentSource
from holdall.system.files import each_child, read_regular, write_atomic

_LIMIT = 16 * 2**20
_TRIED = 3  # so many icons are looked at


class Shelf:
    """Extras of releases, in files below `folder`."""

    def __init__(self, folder: str, report: Report) -> None:
        self._folder = folder
        self._report = report

    def extras(self, release: str, bundle: str) -> Extras:
        """Those of a release, from the shelf or from its bundle.

        What cannot be shown is told of and left out.
        """
        path = self._path(release)
        try:
            return msgspec.msgpack.decode(read_regular(path, limit=_LIMIT), type=Extras)
        except (OSError, ValueError, msgspec.MsgspecError):
            pass
        try:
            made = self._read(release, bundle)
        except HoldallError as error:
            self._warn(error)
            return Extras()
        write_atomic(path, msgspec.msgpack.encode(made))
        return made

    def keep(self, releases: Collection[str]) -> None:
        """Forget all others."""
        for folder in each_child(self._folder):
            for name in each_child(f"{self._folder}/{folder}"):
                if name not in releases:
                    os.unlink(f"{self._folder}/{folder}/{name}")

    def _path(self, release: str) -> str:
        return f"{self._folder}/{release[:2]}/{release}"

    def _warn(self, error: HoldallError) -> None:
        self._report(Event(f"WARNING: {error}", loud=True))

    def _read(self, release: str, bundle: str) -> Extras:
        with arriving(bundle) as arrival:
            if arrival.digest != release:
                raise CorruptError(f"The bundle {bundle} is not of the release {release}.")
            manifest = arrival.release.manifest
            files = _files(arrival, _Wanted.of(manifest))
        words = self._metainfo(manifest, files)
        entry = self._entry(manifest, files)
        return Extras(
            metainfo=words or entry.words,
            icon=self._icon(manifest, files),
            desktop=entry.name,
            categories=entry.categories,
            keywords=entry.keywords,
            command=_command(manifest),
        )

    def _metainfo(self, manifest: Manifest, files: dict[str, bytes]) -> Metainfo | None:
        for path in manifest.exports.metainfo or ():
            if path in files:
                try:
                    return metainfo.read(files[path], f"{path} of {manifest.id}")
                except CorruptError as error:
                    self._warn(error)
        return None

    def _icon(self, manifest: Manifest, files: dict[str, bytes]) -> Icon | None:
        for path in icons.candidates(manifest.exports.icons or (), manifest.id):
            if path in files:
                try:
                    return icons.icon(path, files[path])
                except CorruptError as error:
                    self._warn(error)
        return None

    def _entry(self, manifest: Manifest, files: dict[str, bytes]) -> "_Entry":
        for path in _desktop_files(manifest):
            if path in files:
                try:
                    return _entry(path, files[path])
                except UsageError as error:
                    self._warn(error)
        return _Entry()


def _command(manifest: Manifest) -> str:
    names = (*manifest.exports.commands, *(word.rpartition("/")[2] for word in manifest.argv[:1]))
    return names[0] if names else ""


class _Wanted(NamedTuple):
    """The paths of files to read."""

    paths: tuple[str, ...]

    @classmethod
    def of(cls, manifest: Manifest) -> "_Wanted":
        pictures = icons.candidates(manifest.exports.icons or (), manifest.id)[:_TRIED]
        about = (manifest.exports.metainfo or ())[:1]
        return cls((*pictures, *about, *_desktop_files(manifest)[:1]))


class _Entry(NamedTuple):
    """A desktop file's name and words."""

    name: str = ""
    words: Metainfo | None = None
    categories: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()


def _desktop_files(manifest: Manifest) -> list[str]:
    """The app's own first."""
    own = f"/{manifest.id}.desktop"
    return sorted(manifest.exports.desktop or (), key=lambda path: (not path.endswith(own), path))


def _entry(path: str, data: bytes) -> _Entry:
    keys = entries.parse(data, path).groups.get("Desktop Entry", {})

    def text(key: str, limit: int) -> str:
        return plain_text.line(entries.unescaped(keys.get(key, ""), path), limit)

    def words(key: str) -> tuple[str, ...]:
        listed = (plain_text.line(word, 60) for word in keys.get(key, "").split(";"))
        return tuple(dict.fromkeys(word for word in listed if word))[:40]

    name = text("Name", metainfo.MAX_NAME)
    summary = text("Comment", metainfo.MAX_SUMMARY) or text("GenericName", metainfo.MAX_SUMMARY)
    said = Metainfo(names={"": name} if name else {}, summaries={"": summary} if summary else {})
    return _Entry(path.rpartition("/")[2], said, words("Categories"), words("Keywords"))


def _files(arrival: Arrival, wanted: _Wanted) -> dict[str, bytes]:
    """The wanted files' bytes by path; those that are too large are left out."""
    opened = arrival.open()
    files = {
        entry.path: entry
        for entry in opened.tree.entries
        if isinstance(entry, File) and entry.path in wanted.paths and entry.size <= icons.MAX_BYTES
    }
    contents = {file.digest: b"" for file in files.values()}
    arrival.seekable_fd()
    source = arrival.source(opened)
    contents |= dict(_contents(source, contents))
    return {path: contents[file.digest] for path, file in files.items()}


def _contents(source: ContentSource, wanted: Collection[bytes]) -> Iterator[tuple[bytes, bytes]]:
    for batch in source.batches(wanted):
        if batch.count:
            for digest, pieces in source.produce(batch.number, wanted):
                data = b"".join(pieces)
                if digest_of(data) != digest:
                    raise CorruptError("A file in a bundle is not what its publisher signed.")
                yield digest, data
