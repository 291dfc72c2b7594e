"""Notices to running apps, as they stand in a store."""

from pathlib import Path

import pytest

from bundles import APP, make_bundle, trusting_store
from holdall.journeys.host import Host, silent
from holdall.journeys.install import install
from holdall.journeys.recovery import change, recover_if_needed
from holdall.journeys.switch import remove, rollback
from holdall.model.ref import RefPattern
from holdall.store.catalog import writing

PATTERN = RefPattern.parse(APP)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A store with versions 1.0 and 2.0, of which the later is active."""
    host = trusting_store(tmp_path / "store")
    for version in ("1.0", "2.0"):
        install(str(make_bundle(tmp_path / version, version=version)), host)
    return host


def notices(host: Host) -> dict[str, dict[str, str]]:
    """What each installed version is told."""
    (ref,) = host.catalog.refs()
    return {
        item.version: {
            path.name: path.read_text() for path in sorted(Path(item.path, "notice").iterdir())
        }
        for item in host.catalog.deployments(ref)
    }


def test_every_version_but_the_active_one_has_a_notice(host: Host) -> None:
    assert notices(host) == {"1.0": {"updated": "2.0\n"}, "2.0": {}}
    rollback(PATTERN, host)
    assert notices(host) == {"1.0": {}, "2.0": {"updated": "1.0\n"}}


def test_a_switch_that_was_killed_is_told_of_by_the_next_command(host: Host) -> None:
    (ref,) = host.catalog.refs()
    target = host.catalog.version(ref, "1.0")
    with writing(host.layout) as writer:
        writer.note(ref, change("rollback", active=target.digest, version="1.0"))
        writer.activate(target)
    assert notices(host)["1.0"]
    recover_if_needed(host, silent)
    assert notices(host) == {"1.0": {}, "2.0": {"updated": "1.0\n"}}


def test_every_reader_may_read_a_notice(host: Host) -> None:
    (ref,) = host.catalog.refs()
    folder = Path(host.catalog.version(ref, "1.0").path, "notice")
    assert folder.stat().st_mode & 0o777 == 0o755
    assert (folder / "updated").stat().st_mode & 0o777 == 0o644


def test_a_notice_that_cannot_be_written_holds_nothing_up(host: Host) -> None:
    (ref,) = host.catalog.refs()
    folder = Path(host.catalog.version(ref, "2.0").path, "notice")
    (folder / "updated").mkdir()
    (folder / "updated/x").touch()
    assert rollback(PATTERN, host).after == "1.0"
    assert rollback(PATTERN, host).after == "2.0"


def test_a_notice_that_says_the_same_is_not_written_again(host: Host) -> None:
    (ref,) = host.catalog.refs()
    old = Path(host.catalog.version(ref, "1.0").path, "notice/updated")
    inode = old.stat().st_ino
    current = host.catalog.current(PATTERN)
    with writing(host.layout) as writer:
        writer.note(ref, change("activate", active=current.digest))
    recover_if_needed(host, silent)
    assert old.stat().st_ino == inode


def test_a_removed_version_s_notice_goes_with_it(host: Host) -> None:
    remove(PATTERN, host, version="1.0")
    assert notices(host) == {"2.0": {}}
