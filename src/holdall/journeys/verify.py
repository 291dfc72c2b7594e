"""Checking what is installed against what was signed, and mending it from a bundle."""

from typing import NamedTuple

from holdall.delivery.bundle import BundleSource, Opened
from holdall.errors import CorruptError, HoldallError, NotFoundError
from holdall.forms.tree_check import inspect, mend
from holdall.journeys.arrival import Arrival, arriving
from holdall.journeys.host import Event, Host, Report, silent
from holdall.journeys.recovery import recover
from holdall.model import tree as trees
from holdall.model.ref import RefPattern
from holdall.model.tree import Tree
from holdall.store.catalog import Deployment, writing
from holdall.store.trust_state import publisher_of, read_keyring
from holdall.system.files import write_atomic
from holdall.trust.envelope import open_envelope


class Verified(NamedTuple):
    """One installed version: what is wrong with it, as a sentence for each path.

    `fast` asked the kernel for digests.
    """

    ref: str
    version: str
    release: str
    files: int
    size: int
    faults: tuple[tuple[str, str], ...]
    fast: bool


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
    return [_verify_one(host, item, fast=fast, report=report) for item in chosen]


def _verify_one(host: Host, deployment: Deployment, *, fast: bool, report: Report) -> Verified:
    try:
        tree, version = signed_tree(host, deployment)
    except (HoldallError, OSError) as error:
        return Verified(
            str(deployment.ref), "?", deployment.digest, 0, 0, (("", str(error)),), fast
        )
    total = sum(tree.contents.values())
    done = 0

    def told(size: int) -> None:
        nonlocal done
        done += size
        report(Event(f"Verifying {deployment.ref.id} {version}", done, total))

    faults = inspect(tree, deployment.files, fast=fast, report=told)
    return Verified(
        str(deployment.ref),
        version,
        deployment.digest,
        len(tree.files),
        tree.size,
        tuple(faults),
        fast,
    )


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
    data = deployment.read("tree")
    if trees.tree_digest(data) != signed.release.tree_digest:
        raise CorruptError(f"The tree of {deployment.ref} is not the one its release names.")
    return trees.parse(data), signed.release.manifest.version


class Repaired(NamedTuple):
    """What was mended in one installed version."""

    ref: str
    version: str
    paths: tuple[str, ...]


def repair(
    path: str, host: Host, *, only: tuple[RefPattern, ...] = (), report: Report = silent
) -> list[Repaired]:
    """Mend every installed version of a bundle's ref, taking contents from the bundle.

    Every byte is checked.

    Raises NotFoundError when the ref is not installed, or naming the contents the bundle does not
    have.
    """
    with arriving(path) as arrival, writing(host.layout, wait=host.wait) as writer:
        recover(host, writer, report)
        read_keyring(host.layout).judge(
            arrival.signed, publisher=publisher_of(host.layout, arrival.release.ref.id)
        )
        if only and not any(pattern.matches(arrival.release.ref) for pattern in only):
            raise NotFoundError(f"{path} is a bundle of {arrival.release.ref}, not of {only[0]}.")
        installed = host.catalog.deployments(arrival.release.ref)
        if not installed:
            raise NotFoundError(
                f"{arrival.release.ref} is not installed; `holdall install` installs it."
            )
        opened = arrival.open()
        source = BundleSource(opened, arrival.seekable_fd(), arrival.preamble.head.first_frame)
        mended, missing = [], []
        for item in installed:
            if item.digest == arrival.digest:
                _restore_beside(item.path, arrival, opened)
            tree, version = signed_tree(host, item)
            faults = inspect(tree, item.files, fast=False)
            staged = writer.stage()
            left = mend(tree, item.files, [fault for fault, _ in faults], source, f"{staged}/files")
            missing += left
            fixed = tuple(fault for fault, _ in faults if fault not in left)
            if fixed:
                mended.append(Repaired(str(item.ref), version, fixed))
        recover(host, writer, report)
        if missing:
            raise NotFoundError(
                f"The bundle does not have {len(missing)} contents that are damaged, such as "
                f"{missing[0]}."
            )
        return mended


def _restore_beside(path: str, arrival: Arrival, opened: Opened) -> None:
    """Put the signed files beside the app's own back, where they are not what this bundle says."""
    wanted = {
        "envelope": arrival.preamble.envelope,
        "release": arrival.signed.payload,
        "tree": opened.tree_bytes,
    }
    for name, data in wanted.items():
        if _read_or_nothing(f"{path}/{name}") != data:
            write_atomic(f"{path}/{name}", data)


def _read_or_nothing(path: str) -> bytes:
    """The bytes of a file, none when it is gone."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""
