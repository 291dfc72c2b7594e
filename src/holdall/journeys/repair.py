"""Mending what is installed, from a bundle; every byte is checked as when it was installed."""

import os
from typing import NamedTuple

from holdall.errors import CorruptError, HoldallError, NotFoundError, UnsupportedError
from holdall.forms.checking import inspect, inspect_contents, mend
from holdall.forms.folder_source import FolderSource
from holdall.forms.port import Form, Whole
from holdall.forms.viewing import Views
from holdall.journeys.arrival import Arrival, arriving
from holdall.journeys.convert import bring_to
from holdall.journeys.forming import (
    as_it_is,
    decide,
    folder_of,
    form_of,
    place_of,
    source_of,
)
from holdall.journeys.host import Host, Report, silent
from holdall.journeys.installed import installed_tree
from holdall.journeys.launching import launch_files_of
from holdall.journeys.recovery import recover
from holdall.journeys.supply import whole_of
from holdall.journeys.verify import signed_tree
from holdall.model import release as releases
from holdall.model.ref import RefPattern
from holdall.model.tree import Tree
from holdall.store.catalog import RECORD, Deployment, Writer, writing
from holdall.store.contents import ContentSource
from holdall.store.pool import drop_damaged
from holdall.store.several import Several
from holdall.store.trust_state import publisher_of, read_keyring
from holdall.system.files import remove_tree, write_atomic


class Repaired(NamedTuple):
    """What was mended in one installed version."""

    ref: str
    version: str
    paths: tuple[str, ...]


class _Given(NamedTuple):
    """What there is to mend a version with: contents, and the `whole` bundle if that is its own."""

    source: ContentSource
    whole: Whole | None


def repair(
    path: str, host: Host, *, only: tuple[RefPattern, ...] = (), report: Report = silent
) -> list[Repaired]:
    """Mend every installed version of a bundle's ref, taking contents from the bundle.

    Raises NotFoundError when the ref is not installed, or when the bundle lacks a content that is
    damaged; what it has is mended by then.
    """
    with arriving(path) as arrival, writing(host.layout, wait=host.wait) as writer:
        recover(host, writer, report)
        installed = _installed(host, arrival, only)
        opened = arrival.open()
        arrival.seekable_fd()
        source = arrival.source(opened, host.layout.staging)
        given = _Given(source, None)
        own = _Given(source, whole_of(arrival, opened, source))
        mended: list[Repaired] = []
        missing: list[str] = []
        for item in installed:
            fixed = _restore(item, _signed_parts(item, arrival))
            this = own if item.digest == arrival.digest else given
            again, left = _mend(host, writer, item, this)
            missing += left
            if paths := (*fixed, *again):
                mended.append(Repaired(str(item.ref), item.version, paths))
        recover(host, writer, report)
    if missing:
        raise NotFoundError(
            f"The bundle lacks {len(missing)} damaged contents, such as that of {missing[0]};"
            " repair from the bundle of that version too."
        )
    return mended


def _installed(host: Host, arrival: Arrival, only: tuple[RefPattern, ...]) -> list[Deployment]:
    """The versions to mend; the bundle must be one of them, or signed by whom this store trusts."""
    ref = arrival.release.ref
    if only and not any(pattern.matches(ref) for pattern in only):
        raise NotFoundError(f"{arrival.path} is a bundle of {ref}, not of {only[0]}.")
    installed = host.catalog.deployments(ref)
    if not installed:
        raise NotFoundError(f"{ref} is not installed; `holdall install` installs it.")
    if all(item.digest != arrival.digest for item in installed):
        publisher = publisher_of(host.layout, ref.id)
        read_keyring(host.layout).judge(arrival.signed, publisher=publisher)
    return installed


def _mend(
    host: Host, writer: Writer, item: Deployment, given: _Given
) -> tuple[tuple[str, ...], list[str]]:
    """Mend one version's files and launch files; returns what was, and what could not be."""
    tree, _ = signed_tree(host, item)
    form = _form_of(item)
    if form and form.TRAITS.links:
        faults = [path for path, _ in inspect(tree, item.files, fast=False)]
        paths = set(faults)
        damaged = {file.digest for file in tree.files if file.path in paths}
        drop_damaged(host.layout.root, damaged)
        left = mend(tree, item.files, faults, given.source, f"{writer.stage()}/files")
    else:
        faults, left = _lay_down_again(host, writer, item, tree, given)
    release = releases.parse(item.read("release"))
    launch = _restore(item, launch_files_of(host, release, item.digest, tree))
    return (*launch, *(path for path in faults if path not in left)), left


