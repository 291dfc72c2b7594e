"""How installing and updating went, in words and as JSON."""

from collections.abc import Iterator, Sequence
from typing import Any

from holdall.cli.output import count_of, file_of, size_of
from holdall.forms.table import DEFAULT
from holdall.journeys.planning import InstallPlan, Outcome, Quote


def as_json(outcome: Outcome, *, dry_run: bool) -> dict[str, Any]:
    """What programs get of one app that could be installed."""
    shared = {"dry_run": dry_run}
    if plan := outcome.plan:
        steps = [step._asdict() for step in plan.steps]
        return {**plan._asdict(), "ref": str(plan.ref), "steps": steps, **shared}
    quote = outcome.quote
    return {**quote._asdict(), "ref": str(quote.ref), **shared} if quote else {}


def told(outcome: Outcome, *, dry_run: bool) -> Iterator[str]:
    """What people get of it."""
    if outcome.plan:
        yield from _of_plan(outcome.plan, dry_run=dry_run)
    elif outcome.quote:
        yield from _of_quote(outcome.quote)


def summary(outcomes: Sequence[Outcome]) -> list[str]:
    """A line about several."""
    failed = sum(1 for item in outcomes if item.error)
    fetched = sum(item.plan.downloaded for item in outcomes if item.plan)
    to_fetch = sum(item.quote.download for item in outcomes if item.quote)
    parts = [f"{len(outcomes) - failed} of {len(outcomes)} apps"]
    if to_fetch:
        parts.append(f"{size_of(to_fetch)} to download")
    if fetched:
        parts.append(f"{size_of(fetched)} downloaded")
    if failed:
        parts.append(f"{failed} failed")
    return [f"{', '.join(parts)}."]


def _of_plan(plan: InstallPlan, *, dry_run: bool) -> Iterator[str]:
    name = f"{plan.ref} {plan.version}"
    if plan.already and plan.before not in {None, plan.version}:
        verb = "Would go" if dry_run else "Went"
        yield f"{verb} from {plan.before} to {name}, which was installed already."
    if plan.converted:
        verb = "Would convert" if dry_run else "Converted"
        yield f"{verb} {name} from {plan.converted} to {plan.form}."
    elif plan.already and plan.before in {None, plan.version}:
        yield f"{name} is installed already{'' if dry_run else ' and active'}."
    if plan.already:
        return
    done = "Would install" if dry_run else "Installed"
    if plan.before is not None:
        done = f"Would update {plan.before} to" if dry_run else f"Updated {plan.before} to"
    shared = (
        f", {size_of(plan.linked)} shared with {plan.before or 'an older version'}"
        if plan.linked
        else ""
    )
    read = f" (out of {size_of(plan.read)})" if plan.steps or dry_run else ""
    fetched = f", {size_of(plan.downloaded)} downloaded" if plan.downloaded else ""
    fetched += f" from {plan.remote}" if plan.downloaded and plan.remote else ""
    form = "" if plan.form == DEFAULT else f" as {plan.form}"
    new = f"{count_of(plan.files, 'file')}, {size_of(plan.produced)} new"
    yield f"{done} {name}{form}: {new}{read}{shared}{fetched}{file_of(plan.stored)}."
    for step in plan.steps:
        yield (
            f"  {step.before} to {step.version}: {size_of(step.produced)} out of "
            f"{size_of(step.read)}"
        )


def _of_quote(quote: Quote) -> Iterator[str]:
    name = f"{quote.ref} {quote.version}"
    if quote.already:
        yield f"{name} is installed already."
        return
    done = f"Would update {quote.before} to" if quote.before else "Would install"
    count = len(quote.steps)
    way = f" in {count_of(count, 'increment')}" if count else ""
    yield (
        f"{done} {name} from {quote.remote}: {size_of(quote.download)} to download{way}, "
        f"{size_of(quote.size)} of files."
    )
    if quote.before and quote.permissions:
        yield f"  It asks for more: to {', to '.join(quote.permissions)}."
