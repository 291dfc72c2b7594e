"""In which form a release is laid down, and reading what lies in whatever form.

Nobody here asks for a form's name, only its traits.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

from holdall.errors import CorruptError, UnsupportedError, UsageError
from holdall.forms.port import Base, Choice, Form, Place
from holdall.forms.table import DEFAULT, form_named
from holdall.forms.viewing import Views
from holdall.journeys import bundling
from holdall.journeys.host import Host
from holdall.journeys.installed import known_tree
from holdall.model.ref import Ref
from holdall.model.tree import Tree
from holdall.store import settings
from holdall.store.catalog import RECORD, Deployment
from holdall.store.contents import ContentSource
from holdall.store.layout import SYSTEM
from holdall.store.record import Record
from holdall.system.files import write_new
from holdall.system.means import Means


class Wanted(NamedTuple):
    """What somebody says about the form of what is installed.

    "" and None leave it to the form the app has, and to the settings.
    """

    form: str = ""
    image: str | None = None
    compress: bool | None = None
    kernel: bool | None = None


ANY_FORM: Final = Wanted()


class Decision(NamedTuple):
    """The form to lay a release down in, and what it is told.

    `reason` is why it is not the one that was wanted, in a few words, or "", and `instead_of` is
    the name of that one.
    """

    form: Form
    choice: Choice
    reason: str = ""
    instead_of: str = ""


def decide(host: Host, ref: Ref, wanted: Wanted = ANY_FORM) -> Decision:
    """The form for `ref`: the wanted one, else that of its active version, else the settings'.

    Raises UsageError for a form there is not, and for what was said that it does not take.
    """
    known = settings.read(host.layout)
    active = host.catalog.active(ref)
    record = _known_record(active) if active else {}
    name = wanted.form or record.get("form") or known.form or DEFAULT
    choice = Choice(known.image, known.compress, pool=known.pool, share=known.share)
    if record.get("form") == name:
        choice = _remembered(record, choice)
    said = {
        name: value
        for name, value in wanted._asdict().items()
        if name in Choice._fields and value is not None
    }
    form = form_named(name)
    if said and not form.TRAITS.images:
        raise UsageError(
            f"{ref.id} gets the form {name}, which keeps no image; options for images go with "
            "--form image or local-image."
        )
    return _or_usual(host, Decision(form, choice._replace(**said)))


def _or_usual(host: Host, decision: Decision) -> Decision:
    """The same, or the usual form where that one cannot be read here, and does not insist."""
    hindrance = decision.form.TRAITS.hindrance
    found = hindrance(means_of(host)) if hindrance else ""
    if not found:
        return decision
    name = decision.form.TRAITS.name
    reason = f"{name} cannot be read here ({found})"
    return Decision(form_named(DEFAULT), decision.choice, reason, name)


def is_as_decided(deployment: Deployment, decision: Decision) -> bool:
    """Whether a deployment lies in a form just as it was decided.

    Or as it was wanted: it is left so where that cannot be read just now.
    """
    record, choice = deployment.record, decision.choice
    chosen = {"kind": choice.image, **choice._asdict()}
    return record["form"] in {decision.form.TRAITS.name, decision.instead_of} and all(
        chosen[name] in {"", value} for name, value in record.items() if name in chosen
    )


def as_it_is(deployment: Deployment) -> Decision:
    """The form a deployment lies in, and what it was told."""
    record, usual = deployment.record, Choice()
    shared = usual._replace(
        pool=record.get("pool", usual.pool), share=record.get("share", usual.share)
    )
    return Decision(form_of(deployment), _remembered(record, shared))


def _known_record(deployment: Deployment) -> Record:
    """The record of a version, empty when it was spoiled."""
    try:
        return deployment.record
    except (CorruptError, OSError):
        return {}


def _remembered(record: Record, otherwise: Choice) -> Choice:
    """The choice of an image that a record tells of; how contents are shared is not the app's."""
    return otherwise._replace(
        image=record.get("kind", otherwise.image),
        compress=record.get("compress", otherwise.compress),
        kernel=record.get("kernel", otherwise.kernel),
    )


def form_of(deployment: Deployment) -> Form:
    """The form a deployment lies in; raises CorruptError when its record was spoiled."""
    return form_named(deployment.record["form"])


def place_of(host: Host, deployment: Deployment) -> Place:
    """Where a deployment lies."""
    return Place(host.layout.root, deployment.path, deployment.record, bundling)


def folder_of(host: Host, deployment: Deployment, views: Views, *, suspect: bool = False) -> str:
    """A folder with a deployment's files, mounted for this process where that is needed.

    What is `suspect`, as it is not what was made here, is never given to the kernel to parse.
    Raises UnsupportedError where that cannot be done.
    """
    means = _means(host, suspect=suspect)
    return views.folder(place_of(host, deployment), form_of(deployment), means)


def source_of(host: Host, deployment: Deployment, tree: Tree, views: Views) -> ContentSource:
    """The contents of a tree that a deployment has; raises as `Views.source`."""
    return views.source(place_of(host, deployment), form_of(deployment), tree, means_of(host))


def base_of(host: Host, ref: Ref, form: Form) -> Base | None:
    """The active version of `ref` if it lies in the same form and was not spoiled.

    For a form that keeps a bundle also one with files of its own.
    """
    active = host.catalog.active(ref)
    if active is None or (tree := known_tree(active)) is None:
        return None
    with suppress(CorruptError):
        own = form.TRAITS.whole and form_of(active).TRAITS.links
        if own or active.form == form.TRAITS.name:
            return Base(place_of(host, active), tree)
    return None


def plain_folder(host: Host, deployment: Deployment) -> str:
    """The folder with a deployment's files, for any program and for good.

    Raises UnsupportedError where the form has none.
    """
    form = form_of(deployment)
    if not form.TRAITS.folder:
        raise UnsupportedError(
            f"{deployment.ref} is installed as {form.TRAITS.name}, which has no folder of its own;"
            f" `holdall mount {deployment.ref.id} DIR` shows its files in one."
        )
    form.mount(place_of(host, deployment), means_of(host))
    return deployment.files


def means_of(host: Host) -> Means:
    """What this machine has for a store."""
    return Means(host.layout.root)


def warnings(host: Host, ref: Ref, decision: Decision, record: Mapping[str, Any]) -> Iterator[str]:
    """What whoever asked for a form must know of how it was done."""
    traits, share = decision.form.TRAITS, decision.choice.share
    if decision.reason:
        yield f"{ref.id} is laid down as {traits.name}: {decision.reason}."
    if record.get("share", share) != share:
        yield f"This file system has no reflinks; files of {ref.id} are hard links."
    if traits.privileged and host.layout.root == SYSTEM:
        yield f"As {traits.name} only root can run {ref.id}; other users of this store cannot."


def _means(host: Host, *, suspect: bool) -> Means:
    means = means_of(host)
    if suspect:
        means.trust_no_image()
    return means


def file_size(form: Form, folder: str) -> int:
    """The size of the one file of a deployment's folder that has all contents; 0 where none has."""
    paths = [f"{folder}/{name}" for name in form.TRAITS.single]
    return sum(os.stat(path).st_size for path in paths if os.path.exists(path))


def keep_record(decision: Decision, staged: str, record: dict[str, Any]) -> Place:
    """Write down how a staged release lies."""
    table = {"form": decision.form.TRAITS.name, **record}
    write_new(f"{staged}/{RECORD}", json.dumps(table, sort_keys=True).encode())
    return Place(os.path.dirname(os.path.dirname(staged)), staged, table, bundling)
