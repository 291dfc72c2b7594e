"""Installing and updating by ref, from remotes: several apps in one run, each on its own."""

import tempfile
from collections.abc import Collection, Iterable
from typing import NamedTuple

from holdall.errors import HoldallError, NotFoundError
from holdall.journeys.choosing import Chosen, Market
from holdall.journeys.consent import additional, allowed, in_words
from holdall.journeys.forming import ANY_FORM, Wanted, decide
from holdall.journeys.host import Event, Host, Report, silent
from holdall.journeys.install import Wish
from holdall.journeys.installed import release_of
from holdall.journeys.planning import Outcome, Quote
from holdall.journeys.procuring import exact_download, means_to, obtain
from holdall.journeys.refreshing import asking, connecting
from holdall.journeys.trusting import NOTHING_DECIDED, TrustChoice
from holdall.model.ref import Ref, RefPattern
from holdall.store import remotes as records


class Request(NamedTuple):
    """What is wanted of remotes; `version` and `remote` None for the newest, and from anywhere."""

    patterns: tuple[RefPattern, ...]
    version: str | None = None
    remote: str | None = None
    runtimes: bool = True
    dry_run: bool = False
    wanted: Wanted = ANY_FORM


def install_refs(
    request: Request,
    host: Host,
    *,
    choice: TrustChoice = NOTHING_DECIDED,
    report: Report = silent,
) -> list[Outcome]:
    """Install the newest releases of what is named, with the runtimes they take.

    One that cannot be installed does not keep others from it. Raises what keeps all from it.
    """
    with connecting(host, _only(request)) as connections:
        with asking(host, connections, report) as answers:
            market = Market(host, connections, answers, report)
            wanted = [_choose(market, pattern, request) for pattern in request.patterns]
            wanted = _with_runtimes(market, wanted, request)
        return _carry_out(wanted, host, Wish(choice, wanted=request.wanted), request, report)


def update_refs(
    request: Request,
    host: Host,
    *,
    choice: TrustChoice = NOTHING_DECIDED,
    report: Report = silent,
) -> list[Outcome]:
    """Update installed apps to the newest releases their remotes have: those named, or all.

    Those that are up to date are left out; where nothing is named, also those that somebody went
    back from the newest of, and those whose remote was removed. Raises NotFoundError for one named
    that is not installed, and what keeps all from it.
    """
    named = [host.catalog.resolve(pattern) for pattern in request.patterns]
    refs = named or [ref for ref in host.catalog.refs() if _origin(host, ref)]
    origins = {_origin(host, ref) for ref in refs}
    known = {remote.name for remote in records.remotes(host.layout)}
    if not named and not request.remote:
        refs = [ref for ref in refs if _has_remote(host, ref, known, report)]
        origins &= known
    if not refs:
        return []
    only = () if "" in origins or origins - known else tuple(sorted(origins))
    with connecting(host, _only(request) or only) as connections:
        with asking(host, connections, report, quiet=bool(only)) as answers:
            market = Market(host, connections, answers, report)
            chosen = [_newest(market, ref, known, request) for ref in dict.fromkeys(refs)]
            wanted = [item for item in chosen if not _is_current(host, item)]
            if not named:
                wanted = [item for item in wanted if not _is_left(host, item, report)]
            wanted = _with_runtimes(market, wanted, request)
        return _carry_out(
            wanted, host, Wish(choice, only_update=True, wanted=request.wanted), request, report
        )


def updates(host: Host, *, report: Report = silent) -> list[Outcome]:
    """What `update_refs` would do for all apps."""
    return update_refs(Request((), dry_run=True), host, report=report)


class Offered(NamedTuple):
    """What a remote offers of an app that is not installed; sizes in bytes."""

    quote: Quote
    name: str
    summary: str
    developer: str
    homepage: str
    license: str
    versions: tuple[str, ...]
    refs: tuple[str, ...]
    signers: tuple[str, ...]
    created: str


def offered(request: Request, host: Host, *, report: Report = silent) -> Offered:
    """All about what is offered under a ref, before it is installed."""
    (pattern,) = request.patterns
    with connecting(host, _only(request)) as connections:
        with asking(host, connections, report) as answers:
            market = Market(host, connections, answers, report)
            chosen = market.choose(pattern, version=request.version)
        priced = quote(chosen, host)
    about, release = chosen.offer.about, chosen.release
    return Offered(
        priced,
        about.name,
        about.summary,
        about.developer,
        about.homepage,
        about.license,
        tuple(item.version for item in chosen.offer.releases_of(chosen.ref)),
        tuple(map(str, chosen.offer.refs)),
        release.signers,
        release.created,
    )


