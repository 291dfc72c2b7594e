"""The next root and the next `targets`: taken when enough keys have signed them.

Either may wait for signatures of keys that are elsewhere; what is published goes on meanwhile.
"""

from copy import deepcopy
from datetime import datetime
from typing import Generic, NamedTuple

from tuf.api.metadata import Metadata, Root, T, Targets

from holdall.errors import UntrustedError
from holdall.publish.repository.keys import Keys
from holdall.publish.repository.metadata import is_signed, sign, signatures
from holdall.publish.repository.pending import Pending
from holdall.publish.repository.published import Published
from holdall.publish.repository.publishers import unready
from holdall.publish.repository.settings import Settings


class Succeeded(NamedTuple, Generic[T]):
    """A role's next version, if there is one, and sentences about why it waits."""

    role: Metadata[T] | None = None
    notes: tuple[str, ...] = ()


def next_root(
    current: Metadata[Root], pending: Pending, settings: Settings, keys: Keys, now: datetime
) -> Succeeded[Root]:
    """The root that follows: the pending one, or the same for longer."""
    waiting = pending.root
    if waiting is not None and waiting.signed.version > current.signed.version:
        sign_root(waiting, current.signed, keys)
        if root_is_signed(waiting, current.signed):
            return Succeeded(waiting)
        return Succeeded(notes=(f"The new root waits: {lacking(waiting, current.signed)}",))
    if not settings.is_due("root", current.signed.expires, now):
        return Succeeded()
    renewed = Metadata(deepcopy(current.signed))
    renewed.signed.version += 1
    renewed.signed.expires = settings.expires("root", now)
    sign_root(renewed, current.signed, keys)
    if root_is_signed(renewed, current.signed):
        return Succeeded(renewed)
    return Succeeded(notes=(f"{_soon(current)} publish with --root-keys DIR to renew it.",))


def sign_root(root: Metadata[Root], current: Root, keys: Keys) -> None:
    """Add the signatures that keys at hand can give a new root."""
    sign(root, keys, keyids("root", root.signed, current))


def root_is_signed(root: Metadata[Root], current: Root) -> bool:
    """Whether those who answer for the current root and those for the new one have signed it."""
    return is_signed(current, "root", root) and is_signed(root.signed, "root", root)


def lacking(root: Metadata[Root], current: Root) -> str:
    """How far the signatures of a new root are, as a sentence."""
    old, new = signatures(current, "root", root), signatures(root.signed, "root", root)
    return (
        f"it has {old[0]} of {old[1]} signatures by the present root's keys and {new[0]} of"
        f" {new[1]} by its own; add them with `repo key DIR sign --keys FOLDER`."
    )


def keyids(role: str, root: Root, former: Root) -> list[str]:
    """Whose signatures a top role gets: those of its keys, and of the former root's."""
    both = (*root.roles[role].keyids, *former.roles[role].keyids)
    return list(dict.fromkeys(both))


def next_targets(
    published: Published, root: Root, settings: Settings, keys: Keys, now: datetime
) -> Succeeded[Targets]:
    """What follows `targets`: the pending one, or the same for longer.

    Raises UntrustedError where it must be signed by a new root's keys and cannot be.
    """
    current = published.targets
    former = published.root.signed
    must = not is_signed(root, "targets", current)
    waiting = Pending(published.layout).targets
    if waiting is not None and waiting.signed.version > current.signed.version:
        sign(waiting, keys, keyids("targets", root, former))
        if note := _why_waiting(published, root, waiting):
            if must:
                raise UntrustedError(f"The keys of targets change, and it cannot: {note}")
            return Succeeded(notes=(note,))
        return Succeeded(waiting)
    if not must and not settings.is_due("targets", current.signed.expires, now):
        return Succeeded()
    renewed = Metadata(deepcopy(current.signed))
    renewed.signed.version += 1
    renewed.signed.expires = settings.expires("targets", now)
    sign(renewed, keys, keyids("targets", root, former))
    if is_signed(root, "targets", renewed):
        return Succeeded(renewed)
    have, need = signatures(root, "targets", renewed)
    if must:
        raise UntrustedError(
            f"The role targets needs {need} signatures under the new root and has {have}; say where"
            " its keys are with --keys DIR."
        )
    return Succeeded(notes=(f"{_soon(current)} say where they are with --keys DIR.",))


def _why_waiting(published: Published, root: Root, waiting: Metadata[Targets]) -> str:
    have, need = signatures(root, "targets", waiting)
    if have < need:
        return (
            f"The new targets wait: they have {have} of {need} signatures; add them with"
            " `repo key DIR sign --keys FOLDER`."
        )
    return unready(published, waiting.signed)


def _soon(current: Metadata[T]) -> str:
    body = current.signed
    return f"The role {body.type} expires at {body.expires.isoformat()}, and its keys are not here:"
