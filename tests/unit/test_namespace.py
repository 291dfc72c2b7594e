"""Leaving the host's mounts, where that may be forbidden half way."""

import os
from pathlib import Path

import pytest

from holdall.errors import UnsupportedError
from holdall.system import namespace


def test_a_namespace_without_rights_is_not_entered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restriction = tmp_path / "apparmor_restrict_unprivileged_userns"
    restriction.write_text("1\n")
    monkeypatch.setattr(namespace, "_RESTRICTION", str(restriction))
    monkeypatch.setattr(namespace, "may_enter", lambda: False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    before = Path("/proc/self/ns/user").readlink()
    with pytest.raises(UnsupportedError, match="apparmor_restrict_unprivileged_userns"):
        namespace.leave_host()
    assert Path("/proc/self/ns/user").readlink() == before
