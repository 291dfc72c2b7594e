"""The source folder an importer makes: ``holdall.toml`` beside ``files/``, whole or not there.

Shared by the importers; must not know where the files came from.
"""

import errno
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from holdall.errors import UsageError
from holdall.model.manifest import Manifest, Permissions

FLAGS = ("network", "ipc", "x11", "wayland", "pulseaudio", "dri")
LISTS = ("filesystem", "session-bus", "session-bus-own", "system-bus")


@dataclass(frozen=True, slots=True)
class Advanced:
    """One unit of a counted step is done; `total` is exact, the same in every event of a step."""

    step: str
    subject: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Noted:
    """Something the publisher should know; one sentence."""

    text: str


Event = Advanced | Noted
Report = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """The report of a caller who does not want one."""


@contextmanager
def new_source_folder(target: Path) -> Iterator[Path]:
    """A folder to fill; it becomes `target` when the block ends well and vanishes otherwise.

    Raises UsageError when `target` is anything but absent or an empty folder.
    """
    check_target(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as beside:
        draft = Path(beside, "source")
        (draft / "files").mkdir(parents=True)
        yield draft
        try:
            draft.rename(target)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
                raise
            raise UsageError(f"{target} was filled by somebody else in the meantime.") from error


def check_target(target: Path) -> None:
    """Refuse a target that holds something already."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise UsageError(f"{target} is not a folder: name one that is new or empty.")
    if target.is_dir() and any(target.iterdir()):
        raise UsageError(f"{target} is not empty: name a folder that is new or empty.")


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest` as ``holdall.toml``."""
    folder.joinpath("holdall.toml").write_text(manifest_toml(manifest), encoding="utf-8")


def manifest_toml(manifest: Manifest) -> str:
    """The manifest as people write it: plain fields, then tables, nothing that is a default."""
    fields: dict[str, object] = msgspec.to_builtins(manifest)
    tables = {name: value for name, value in fields.items() if isinstance(value, Mapping)}
    lines = [f"{name} = {_toml(value)}" for name, value in fields.items() if name not in tables]
    for name, table in tables.items():
        if not table:
            continue
        lines += [
            "",
            f"[{name}]",
            *(f"{_key(key)} = {_toml(value)}" for key, value in table.items()),
        ]
    return "\n".join(lines) + "\n"


def permissions_with(granted: Permissions, wanted: tuple[str, ...]) -> Permissions:
    """`granted` and what is asked for: ``network``, ``no-x11``, ``filesystem=home:ro``."""
    fields: dict[str, bool | tuple[str, ...]] = {}
    for word in wanted:
        name, _, value = word.partition("=")
        field = name.replace("-", "_")
        if name in LISTS and value:
            so_far = fields.get(field, getattr(granted, field))
            fields[field] = (*so_far, value)
        elif name in FLAGS and not value:
            fields[field] = True
        elif name.removeprefix("no-") in FLAGS and not value:
            fields[name.removeprefix("no-")] = False
        else:
            flags, lists = ", ".join(FLAGS), ", ".join(f"{each}=VALUE" for each in LISTS)
            raise UsageError(f"{word!r} is not a permission: use one of {flags}, or {lists}.")
    return msgspec.structs.replace(granted, **fields)


def printable(text: str) -> str:
    """`text` as one line without characters that a manifest refuses."""
    kept = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(kept.split())[:1000]


def _key(name: str) -> str:
    return (
        name if name.replace("-", "").replace("_", "").isalnum() and name.isascii() else _toml(name)
    )


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
