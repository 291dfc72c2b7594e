"""Apps and runtimes made from Debian packages, without root and without maintainer scripts.

A runtime is the merged ``/usr`` of a closure of packages. An app is what its closure has beyond a
runtime, moved to ``/app``. Must not know what becomes of the source folder.
"""

import os
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from holdall.model.manifest import Manifest
from holdall.publish.debian_apt import Package, private_apt
from holdall.publish.debian_finish import Tree, finish
from holdall.publish.debian_manifest import app_manifest, runtime_manifest
from holdall.publish.debian_plan import PACKAGES_FILE, DebPlan, DebRequest, as_installed, plan_deb
from holdall.publish.debian_relocate import relocate_app
from holdall.publish.debian_unpack import (
    Alternative,
    Layout,
    checked_mount,
    extract,
    link_alternatives,
    merge,
    prune_empty_documentation,
    settle_links,
)
from holdall.publish.source_folder import (
    Advanced,
    Noted,
    Report,
    check_target,
    ignore,
    new_source_folder,
    write_manifest,
)
from holdall.system.crew import processors

__all__ = ["DebPlan", "DebRequest", "import_deb", "plan_deb"]


def import_deb(plan: DebPlan, target: Path, *, cache: Path, report: Report = ignore) -> Path:
    """Make the source folder `target` as planned; packages stay in `cache` for the next import."""
    check_target(target)
    cache.mkdir(parents=True, exist_ok=True)
    _fetch(plan, cache, report)
    with new_source_folder(target) as draft:
        files = draft / "files"
        layout = Layout(checked_mount(plan.request.kind), plan.request.keep_documentation)
        brought = _lay_out(plan, files, layout, cache, report)
        origins = {placed: origin for each in brought.values() for placed, origin in each.items()}
        settle_links(files, layout, origins)
        prune_empty_documentation(files)
        _write_packages(files, plan)
        if plan.request.kind == "runtime":
            finish(Tree(files), report)
            manifest = runtime_manifest(plan)
        else:
            manifest = _finished_app(plan, files, origins, brought, report)
        write_manifest(draft, manifest)
    return target


def _fetch(plan: DebPlan, cache: Path, report: Report) -> None:
    done = 0

    def fetched(package: Package) -> None:
        nonlocal done
        done += package.size
        report(Advanced("fetch", package.name, done, plan.download_bytes))

    with private_apt(()) as apt:
        apt.download(plan.packages, cache, fetched)


def _lay_out(
    plan: DebPlan, files: Path, layout: Layout, cache: Path, report: Report
) -> dict[str, Mapping[str, str]]:
    """Unpack every package, in the plan's order; name → its tree paths and where they come from."""
    brought: dict[str, Mapping[str, str]] = {}
    registered: list[Alternative] = []
    with (
        tempfile.TemporaryDirectory(prefix="unpacked-", dir=files.parent) as folder,
        ThreadPoolExecutor(processors()) as pool,
    ):
        archives = [cache / package.file_name for package in plan.packages]
        extracted = pool.map(lambda archive: extract(archive, Path(folder, archive.stem)), archives)
        for count, (package, raw) in enumerate(zip(plan.packages, extracted, strict=True), 1):
            unpacked = merge(raw, files, layout)
            brought[package.name] = {**brought.get(package.name, {}), **unpacked.origins}
            registered += unpacked.alternatives
            report(Advanced("unpack", package.name, count, len(plan.packages)))
    brought[""] = link_alternatives(files, layout, registered)
    return brought


def _finished_app(
    plan: DebPlan,
    files: Path,
    origins: Mapping[str, str],
    brought: Mapping[str, Mapping[str, str]],
    report: Report,
) -> Manifest:
    """Move the app's paths, compile what it compiles, name what it shows; its manifest."""
    base = _files_of(plan.request.runtime_folder) if plan.request.runtime_folder else None
    relocate_app(files, origins, base, report)
    _link_games(files)
    if base:
        finish(Tree(files, base), report)
    elif any(files.glob("share/glib-2.0/schemas/*.xml")):
        report(Noted("The app's settings schemas are not compiled: that takes --runtime-dir."))
    named = {name.partition(":")[0] for name in plan.request.names}
    paths = {path for name in named for path in brought.get(name, {})}
    return app_manifest(
        plan, files, sorted(path for path in paths if os.path.lexists(files / path))
    )


def _link_games(files: Path) -> None:
    """Programs are looked for in ``bin`` only; Debian keeps games apart."""
    for program in sorted(files.glob("games/*")):
        link = files / "bin" / program.name
        if not os.path.lexists(link):
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(f"../games/{program.name}")


def _write_packages(files: Path, plan: DebPlan) -> None:
    path = files / PACKAGES_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    listed = [as_installed(package.control) for package in plan.packages]
    path.write_bytes(msgspec.json.format(msgspec.json.encode(listed), indent=1) + b"\n")


def _files_of(folder: Path) -> Path:
    return folder / "files" if (folder / "files" / PACKAGES_FILE).is_file() else folder
