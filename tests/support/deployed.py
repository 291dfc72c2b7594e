"""A deployment as the store would have made it, by hand: for tests of the layer that starts it."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from holdall.desktop.launcher import compile_stub, launch_files
from holdall.desktop.sandbox import Place
from holdall.model.digest import digest_of
from holdall.model.manifest import Manifest
from holdall.model.tree import Directory, Entry, File, Tree

APP = "org.example.Editor"


@dataclass(frozen=True, slots=True)
class Deployed:
    """An installed and active release in a store."""

    store: Path
    path: Path
    stub: Path

    @property
    def launch(self) -> str:
        """The launch file as text."""
        return (self.path / "launch").read_text(errors="surrogateescape")


def app(command: str | tuple[str, ...] = "sh", **fields: object) -> dict[str, object]:
    """The fields of an app's manifest, on the host's own /usr unless told otherwise."""
    return {
        "id": APP,
        "version": "1.0",
        "kind": "app",
        "arch": "x86_64",
        "command": command,
    } | fields


def tree_of(files: Mapping[str, bytes]) -> Tree:
    """The tree of `files`, all of them executable."""
    folders = {str(parent) for path in files for parent in Path(path).parents} - {"."}
    entries: list[Entry] = [Directory(path) for path in folders]
    entries += [
        File(path, digest_of(data), len(data), executable=True) for path, data in files.items()
    ]
    return Tree(tuple(sorted(entries, key=lambda entry: entry.path)))


def deploy(
    store: Path,
    manifest: Manifest,
    files: Mapping[str, bytes] = {},
    *,
    release: str = "a",
    folders: Iterable[str] = (),
    data: Path | None = None,
) -> Deployed:
    """Install by hand: files, lease, launch files, the active link and the stub."""
    path = store / f"deployments/{manifest.ref}/{release * 64}"
    for folder in ("files", *(f"files/{one}" for one in folders)):
        (path / folder).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (path / "files" / name).parent.mkdir(parents=True, exist_ok=True)
        (path / "files" / name).write_bytes(content)
        (path / "files" / name).chmod(0o755)
    (path / "lease").touch()
    (path / "release").write_text("{}")
    place = Place(str(store), str(path), None if data is None else str(data))
    made = launch_files(
        manifest, tree_of({**files, **{f"{one}/.keep": b"" for one in folders}}), place
    )
    for name, content in made.items():
        (path / name).write_bytes(content)
    link = store / f"active/{manifest.ref}"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(os.path.relpath(path, link.parent))
    stub = store / f"run/{manifest.ref}"
    stub.parent.mkdir(parents=True, exist_ok=True)
    stub.write_bytes(compile_stub(manifest.ref, str(store)))
    stub.chmod(0o755)
    return Deployed(store, path, stub)
