"""``inspect``: what is in a bundle, for people and for programs."""

import argparse
from collections.abc import Iterator
from typing import Any

from holdall.cli.command import Command
from holdall.cli.output import Output, count_of, size_of
from holdall.journeys.host import Host

_SHOWN = 20  # files of an increment that people see


def _inspect(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    from holdall.journeys.inspect import inspect

    facts = inspect(arguments.file, host=host, against=arguments.against or ())
    manifest = facts["manifest"]
    kind = f"increment, {manifest['kind']}" if facts["increment"] else manifest["kind"]
    lines = [
        f"{facts['ref']} {manifest['version']} ({kind})",
        f"release {facts['release']}",
        *([f"signed by {key}" for key in facts["signed_by"]] or ["NOT SIGNED"]),
        *(_increment_lines(facts) if facts["increment"] else _full_lines(facts)),
        f"runs {_words(manifest.get('command', ''))} on {manifest.get('runtime', 'host')}"
        if manifest["kind"] == "app"
        else "a runtime",
        f"may use: {_permissions(manifest.get('permissions', {}))}",
    ]
    lines += [f"{name}: {text}" for name, text in manifest.get("about", {}).items() if text]
    said = ("created", "expires", "metadata_image")
    lines += [f"{name.replace('_', ' ')}: {facts[name]}" for name in said if facts[name]]
    lines += _file_lines(facts) if facts["increment"] else []
    out.result(facts, lines)
    return 0


def _full_lines(facts: dict[str, Any]) -> Iterator[str]:
    yield f"{count_of(facts['files'], 'file')}, {size_of(facts['size'])}"
    if image := facts["image"]:
        yield f"{size_of(facts['bundle'])} with an image of kind {image['kind']}, {image['digest']}"
    else:
        where = ", packed by this store" if facts["local"] else ""
        yield f"{size_of(facts['bundle'])} in {count_of(facts['frames'], 'frame')}{where}"


def _increment_lines(facts: dict[str, Any]) -> Iterator[str]:
    yield f"{size_of(facts['size'])} of files"
    saved = ""
    if facts["full"]:
        share = 100 * (1 - facts["bundle"] / facts["full"])
        saved = f", {share:.1f} % less than the full bundle's {size_of(facts['full'])}"
    yield f"{size_of(facts['bundle'])} in {count_of(facts['units'], 'unit')}{saved}"
    for base in facts["from"]:
        version = f"version {base['version']}" if base["version"] else "an unknown version"
        state = ", installed" if base["installed"] else ""
        yield (
            f"made from {version} (release {base['release'][:16]}…{state}): reads "
            f"{size_of(base['read'])} in {count_of(base['units'], 'unit')}"
        )


def _file_lines(facts: dict[str, Any]) -> Iterator[str]:
    """What the dearest files cost, from the first base whose tree is at hand."""
    for base in facts["from"]:
        if not base["files"]:
            continue
        dearest = sorted(base["files"], key=lambda file: (-file["stored"], file["path"]))
        yield (
            f"Made anew from {base['version'] or 'release ' + base['release'][:16]}, "
            "each file for about:"
        )
        for file in dearest[:_SHOWN]:
            how = ", ".join(file["transforms"])
            yield f"  {file['stored']:>10}  of {file['size']:>12}  {file['path']} ({how})"
        if rest := dearest[_SHOWN:]:
            stored = sum(file["stored"] for file in rest)
            yield f"  {stored:>10}  for {count_of(len(rest), 'more file')}; see --json"
        return


def _permissions(permissions: dict[str, object]) -> str:
    given = []
    for name, value in permissions.items():
        if value is True:
            given.append(name)
        elif isinstance(value, (list, tuple)) and value:
            given.append(f"{name} {' '.join(str(item) for item in value)}")
    return ", ".join(given) or "nothing outside its sandbox"


def _words(command: str | list[str]) -> str:
    return command if isinstance(command, str) else " ".join(command)


def _inspect_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a full bundle or an increment")
    parser.add_argument(
        "--against",
        metavar="FILE",
        action="append",
        help="a full bundle the increment is made from, or makes: to show what each file costs and "
        "what is saved; repeatable",
    )


COMMANDS = {"inspect": Command(_inspect_arguments, _inspect)}
