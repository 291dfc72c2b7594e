"""What maintainer scripts would have finished: caches and registers, made by the tree's own tools.

The tools run inside bubblewrap, unprivileged and without a network, on a runtime at ``/usr`` (and
an app at ``/app``); they can write to nothing but the tree. Caches that depend on the order of a
folder are given a fixed order, those that depend on its time (fontconfig's) are not made: the same
packages give the same bytes.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from posixpath import join, normpath

from holdall.errors import ProgramError
from holdall.publish.source_folder import Advanced, Noted, Report
from holdall.system.process import find_program, run

_MINIMAL = {
    "etc/passwd": (
        "root:x:0:0:root:/root:/usr/sbin/nologin\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    ),
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": (
        "passwd: files\ngroup: files\nshadow: files\n"
        "hosts: files dns\nservices: files\nprotocols: files\n"
    ),
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "etc/host.conf": "multi on\n",
}
_SCRATCH = "/tmp"  # noqa: S108  # a file system of the sandbox's own
_NEEDED_FOLDERS = ("bin", "sbin", "lib", "lib64", "etc", "share")


@dataclass(frozen=True, slots=True)
class Tree:
    """A runtime being finished at ``/usr``, or an app at ``/app`` on a finished runtime."""

    files: Path
    runtime: Path | None = None

    @property
    def mount(self) -> str:
        """Where the tree being finished is in the sandbox."""
        return "/app" if self.runtime else "/usr"

    def inside(self, path: Path) -> str:
        """The name a tool in the sandbox uses for a path of the tree."""
        return f"{self.mount}/{path.relative_to(self.files)}"

    def tool(self, *patterns: str) -> str | None:
        """The first tool of the runtime that fits a pattern, as named in the sandbox."""
        base = self.runtime or self.files
        for pattern in patterns:
            for path in sorted(base.glob(pattern)):
                return f"/usr/{path.relative_to(base)}"
        return None

    def run(self, *argv: str) -> bytes:
        """Run a tool of the runtime's; its output."""
        usr = self.runtime or self.files
        own = ["--bind", str(self.files), "/app"] if self.runtime else []
        mode = "--ro-bind" if self.runtime else "--bind"
        command = [
            find_program("bwrap", package="bubblewrap"),
            *("--unshare-all", "--die-with-parent", "--new-session", "--clearenv"),
            *(mode, str(usr), "/usr", *own, mode, str(usr / "etc"), "/etc"),
            *("--symlink", "usr/bin", "/bin", "--symlink", "usr/sbin", "/sbin"),
            *("--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"),
            *("--dev", "/dev", "--tmpfs", _SCRATCH, "--dir", "/var/cache/ldconfig"),
            *("--setenv", "PATH", "/usr/bin:/usr/sbin", "--setenv", "HOME", _SCRATCH),
            *("--setenv", "LC_ALL", "C.UTF-8", "--setenv", "SOURCE_DATE_EPOCH", "0"),
            *("--chdir", "/", "--", *argv),
        ]
        return run(command)


def finish(tree: Tree, report: Report) -> None:
    """Do every step that fits the tree; a tool that fails is noted and left behind."""
    if tree.runtime is None:
        for name in _NEEDED_FOLDERS:
            (tree.files / name).mkdir(exist_ok=True)
        _replace_linked_configuration(tree.files)
        _write_minimal(tree.files)
    steps = [step for step in _STEPS if tree.runtime is None or step in _APP_STEPS]
    for count, step in enumerate(steps, 1):
        subject = (step.__doc__ or step.__name__).strip(".")
        try:
            step(tree)
        except ProgramError as error:
            report(Noted(f"{subject}: {error}"))
        report(Advanced("finish", subject, count, len(steps)))


def _write_minimal(files: Path) -> None:
    for name, text in _MINIMAL.items():
        if not os.path.lexists(files / name):
            (files / name).write_text(text)