def _lay_down_again(
    host: Host, writer: Writer, item: Deployment, tree: Tree, given: _Given
) -> tuple[list[str], list[str]]:
    """Make a version anew whose files cannot be mended one by one.

    Returns what was faulty, by path or by what holds the files, and the paths that still are.
    """
    form = _form_of(item)
    own: list[ContentSource] = []
    with Views() as views:
        if form is None:
            # no telling where its files are
            paths, decision = {RECORD}, decide(host, item.ref)
        else:
            decision = as_it_is(item)
            paths, own = _faulty(host, item, tree, form, views)
        source = Several([given.source, *own])
        had = source.available(tree.contents)
        left = [file.path for file in tree.files if file.digest not in had]
        if paths and not left:
            bring_to(host, writer, item, decision, silent, source=source, whole=given.whole)
    return sorted(paths), left


def _form_of(item: Deployment) -> Form | None:
    """The form a version lies in, None when its record was spoiled."""
    try:
        return form_of(item)
    except CorruptError:
        return None


def _faulty(
    host: Host, item: Deployment, tree: Tree, form: Form, views: Views
) -> tuple[set[str], list[ContentSource]]:
    """What of a version is faulty, and what still has its contents.

    Raises UnsupportedError where nothing is wrong but that it cannot be read here.
    """
    place = place_of(host, item)
    paths = {path or form.TRAITS.holder for path, _ in form.inspect(place, tree, fast=False)}
    try:
        if form.TRAITS.contents:
            bad = {path for path, _ in inspect_contents(tree, source_of(host, item, tree, views))}
            sound = Tree(tuple(entry for entry in tree.entries if entry.path not in bad))
            return paths | bad, [source_of(host, item, sound, views)]
        if form.TRAITS.seed:
            # without the image over them, which may be what is damaged
            held, folder = form.TRAITS.seed(place, tree)[:2]
        else:
            held, folder = tree, folder_of(host, item, views, suspect=bool(paths))
        bad = {path for path, _ in inspect(held, folder, fast=False)}
    except (HoldallError, OSError) as error:
        if isinstance(error, UnsupportedError) and not paths:
            raise
        return paths | {form.TRAITS.holder}, []
    sound = Tree(tuple(entry for entry in held.entries if entry.path not in bad))
    if form.TRAITS.seed:
        lost = {file.digest for file in held.files if file.path in bad}
        drop_damaged(host.layout.root, lost)
        bad = {file.path for file in tree.files if file.digest in lost}
    return paths | bad, [FolderSource(sound, folder)]


def _signed_parts(item: Deployment, arrival: Arrival) -> dict[str, bytes]:
    """What stands beside a version's files as its bundle has it.

    A tree that was packed here after an increment is as good as the publisher's.
    """
    if item.digest != arrival.digest:
        return {}
    parts = {"envelope": arrival.preamble.envelope, "release": arrival.signed.payload}
    try:
        installed_tree(item, arrival.release)
    except (CorruptError, OSError):
        parts["tree"] = arrival.preamble.tree
    return parts


def _restore(item: Deployment, wanted: dict[str, bytes]) -> tuple[str, ...]:
    """Put files beside the app's own back where they are not as wanted; returns their names."""
    changed = [name for name, data in wanted.items() if _found(item, name) != data]
    for name in changed:
        if os.path.isdir(f"{item.path}/{name}"):
            remove_tree(f"{item.path}/{name}")
        write_atomic(f"{item.path}/{name}", wanted[name])
    return tuple(changed)


def _found(item: Deployment, name: str) -> bytes | None:
    """The bytes of a file beside a version's, None where it is missing or no file at all."""
    try:
        return item.read(name)
    except (CorruptError, FileNotFoundError):
        return None
