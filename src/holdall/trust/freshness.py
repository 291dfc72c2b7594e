"""Time and order: a release is refused outside its lifetime and below what was accepted before."""

from datetime import UTC, datetime, timedelta

from holdall.errors import CorruptError, DowngradeError, UntrustedError
from holdall.model.release import Order, Release

SKEW = timedelta(minutes=10)


def check_lifetime(release: Release, now: datetime) -> None:
    """Raise UntrustedError when `now` is outside the release's lifetime.

    A clock that is behind by up to `SKEW` is let pass.
    """
    name = f"{release.manifest.id} {release.manifest.version}"
    if release.created and now + SKEW < _time(release.created):
        raise UntrustedError(
            f"{name} says it was made at {release.created}, which is in the future; check the "
            "clock."
        )
    if release.expires and now > _time(release.expires):
        raise UntrustedError(
            f"{name} expired at {release.expires}; get a newer bundle from the publisher."
        )


def check_order(release: Release, floor: Order | None, *, installed: bool = True) -> None:
    """Raise DowngradeError when a release is below the highest accepted for its ref.

    `installed` is whether any version of it is, to which one could go back.
    """
    if floor is not None and release.order < floor:
        way = "`holdall rollback`, or --allow-downgrade" if installed else "--allow-downgrade"
        raise DowngradeError(
            f"{release.manifest.id} {release.manifest.version} is older than a version this store "
            f"had before; use {way} if you mean it."
        )


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise CorruptError(f"{text!a} is not a time.") from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)