def _replace_linked_configuration(files: Path) -> None:
    """No entry of /etc is a link: shown one by one, its target would be looked up on the host."""
    for link in sorted(files.joinpath("etc").iterdir()):
        if not link.is_symlink():
            continue
        target = normpath(join("/etc", link.readlink()))
        content = files / target.removeprefix("/usr/")
        link.unlink()
        if target.startswith("/usr/") and content.is_file() and not content.is_symlink():
            link.write_bytes(content.read_bytes())


def _certificates(tree: Tree) -> None:
    """Certificates of authorities."""
    sources = sorted(tree.files.glob("share/ca-certificates/**/*.crt"))
    if not sources:
        return
    folder = tree.files / "etc/ssl/certs"
    folder.mkdir(parents=True, exist_ok=True)
    bundle = b"".join(source.read_bytes().rstrip(b"\n") + b"\n" for source in sources)
    (folder / "ca-certificates.crt").write_bytes(bundle)
    for source in sources:
        link = folder / f"{source.stem}.pem"
        if not os.path.lexists(link):
            link.symlink_to(tree.inside(source))
    if tool := tree.tool("bin/openssl"):
        tree.run(tool, "rehash", "/etc/ssl/certs")


def _libraries(tree: Tree) -> None:
    """Cache of libraries."""
    if tool := tree.tool("sbin/ldconfig"):
        tree.run(tool, "-X")


def _schemas(tree: Tree) -> None:
    """Compiled settings schemas."""
    folder = tree.files / "share/glib-2.0/schemas"
    tool = tree.tool("lib/*/glib-2.0/glib-compile-schemas", "bin/glib-compile-schemas")
    if tool and any(folder.glob("*.gschema.xml")):
        tree.run(tool, tree.inside(folder))


def _mime_types(tree: Tree) -> None:
    """Cache of file types."""
    folder = tree.files / "share/mime"
    if (tool := tree.tool("bin/update-mime-database")) and any(folder.glob("packages/*.xml")):
        tree.run(tool, tree.inside(folder))


def _icons(tree: Tree) -> None:
    """Caches of icons."""
    if not (
        tool := tree.tool(
            "sbin/gtk-update-icon-cache", "bin/gtk-update-icon-cache", "bin/gtk4-update-icon-cache"
        )
    ):
        return
    for index in sorted(tree.files.glob("share/icons/*/index.theme")):
        tree.run(tool, "--force", "--quiet", tree.inside(index.parent))


def _image_loaders(tree: Tree) -> None:
    """Register of image loaders."""
    tool = tree.tool("lib/*/gdk-pixbuf-2.0/gdk-pixbuf-query-loaders")
    for folder in sorted(tree.files.glob("lib/*/gdk-pixbuf-2.0/*/loaders")):
        if tool:
            _register(tree, tool, folder, folder.parent / "loaders.cache")


def _input_methods(tree: Tree) -> None:
    """Register of input methods."""
    for folder in sorted(tree.files.glob("lib/*/gtk-[23].0/*/immodules")):
        if tool := tree.tool(f"lib/*/libgtk*/gtk-query-immodules-{folder.parts[-3][4:]}"):
            _register(tree, tool, folder, folder.parent / "immodules.cache")


def _io_modules(tree: Tree) -> None:
    """Register of input and output modules."""
    tool = tree.tool("lib/*/glib-2.0/gio-querymodules", "bin/gio-querymodules")
    for folder in sorted(tree.files.glob("lib/*/gio/modules")):
        if tool and any(folder.glob("*.so")):
            tree.run(tool, tree.inside(folder))
            _sort_lines(folder / "giomodule.cache")


def _register(tree: Tree, tool: str, folder: Path, cache: Path) -> None:
    modules = [tree.inside(module) for module in sorted(folder.glob("*.so"))]
    if modules:
        cache.write_bytes(tree.run(tool, *modules))


def _sort_lines(path: Path) -> None:
    """The tool writes in the order of the folder, which is another one on every machine."""
    if path.is_file():
        path.write_text("".join(sorted(path.read_text().splitlines(keepends=True))))


_STEPS: tuple[Callable[[Tree], None], ...] = (
    _certificates,
    _libraries,
    _schemas,
    _mime_types,
    _image_loaders,
    _input_methods,
    _io_modules,
    _icons,
)
_APP_STEPS = frozenset({_schemas})
