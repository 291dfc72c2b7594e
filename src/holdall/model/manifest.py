"""The manifest: what an app is, how it starts, what it may touch, what it shows on the host.

Authored as ``holdall.toml``; carried in the release exactly. Reference: docs/reference/manifest.md.
"""

import re
import shlex
from typing import Annotated, Literal

import msgspec

from holdall.errors import UsageError
from holdall.model.ref import Ref, checked_arch, checked_branch, checked_id
from holdall.model.tree import check_path

HOST = "host"
# a bus name's elements; the last may be *, meaning every name below
_BUS_NAME = re.compile(r"[A-Za-z_-][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*(\.\*)?")
_COMMAND = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,63}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+:~-]{0,127}")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_FILESYSTEM = re.compile(
    r"(?P<path>home|host|~(?:/[^:]+)?|/[^:]+|xdg-[a-z]+(?:/[^:]+)?)(?P<mode>:ro|:rw)?"
)

_Text = Annotated[str, msgspec.Meta(max_length=4096)]


class Permissions(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab", omit_defaults=True
):
    """What the sandbox lets through; nothing by default."""

    network: bool = False
    ipc: bool = False
    x11: bool = False
    wayland: bool = False
    pulseaudio: bool = False
    dri: bool = False
    filesystem: tuple[_Text, ...] = ()
    session_bus: tuple[_Text, ...] = ()
    session_bus_own: tuple[_Text, ...] = ()
    system_bus: tuple[_Text, ...] = ()


class Exports(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab", omit_defaults=True
):
    """Files of the app that appear on the host, as paths in the tree.

    `commands` are short command names.
    """

    desktop: tuple[_Text, ...] | None = None
    icons: tuple[_Text, ...] | None = None
    mime: tuple[_Text, ...] | None = None
    metainfo: tuple[_Text, ...] | None = None
    dbus_services: tuple[_Text, ...] | None = None
    commands: tuple[_Text, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """Every exported path, whatever its kind."""
        groups = (self.desktop, self.icons, self.mime, self.metainfo, self.dbus_services)
        return tuple(path for group in groups for path in group or ())


class About(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab", omit_defaults=True
):
    """Words for people; shown, never acted on."""

    name: _Text = ""
    summary: _Text = ""
    license: _Text = ""
    homepage: _Text = ""
    developer: _Text = ""


class Manifest(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab", omit_defaults=True
):
    """Identity, launch, permissions and exports of one version; valid once made."""

    id: str
    version: str
    kind: Literal["app", "runtime"]
    arch: str = ""
    branch: str = "stable"
    runtime: str = HOST
    command: str | tuple[str, ...] = ()
    serial: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    created: str = ""
    environment: dict[str, _Text] = {}
    permissions: Permissions = Permissions()
    exports: Exports = Exports()
    about: About = About()

    def __post_init__(self) -> None:
        _check_identity(self)
        _check_launch(self)
        _check_permissions(self.permissions)
        _check_exports(self)
        for text in (*msgspec.structs.astuple(self.about), self.created):
            _printable(text, "description")

    @property
    def ref(self) -> Ref:
        """The ref this version belongs to; the architecture must have been filled in."""
        return Ref(self.id, checked_arch(self.arch), self.branch)

    @property
    def runtime_ref(self) -> Ref | None:
        """The runtime it runs on, or None for the host's own /usr."""
        return None if self.runtime == HOST else Ref.parse(self.runtime)

    @property
    def argv(self) -> tuple[str, ...]:
        """The command as an argument vector; empty for a runtime."""
        return tuple(shlex.split(self.command)) if isinstance(self.command, str) else self.command


def parse_toml(text: str) -> Manifest:
    """Read ``holdall.toml``; raises UsageError naming the field and what it should be."""
    import tomllib

    try:
        table = tomllib.loads(text)
        return msgspec.convert(table, Manifest)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"holdall.toml is not TOML: {error}.") from error
    except RecursionError as error:
        raise UsageError("holdall.toml is nested too deeply.") from error
    except msgspec.ValidationError as error:
        raise UsageError(f"holdall.toml: {_plain(error)}.") from error


def _plain(error: Exception) -> str:
    return (
        str(error)
        .replace("Object", "the table")
        .replace(" - at `$", " at `")
        .replace("``", "top level")
    )


def _check_identity(manifest: Manifest) -> None:
    checked_id(manifest.id)
    checked_branch(manifest.branch)
    if manifest.arch:
        checked_arch(manifest.arch)
    if not _VERSION.fullmatch(manifest.version):
        raise UsageError(
            f"{manifest.version!r} is not a version: use letters, digits and any of . _ + : ~ -."
        )
    if manifest.runtime != HOST:
        Ref.parse(manifest.runtime)


def _check_launch(manifest: Manifest) -> None:
    try:
        argv = manifest.argv
    except ValueError as error:
        raise UsageError(f"The command {manifest.command!r} has an unclosed quote.") from error
    if manifest.kind == "app" and not argv:
        raise UsageError('An app needs a command: write command = "NAME" in holdall.toml.')
    if manifest.kind == "runtime" and manifest.runtime != HOST:
        raise UsageError("A runtime runs on no other runtime: leave the field runtime out.")
    if argv and (argv[0][:1] in {"", "-"} or ".." in argv[0].split("/")):
        raise UsageError(
            f"The command {argv[0]!r} may not be empty, begin with '-' nor have '..' in it."
        )
    for word in argv:
        _printable(word, "command")
        if word.startswith("@@"):
            raise UsageError(f"The command has {word!r}; tokens that begin with @@ are refused.")
    for name, value in manifest.environment.items():
        if not _VARIABLE.fullmatch(name):
            raise UsageError(f"{name!r} is not the name of an environment variable.")
        _printable(value, f"variable {name}")
        if name == "LD_LIBRARY_PATH" and "" in value.split(":"):
            raise UsageError(
                "LD_LIBRARY_PATH has an empty element, which means the current directory."
            )


def _check_permissions(permissions: Permissions) -> None:
    for entry in permissions.filesystem:
        _printable(entry, "filesystem permission")
        found = _FILESYSTEM.fullmatch(entry)
        if not found or {"..", "."} & set(found["path"].split("/")):
            raise UsageError(
                f"{entry!r} is not a filesystem permission: use home, host, ~/DIR, xdg-NAME or "
                "/DIR, with :ro or :rw."
            )
    for name in (*permissions.session_bus, *permissions.session_bus_own, *permissions.system_bus):
        if not _BUS_NAME.fullmatch(name) or "." not in name or len(name) > 255:
            raise UsageError(f"{name!r} is not a D-Bus name.")


def _check_exports(manifest: Manifest) -> None:
    for path in manifest.exports.paths:
        check_path(path)
        name = path.rpartition("/")[2]
        if not re.match(re.escape(manifest.id) + r"(?![A-Za-z0-9_])", name):
            raise UsageError(
                f"The exported file {path!r} must have a name that begins with {manifest.id}."
            )
    for name in manifest.exports.commands:
        if not _COMMAND.fullmatch(name):
            raise UsageError(f"{name!r} is not a name for a short command.")


def _printable(text: str, what: str) -> None:
    if _UNPRINTABLE.search(text):
        raise UsageError(f"The {what} {text!a} has a control character; such text is refused.")
