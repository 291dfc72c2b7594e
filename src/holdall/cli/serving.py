"""``repo serve``: a repository for the machines around, to try it out."""

import argparse
import signal
import sys
from typing import TYPE_CHECKING

from holdall.cli.command import Command
from holdall.cli.output import Output, size_of
from holdall.journeys.host import Event, Host

if TYPE_CHECKING:
    from holdall.delivery.remote.serving import Served


def _serve(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    from holdall.delivery.remote.serving import FolderServer

    def told(request: "Served") -> None:
        if not arguments.quiet:
            client, method, path, status, sent = request
            out.report(Event(f"{client} {method} {path} {status} {size_of(sent)}"))

    server = FolderServer(arguments.directory, arguments.bind, arguments.port, told)
    before = signal.signal(signal.SIGTERM, _end)
    try:
        out.result({"address": server.address}, [f"{arguments.directory} is at {server.address}"])
        sys.stdout.flush()
        server.serve()
    except KeyboardInterrupt:
        return 0
    finally:
        server.close()
        signal.signal(signal.SIGTERM, before)
    return 0


def _end(*_: object) -> None:
    raise KeyboardInterrupt


def _serve_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="the repository")
    parser.add_argument(
        "--port", metavar="N", type=int, default=8000, help="listen there (8000); 0 chooses one"
    )
    parser.add_argument(
        "--bind",
        metavar="ADDRESS",
        default="127.0.0.1",
        help="listen at this address of the machine (127.0.0.1: for itself only)",
    )
    parser.add_argument("--quiet", action="store_true", help="do not print a line for each request")


PARTS = {"serve": Command(_serve_arguments, _serve)}
