"""``init``, ``build``: the publisher's commands."""

import argparse
import os
from typing import TYPE_CHECKING

from holdall.cli.command import Command
from holdall.cli.output import Output, count_of, size_of
from holdall.errors import UsageError
from holdall.journeys.host import Event, Host

if TYPE_CHECKING:
    from holdall.journeys.build import BuildOptions
    from holdall.trust.keys import SigningKey

_MANIFEST = """\
# What this app is; docs/reference/manifest.md describes every field.
id = "{id}"
version = "0.1.0"
branch = "stable"
kind = "app"
runtime = "host"
command = "hello"

[permissions]
# network = true
# wayland = true
# x11 = true
# filesystem = ["~/Documents"]

[about]
name = "Hello"
summary = "Says hello"
license = ""
homepage = ""
"""
_SHOWN = 20
_PROGRAM = '#!/bin/sh\necho "Hello from ${HOLDALL_APP_ID:-nowhere}."\n'


def _init(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    from holdall.model.ref import checked_id
    from holdall.system.files import write_atomic

    folder = arguments.directory
    app_id = checked_id(arguments.id)
    if os.path.exists(f"{folder}/holdall.toml"):
        raise UsageError(f"{folder} has a holdall.toml already.")
    write_atomic(f"{folder}/holdall.toml", _MANIFEST.format(id=app_id).encode())
    if not os.path.exists(f"{folder}/files"):
        write_atomic(f"{folder}/files/bin/hello", _PROGRAM.encode(), mode=0o755)
    out.result(
        {"path": folder, "id": app_id},
        [
            f"Wrote {folder}/holdall.toml; put the app under {folder}/files.",
            f"Then run `holdall build {folder} -o FILE`.",
        ],
    )
    return 0


def _init_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR")
    parser.add_argument(
        "--id", default="org.example.Hello", help="the app's id, a reversed domain name"
    )


def _build(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    from holdall.journeys.build import BuildOptions, build, check_output, plan
    from holdall.journeys.keys import signing_key

    _check_options(arguments)
    if arguments.output:
        check_output(arguments.output, (arguments.directory, *(arguments.against or ())))
    options = BuildOptions(
        frame_size=arguments.frame_size,
        level=_chosen_level(arguments),
        serial=arguments.serial,
        created=arguments.created or "",
        expires=arguments.expires or "",
        image=arguments.image or "",
    )
    if arguments.dry_run and arguments.against:
        return _plan_increment(arguments, options, out)
    if arguments.dry_run:
        planned = plan(arguments.directory, options)
        size = f"{count_of(planned.files, 'file')}, {size_of(planned.size)}"
        line = f"Would pack {planned.ref} {planned.version}: {size}."
        out.result({**planned._asdict(), "ref": str(planned.ref)}, [line])
        return 0
    keys = (
        ()
        if arguments.unsigned
        else tuple(signing_key(host, path) for path in arguments.key or [None])
    )
    if not keys:
        out.report(
            Event(
                "WARNING: nobody signs this bundle; it installs only with --insecure-unsigned.",
                loud=True,
            )
        )
    if arguments.against:
        return _build_increment(arguments, options, keys, out)
    output = arguments.output or _default_name(arguments.directory)
    built = build(arguments.directory, output, keys=keys, options=options, report=out.report)
    manifest = built.release.manifest
    value = {
        "path": built.path,
        "ref": str(manifest.ref),
        "version": manifest.version,
        "release": built.digest,
        "bundle": built.bundle,
        "size": built.release.size,
        "signed_by": built.signers,
    }
    size = f"{size_of(built.bundle)} for {size_of(built.release.size)} of files"
    out.result(value, [f"Built {output}: {manifest.ref} {manifest.version}, {size}."])
    return 0


def _check_options(arguments: argparse.Namespace) -> None:
    """Raise UsageError for what does not go together.

    Such as what is the bundle's to say, where a bundle is the source.
    """
    if arguments.image and arguments.frame_size is not None:
        raise UsageError("An image has no frames; leave out --frame-size, or --image.")
    if arguments.no_compress and (arguments.level is not None or not arguments.image):
        raise UsageError("--no-compress is for an image, and takes no --level.")
    if not arguments.against or os.path.isdir(arguments.directory):
        return
    names = ("frame_size", "level", "serial", "created", "expires", "image")
    given = [
        f"--{name.replace('_', '-')}" for name in names if getattr(arguments, name) is not None
    ]
    if given:
        raise UsageError(
            f"{', '.join(given)} cannot be said of an increment to {arguments.directory}, which "
            "is packed and signed already; leave that out."
        )


def _chosen_level(arguments: argparse.Namespace) -> int:
    from holdall.journeys.build import DEFAULT

    if arguments.no_compress:
        return 0
    return DEFAULT.level if arguments.level is None else int(arguments.level)


def _plan_increment(arguments: argparse.Namespace, options: "BuildOptions", out: Output) -> int:
    from holdall.journeys.incremental import plan_increment

    planned = plan_increment(arguments.directory, tuple(arguments.against), options=options)
    value = {
        "ref": str(planned.ref),
        "version": planned.version,
        "bases": [
            {"version": version, "contents": count, "size": size}
            for version, count, size in planned.bases
        ],
    }
    lines = [
        f"Would make {planned.ref} {planned.version} from {version}: {count} contents to make,"
        f" {size_of(size)}."
        for version, count, size in planned.bases
    ]
    out.result(value, lines)
    return 0


def _build_increment(
    arguments: argparse.Namespace,
    options: "BuildOptions",
    keys: "tuple[SigningKey, ...]",
    out: Output,
) -> int:
    from holdall.journeys.incremental import build_increment

    if not arguments.output:
        raise UsageError("Say where to write the increment: -o FILE.")
    built = build_increment(
        arguments.directory,
        arguments.output,
        tuple(arguments.against),
        keys=keys,
        options=options,
        report=out.report,
    )
    manifest = built.release.manifest
    value = {
        "path": built.path,
        "ref": str(manifest.ref),
        "version": manifest.version,
        "release": built.digest,
        "bundle": built.bundle,
        "bases": [base._asdict() for base in built.bases],
        "files": [share._asdict() for share in built.files],
        "signed_by": built.signers,
    }
    dear = sorted(built.files, key=lambda share: -share.stored)[:_SHOWN]
    lines = [
        f"{size_of(it.stored):>10}  {size_of(it.size):>10}  {it.how:14}  {it.path}" for it in dear
    ]
    if len(built.files) > len(dear):
        lines.append(f"and {count_of(len(built.files) - len(dear), 'file')} more")
    lines += [
        f"From {base.version}: {size_of(base.stored)} instead of {size_of(base.full)}"
        f" ({base.stored / base.full:.1%})."
        for base in built.bases
    ]
    if dear:
        lines.insert(0, f"{'about':>10}  {'of':>10}  (of each file: its share of the units)")
    lines.append(
        f"Built {built.path}: an increment to {manifest.ref} {manifest.version},"
        f" {size_of(built.bundle)}."
    )
    out.result(value, lines)
    return 0


def _default_name(folder: str) -> str:
    from holdall.journeys.build import read_source

    manifest = read_source(folder)
    return f"{manifest.id}-{manifest.version}.holdall"


def _build_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "directory",
        metavar="DIR",
        help="a folder with holdall.toml and files/; with --against, a full bundle, too",
    )
    parser.add_argument(
        "--against",
        metavar="OLD",
        action="append",
        help="make an increment for those who have this bundle's release; repeatable",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="the bundle to write (ID-VERSION.holdall)"
    )
    parser.add_argument(
        "--key",
        metavar="FILE",
        action="append",
        help="sign with this key instead of your own; repeatable",
    )
    parser.add_argument("--unsigned", action="store_true", help="do not sign")
    parser.add_argument(
        "--frame-size",
        metavar="BYTES",
        type=_size,
        help="cut into frames of at most this many bytes, such as 640K: short ones for live",
    )
    parser.add_argument("--level", metavar="N", type=_level, help="zstd level, 1 to 22 (19)")
    parser.add_argument(
        "--image",
        metavar="KIND",
        choices=("erofs", "squashfs"),
        help="make an image (erofs or squashfs) in place of frames, to be installed as it is",
    )
    parser.add_argument(
        "--no-compress", action="store_true", help="do not compress what is in the image"
    )
    parser.add_argument(
        "--serial",
        metavar="N",
        type=_serial,
        help="a number that only grows, over the order of versions",
    )
    parser.add_argument(
        "--created", metavar="TIME", type=_time, help="when it was made, as 2026-01-31T12:00:00Z"
    )
    parser.add_argument(
        "--expires", metavar="TIME", type=_time, help="when it stops being accepted"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be packed")


def _size(text: str) -> int:
    units = {"": 1, "K": 2**10, "M": 2**20}
    number, unit = text.upper().removesuffix("IB").removesuffix("B"), ""
    if number and number[-1] in units:
        number, unit = number[:-1], number[-1]
    if not number.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 262144, 256K or 4M")
    return int(number) * units[unit]


def _level(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 22:
        raise argparse.ArgumentTypeError(f"{text!r} is not a level from 1 to 22")
    return int(text)


def _serial(text: str) -> int:
    if not text.isdecimal() or len(text) > 16 or int(text) > 2**53:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 2^53")
    return int(text)


def _time(text: str) -> str:
    from datetime import UTC, datetime

    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time such as 2026-01-31T12:00:00Z"
        ) from error


COMMANDS = {
    "init": Command(_init_arguments, _init),
    "build": Command(_build_arguments, _build),
}
