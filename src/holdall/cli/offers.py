"""What remotes offer: newer versions of what is installed, and all about one app."""

from typing import Any

from holdall.cli.output import Output, size_of
from holdall.journeys.host import Host
from holdall.journeys.planning import Quote
from holdall.journeys.updating import Offered, Request, offered, updates
from holdall.model.ref import RefPattern


def list_updates(kind: str | None, host: Host, out: Output) -> int:
    """List newer versions; returns the exit code, that of the first remote or app that failed."""
    outcomes = updates(host, report=out.report)
    failures = list(dict.fromkeys(item.error for item in outcomes if item.error))
    for error in failures:
        out.fail(error)
    quotes = [item.quote for item in outcomes if item.quote]
    rows = [_row(quote) for quote in quotes if kind in {None, quote.kind}]
    shown = [{**row, "download": size_of(row["download"])} for row in rows]
    notes = {"note": "NOTE"} if any(row["note"] for row in rows) else {}
    columns = {
        "ref": "REF",
        "before": "VERSION",
        "version": "NEWER",
        "download": "DOWNLOAD",
        "remote": "REMOTE",
        **notes,
    }
    empty = "Everything that came from a remote is up to date."
    if failures:
        empty = "No newer versions were found where remotes could be asked."
    out.table(rows if out.json else shown, columns, empty=empty)
    return failures[0].exit_code if failures else 0


def _row(quote: Quote) -> dict[str, Any]:
    note = f"waits for permission to {', to '.join(quote.permissions)}" if quote.permissions else ""
    return {**quote._asdict(), "ref": str(quote.ref), "note": note if quote.before else ""}


def show_offer(
    pattern: RefPattern, version: str | None, remote: str | None, host: Host, out: Output
) -> int:
    """Show all about an app that a remote offers."""
    found = offered(Request((pattern,), version, remote), host, report=out.report)
    quote = found.quote
    value = {**found._asdict(), **quote._asdict(), "ref": str(quote.ref), "installed": None}
    del value["quote"]
    out.result(value, _lines(found))
    return 0


def _lines(found: Offered) -> list[str]:
    quote = found.quote
    steps = len(quote.steps)
    way = f" in {steps} increment{'' if steps == 1 else 's'}" if steps else ""
    state = f"{quote.before} is installed" if quote.before else "not installed"
    facts = {
        "name": found.name,
        "summary": found.summary,
        "developer": found.developer,
        "homepage": found.homepage,
        "license": found.license,
        "kind": quote.kind,
        "versions": ", ".join(found.versions),
        "created": found.created,
        "download": f"{size_of(quote.download)}{way}",
        "size": size_of(quote.size),
        "runtime": quote.runtime,
        "may": ", ".join(quote.may) or "use nothing outside its sandbox",
        "asks for more": ", ".join(quote.permissions) if quote.before else "",
        "signed by": ", ".join(found.signers),
        "also": ", ".join(ref for ref in found.refs if ref != str(quote.ref)),
    }
    first = f"{quote.ref} {quote.version} at {quote.remote}, {state}"
    return [first, *(f"{name}: {text}" for name, text in facts.items() if text)]