def quote(chosen: Chosen, host: Host, wanted: Wanted = ANY_FORM) -> Quote:
    """What installing costs; fetches the head of a full bundle where only that tells."""
    means = means_to(host, chosen)
    active = host.catalog.active(chosen.ref)
    permissions = chosen.release.permissions
    download = means.download
    # a form that keeps bundles may have all of one fetched, to keep that
    keeps = bool(active) and decide(host, chosen.ref, wanted).form.TRAITS.whole
    if not means.exact or (keeps and not means.increments and not means.installed):
        with tempfile.TemporaryDirectory(prefix="holdall-") as folder:
            download = exact_download(host, chosen, folder, wanted)
    return Quote(
        ref=chosen.ref,
        version=chosen.release.version,
        digest=chosen.release.release,
        before=active.version if active else None,
        remote=chosen.remote,
        download=download,
        size=chosen.release.size,
        steps=tuple(item.size for item in means.increments),
        may=in_words(permissions),
        permissions=additional(allowed(active), permissions) if active else in_words(permissions),
        kind=chosen.release.kind,
        runtime=chosen.release.runtime,
        already=means.installed is not None,
    )


class _Pending(NamedTuple):
    """An app that is wanted: what was chosen for it, and the runtime it waits for; or an error."""

    ref: str
    chosen: Chosen | None = None
    error: HoldallError | None = None
    runtime: str = ""
    is_runtime: bool = False


def _only(request: Request) -> tuple[str, ...]:
    return (request.remote,) if request.remote else ()


def _origin(host: Host, ref: Ref) -> str:
    return records.read_origin(host.layout, ref)


def _has_remote(host: Host, ref: Ref, known: Collection[str], report: Report) -> bool:
    """Whether an app's remote is still there; says so where it was removed."""
    origin = _origin(host, ref)
    if origin in known:
        return True
    report(Event(str(_orphan(ref, origin).error), loud=True))
    return False


def _orphan(ref: Ref, origin: str) -> Outcome:
    error = NotFoundError(
        f"{ref} is from the remote {origin}, which is not there any more; `holdall install {ref}` "
        "takes it from another one."
    )
    return Outcome(str(ref), error=error)


def _choose(market: Market, pattern: RefPattern, request: Request) -> _Pending:
    try:
        chosen = market.choose(pattern, version=request.version)
    except HoldallError as error:
        return _Pending(str(pattern), error=error)
    return _Pending(str(chosen.ref), chosen)


def _newest(market: Market, ref: Ref, known: Collection[str], request: Request) -> _Pending:
    """What an installed app is updated to: by its own remote, or where it has none, by any."""
    origin = request.remote or _origin(market.host, ref)
    if not origin or request.version:
        return _choose(market, RefPattern(*ref), request)
    if origin not in known:
        return _Pending(str(ref), error=_orphan(ref, origin).error)
    try:
        return _Pending(str(ref), market.newest(ref, origin))
    except HoldallError as error:
        return _Pending(str(ref), error=error)


def _is_current(host: Host, item: _Pending) -> bool:
    """Whether an installed app is as new as what was chosen, or newer."""
    if item.chosen is None:
        return False
    active = host.catalog.active(item.chosen.ref)
    release = release_of(active) if active else None
    return release is not None and release.order >= item.chosen.release.order


def _is_left(host: Host, item: _Pending, report: Report) -> bool:
    """Whether the user went back from what was chosen; says so."""
    if item.chosen is None:
        return False
    release = item.chosen.release
    installed = {deployment.digest for deployment in host.catalog.deployments(item.chosen.ref)}
    if release.release not in installed:
        return False
    active = host.catalog.active(item.chosen.ref)
    stays = f"stays at {active.version}" if active else "stays as it is"
    report(
        Event(
            f"{item.ref} {stays}, since {release.version} was left for it; `holdall update "
            f"{item.ref}` takes that again.",
            loud=True,
        )
    )
    return True


def _with_runtimes(market: Market, wanted: list[_Pending], request: Request) -> list[_Pending]:
    """The same with runtimes that are lacking, each before the first app that takes it."""
    found: dict[str, _Pending] = {}
    for item in wanted:
        waiting = item
        if item.chosen and request.runtimes:
            try:
                runtime = market.runtime(item.chosen)
            except HoldallError as error:
                waiting = item._replace(chosen=None, error=error)
            else:
                if runtime:
                    name = str(runtime.ref)
                    found.setdefault(name, _Pending(name, runtime, is_runtime=True))
                    waiting = item._replace(runtime=name)
        found.setdefault(item.ref, waiting)
    return list(found.values())


def _carry_out(
    wanted: Iterable[_Pending], host: Host, wish: Wish, request: Request, report: Report
) -> list[Outcome]:
    """Install one after the other; an app whose runtime could not be installed stays as it is."""
    outcomes: dict[str, Outcome] = {}
    for item in wanted:
        before = outcomes.get(item.runtime)
        error = item.error or (before.error if before else None)
        if item.chosen is None or error:
            outcomes[item.ref] = Outcome(item.ref, error=error)
            continue
        try:
            if request.dry_run:
                outcomes[item.ref] = Outcome(
                    item.ref, quote=quote(item.chosen, host, request.wanted)
                )
                continue
            mine = wish._replace(only_update=False) if item.is_runtime else wish
            outcomes[item.ref] = Outcome(item.ref, obtain(item.chosen, host, mine, report))
        except HoldallError as failure:
            outcomes[item.ref] = Outcome(item.ref, error=failure)
    return list(outcomes.values())
