"""Checking what is installed against what was signed."""

from collections.abc import Callable
from typing import NamedTuple

from holdall.errors import (
    BusyError,
    CorruptError,
    DeniedError,
    HoldallError,
    NotFoundError,
    UnsupportedError,
)
from holdall.forms.checking import inspect, inspect_contents
from holdall.forms.port import Fault
from holdall.forms.viewing import Views
from holdall.journeys.forming import folder_of, form_of, place_of, source_of
from holdall.journeys.host import Event, Host, Report, silent
from holdall.journeys.installed import installed_tree
from holdall.model.ref import RefPattern
from holdall.model.tree import Tree
from holdall.store.catalog import Deployment
from holdall.store.steady import steadily
from holdall.store.trust_state import publisher_of, read_keyring
from holdall.system.files import in_words
from holdall.trust.envelope import open_envelope


class Verified(NamedTuple):
    """One installed version: what is wrong with it, as a sentence for each path.

    `fast` asked the kernel for digests. `unchecked` is why its files could not be read here, or "".
    """

    ref: str
    version: str
    release: str
    files: int
    size: int
    faults: tuple[tuple[str, str], ...]
    fast: bool
    unchecked: str = ""


def verify(
    host: Host,
    patterns: tuple[RefPattern, ...] = (),
    *,
    every_version: bool = True,
    fast: bool = False,
    report: Report = silent,
) -> list[Verified]:
    """Check every installed version, or those of the apps named.

    That is signature, tree, names, modes and every byte.

    With `fast`, contents are measured by the kernel (fs-verity); a file it holds no digest for is
    read.
    """
    catalog = host.catalog
    refs = [catalog.resolve(pattern) for pattern in patterns] or catalog.refs()
    chosen: list[Deployment] = []
    for ref in refs:
        active = catalog.active(ref)
        chosen += catalog.deployments(ref) if every_version else [active] if active else []
    found = [_verify_steadily(host, item, fast=fast, report=report) for item in chosen]
    return [one for one in found if one is not None]


def _verify_steadily(
    host: Host, deployment: Deployment, *, fast: bool, report: Report
) -> Verified | None:
    """The same for one version whose form may be changed meanwhile; None when it was removed."""
    try:
        return steadily(
            deployment,
            lambda: _verify_one(host, deployment, fast=fast, report=report),
            settled=lambda found: not found.faults and not found.unchecked,
        )
    except NotFoundError:
        return None
    except BusyError as error:
        return _unread(deployment, error, fast=fast)


def _verify_one(host: Host, deployment: Deployment, *, fast: bool, report: Report) -> Verified:
    try:
        tree, version = signed_tree(host, deployment)
    except (HoldallError, OSError) as error:
        return _unread(deployment, error, fast=fast)
    total = sum(tree.contents.values())
    done = 0

    def told(size: int) -> None:
        nonlocal done
        done = min(done + size, total)  # a content may have an inode for each mode
        report(Event(f"Verifying {deployment.ref.id} {version}", done, total))

    unchecked = ""
    try:
        faults = _faults(host, deployment, tree, fast=fast, report=told)
    except (HoldallError, OSError) as error:
        faults, unchecked = _judged(error)
    return Verified(
        str(deployment.ref),
        version,
        deployment.digest,
        len(tree.files),
        tree.size,
        tuple(faults),
        fast,
        unchecked,
    )


def _unread(deployment: Deployment, error: HoldallError | OSError, *, fast: bool) -> Verified:
    """A version of which not even the list of its files can be had."""
    faults, unchecked = _judged(error)
    ref = str(deployment.ref)
    return Verified(ref, "?", deployment.digest, 0, 0, tuple(faults), fast, unchecked)


def _judged(error: HoldallError | OSError) -> tuple[list[Fault], str]:
    """What keeps a version from being read: a fault of its own, or why it is unchecked."""
    if isinstance(error, OSError):
        error = in_words(error, "It cannot be read")
    if isinstance(error, UnsupportedError | DeniedError | BusyError):
        return [], str(error)
    return [("", str(error))], ""


def _faults(
    host: Host, deployment: Deployment, tree: Tree, *, fast: bool, report: Callable[[int], None]
) -> list[Fault]:
    place, form = place_of(host, deployment), form_of(deployment)
    faults = form.inspect(place, tree, fast=fast)
    try:
        with Views() as views:
            if form.TRAITS.contents:
                source = source_of(host, deployment, tree, views)
                return [*faults, *inspect_contents(tree, source, report=report)]
            folder = folder_of(host, deployment, views, suspect=bool(faults))
            return [*faults, *inspect(tree, folder, fast=fast, report=report)]
    except (HoldallError, OSError) as error:
        if not faults or isinstance(error, (CorruptError, NotFoundError)):
            raise
        return faults


def signed_tree(host: Host, deployment: Deployment) -> tuple[Tree, str]:
    """The tree of a deployment, checked from the signature down; and its version.

    Raises CorruptError or UntrustedError.
    """
    from hashlib import sha256

    signed = open_envelope(deployment.read("envelope"))
    if (
        sha256(signed.payload).hexdigest() != deployment.digest
        or deployment.read("release") != signed.payload
    ):
        raise CorruptError(f"The release of {deployment.ref} is not the one its envelope holds.")
    if signed.release.ref != deployment.ref:
        raise CorruptError(f"{deployment.path} holds a release of {signed.release.ref}.")
    if signed.signers:
        read_keyring(host.layout).judge(
            signed, publisher=publisher_of(host.layout, deployment.ref.id)
        )
    return installed_tree(deployment, signed.release), signed.release.manifest.version
