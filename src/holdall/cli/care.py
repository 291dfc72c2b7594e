"""``verify``, ``repair``, ``gc``, ``export``, ``unexport``: keeping a store in order."""

import argparse
import os
from typing import TYPE_CHECKING

from holdall.cli.command import Command
from holdall.cli.output import Output, count_of, size_of
from holdall.errors import CorruptError, NotFoundError, UnsupportedError, UsageError
from holdall.journeys import cleanup, exporting
from holdall.journeys.host import Host
from holdall.journeys.recovery import recover_if_needed
from holdall.model.ref import RefPattern
from holdall.store.catalog import writing

if TYPE_CHECKING:
    from holdall.journeys.verify import Verified


def _verify(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    from holdall.journeys.verify import verify

    recover_if_needed(host, out.report)
    patterns = tuple(RefPattern.parse(ref) for ref in arguments.refs)
    results = verify(
        host, patterns, every_version=not arguments.active, fast=arguments.fast, report=out.report
    )
    lines = []
    for item in results:
        lines.append(f"{item.ref} {item.version}: {_state(item)}")
        lines += [f"  {path}: {fault}" if path else f"  {fault}" for path, fault in item.faults]
    out.result([item._asdict() for item in results], lines or ["Nothing is installed."])
    if any(item.faults for item in results):
        return CorruptError.exit_code
    return UnsupportedError.exit_code if any(item.unchecked for item in results) else 0


def _state(item: "Verified") -> str:
    """What was found of one version, in a sentence."""
    if not item.faults and item.unchecked:
        return f"not checked. {item.unchecked}"
    found = count_of(len(item.faults), "fault") if item.faults else "whole"
    return f"{count_of(item.files, 'file')}, {found}."


def _verify_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("refs", metavar="REF", nargs="*", help="only these apps")
    parser.add_argument("--active", action="store_true", help="only active versions")
    parser.add_argument(
        "--fast",
        action="store_true",
        help="take the kernel's fs-verity digests where files have them",
    )


def _repair(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    from holdall.journeys.repair import repair

    bundles = [item for item in arguments.items if os.path.exists(item)] + (arguments.bundle or [])
    refs = [RefPattern.parse(item) for item in arguments.items if not os.path.exists(item)]
    if not bundles:
        raise UsageError("Give a bundle to repair from: `holdall repair --from FILE`.")
    results, left = [], []
    for path in bundles:
        try:
            results += repair(path, host, only=tuple(refs), report=out.report)
        except NotFoundError:
            # another one of the bundles may have what this one lacks
            left.append(path)
    for path in left:
        results += repair(path, host, only=tuple(refs), report=out.report)
    lines = [f"Repaired {item.ref} {item.version}: {', '.join(item.paths)}" for item in results]
    out.result([item._asdict() for item in results], lines or ["Nothing was damaged."])
    return 0


def _repair_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "items", metavar="REF|FILE", nargs="*", help="only this app; or a bundle to repair from"
    )
    parser.add_argument(
        "--from", dest="bundle", metavar="FILE", action="append", help="a bundle to repair from"
    )


def _gc(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    cleaned = cleanup.collect(
        host, keep=arguments.keep, dry_run=arguments.dry_run, report=out.report
    )
    verb = "Would remove" if arguments.dry_run else "Removed"
    lines = [f"{verb} {ref} {version}." for ref, version in cleaned.removed]
    if cleaned.unfinished:
        verb = "Would drop" if arguments.dry_run else "Dropped"
        thing = "update that was" if cleaned.unfinished == 1 else "updates that were"
        lines.append(f"{verb} what was made or fetched of {cleaned.unfinished} {thing} cut off.")
    if cleaned.unshared:
        lines.append(f"Freed {size_of(cleaned.unshared)} that were kept for nobody.")
    if cleaned.waiting:
        lines += _waiting(cleaned, dry_run=arguments.dry_run)
    out.result(cleaned._asdict(), lines or ["Nothing is left to free."])
    return 0


def _waiting(cleaned: cleanup.Cleaned, *, dry_run: bool) -> list[str]:
    """What is said of removed versions that are not free yet."""
    one = cleaned.waiting == 1
    if dry_run:
        said = "is not freed yet." if one else "are not freed yet."
    elif one:
        said = "still runs or is mounted; its space returns when that ends."
    else:
        said = "still run or are mounted; their space returns when that ends."
    shown = [f"Mounted by holdall: {path}" for path in cleaned.mounted]
    return [f"{cleaned.waiting} removed version{'' if one else 's'} {said}", *shown]


def _gc_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keep",
        metavar="N",
        type=_count,
        help="also remove old versions, all but the active one and N others of each app",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")


def _export(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    deployment = host.catalog.current(RefPattern.parse(arguments.ref))
    with writing(host.layout, wait=host.wait):
        paths = exporting.export(host, deployment.ref, out.report)
    out.result(
        {"ref": str(deployment.ref), "paths": paths}, paths or ["The app has nothing to show."]
    )
    return 0


def _unexport(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    ref = host.catalog.resolve(RefPattern.parse(arguments.ref))
    with writing(host.layout, wait=host.wait):
        exporting.unexport(host, ref, out.report)
    out.result({"ref": str(ref)}, [f"{ref.id} is not shown on the host any more."])
    return 0


def _ref(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ref", metavar="REF", help="id, id//branch or id/arch/branch")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return int(text)


COMMANDS = {
    "verify": Command(_verify_arguments, _verify),
    "repair": Command(_repair_arguments, _repair),
    "gc": Command(_gc_arguments, _gc),
    "export": Command(_ref, _export),
    "unexport": Command(_ref, _unexport),
}
