"""``repo delta``: increments to the newest releases, by a policy.

To the newest release of each ref: from each of the `depth` releases before it, and from each that
was the newest for four weeks or more. What was made for older releases stays, so who comes from
further back goes over several.
"""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from holdall.errors import NoGainError, NotFoundError, UntrustedError
from holdall.journeys.host import Event, Host, Report, silent
from holdall.journeys.incremental import build_increment
from holdall.journeys.keys import signing_key
from holdall.journeys.repository_intake import Intake, IntakeOptions
from holdall.model.offer import Offer, OfferedRelease
from holdall.model.ref import Ref, RefPattern
from holdall.publish.repository.layout import Layout, holding
from holdall.publish.repository.offers import pairs_by_policy
from holdall.publish.repository.pending import Pending
from holdall.publish.repository.published import Published
from holdall.publish.repository.settings import read_settings
from holdall.system.files import plain_errors, read_regular, remove_tree, write_atomic
from holdall.trust.keys import SigningKey

DEPTH = 1
LASTING = 28  # days
MADE, THERE, USELESS, OTHERS = "made", "there", "useless", "others"
_LIMIT = 64 * 2**20


class Delta(NamedTuple):
    """An increment the policy asks for, and what became of it.

    `outcome`: made, there (already), useless (it would save next to nothing), others (only its
    publisher can sign it). `size` and `full` in bytes: of its file, and of what it stands for.
    """

    ref: str
    base: str
    version: str
    outcome: str
    size: int = 0
    full: int = 0


class _Pair(NamedTuple):
    ref: Ref
    base: OfferedRelease
    release: OfferedRelease
    outcome: str


def make_deltas(
    folder: str,
    host: Host,
    patterns: Sequence[RefPattern] = (),
    *,
    depth: int = DEPTH,
    key: str | None = None,
    again: bool = False,
    dry_run: bool = False,
    report: Report = silent,
) -> list[Delta]:
    """Make the increments that the policy asks for and are not there, for the next publication.

    `again` tries those, too, that were found to be of no use. Raises UntrustedError when the key
    signed none of the releases they are for, NotFoundError for a ref that is not there.
    """
    layout = Layout(os.path.abspath(folder))
    with holding(layout, wait=host.wait), plain_errors(f"{folder} cannot get increments"):
        signing = signing_key(host, key)
        work = _Work(layout, signing, report)
        pairs = work.pairs(patterns, depth=depth, again=again)
        others = [pair for pair in pairs if pair.outcome == OTHERS]
        if others and (patterns or len(others) == len(pairs)):
            raise UntrustedError(
                f"Your key {signing.public.fingerprint[:16]}… signed none of these releases; only"
                " their publishers can make increments to them."
            )
        return [work.settle(pair, dry_run=dry_run) for pair in pairs]


class _Work:
    def __init__(self, layout: Layout, key: SigningKey, report: Report) -> None:
        self._layout = layout
        self._key = key
        self._report = report
        self._useless = _read_useless(layout)

    def pairs(self, patterns: Sequence[RefPattern], *, depth: int, again: bool) -> list[_Pair]:
        """What the policy asks for, and what is known of it."""
        found: list[_Pair] = []
        useless = set() if again else self._useless
        for offer in self._offers(patterns):
            for ref in offer.refs:
                if patterns and not any(pattern.matches(ref) for pattern in patterns):
                    continue
                for base, release in pairs_by_policy(offer, ref, depth=depth, lasting=LASTING):
                    found.append(
                        _Pair(ref, base, release, self._known(offer, base, release, useless))
                    )
        return found

    def _known(
        self,
        offer: Offer,
        base: OfferedRelease,
        release: OfferedRelease,
        useless: set[tuple[str, str]],
    ) -> str:
        for item in offer.increments:
            if item.release == release.release and base.release in item.bases:
                return THERE
        if (base.release, release.release) in useless:
            return USELESS
        return MADE if self._key.public.fingerprint in release.signers else OTHERS

    def _offers(self, patterns: Sequence[RefPattern]) -> list[Offer]:
        published = Published(self._layout, role=read_settings(self._layout).role)
        pending = Pending(self._layout)
        named = {pattern.id for pattern in patterns}
        found = []
        for app_id in sorted(named or {*published.app_ids(), *pending.app_ids()}):
            offer = pending.offer(app_id) or published.offer(app_id)
            if offer is None:
                raise NotFoundError(f"{self._layout.root} has no {app_id}.")
            found.append(offer)
        return found

    def settle(self, pair: _Pair, *, dry_run: bool) -> Delta:
        """Make one, unless it is known not to be wanted."""
        done = Delta(str(pair.ref), pair.base.version, pair.release.version, pair.outcome)
        if dry_run or pair.outcome != MADE:
            return done
        remove_tree(self._layout.making)
        os.makedirs(self._layout.making)
        try:
            return self._make(pair, done)
        except NoGainError as error:
            self._report(Event(str(error)))
            self._useless.add((pair.base.release, pair.release.release))
            data = msgspec.json.encode(sorted(self._useless))
            write_atomic(self._layout.useless, data, whole=True)
            return done._replace(outcome=USELESS)
        finally:
            remove_tree(self._layout.making)

    def _make(self, pair: _Pair, done: Delta) -> Delta:
        out = f"{self._layout.making}/increment"
        built = build_increment(
            self._layout.content(pair.release.bundle.sha256),
            out,
            (self._layout.content(pair.base.bundle.sha256),),
            keys=(self._key,),
            report=self._report,
        )
        base = built.bases[0]
        intake = Intake(self._layout, IntakeOptions(move=True), self._report)
        intake.take([out], datetime.now(UTC))
        return done._replace(size=built.bundle, full=base.full)


def _read_useless(layout: Layout) -> set[tuple[str, str]]:
    try:
        data = read_regular(layout.useless, limit=_LIMIT)
        return {
            (base, release)
            for base, release in msgspec.json.decode(data, type=list[tuple[str, str]])
        }
    except (FileNotFoundError, msgspec.MsgspecError):
        return set()
