"""What a manifest's permissions come to, without starting anything."""

from collections.abc import Sequence

import msgspec
import pytest

from deployed import app, tree_of
from holdall.desktop.sandbox import Place, Sandbox, host_root, plan, runtime_arguments
from holdall.errors import UsageError
from holdall.model.manifest import Manifest

PLACE = Place("/store", "/store/deployments/x")


def planned(files: Sequence[str] = (), *, command: str = "sh", **fields: object) -> Sandbox:
    manifest = msgspec.convert(app(command, **fields), Manifest)
    return plan(manifest, tree_of(dict.fromkeys(files, b"")), PLACE, host_root({"/bin": "usr/bin"}))


def variables(sandbox: Sandbox) -> dict[str, str]:
    """The variables that are always set."""
    fixed = sandbox.fixed
    return {fixed[at + 1]: fixed[at + 2] for at in range(len(fixed)) if fixed[at] == "--setenv"}


def test_nothing_is_shared_unless_it_is_permitted() -> None:
    fixed = planned().fixed
    for name in ("user-try", "pid", "net", "ipc", "uts", "cgroup-try"):
        assert f"--unshare-{name}" in fixed
    assert {"--die-with-parent", "--clearenv"} < set(fixed)
    assert fixed[fixed.index("--cap-drop") + 1] == "ALL"
    assert not {"/dev/dri", "/sys/dev", "/etc/resolv.conf", "/etc", "/home", "/"} & set(fixed)


@pytest.mark.parametrize(
    ("permission", "gone", "there"),
    [
        ("network", "--unshare-net", "/etc/resolv.conf"),
        ("ipc", "--unshare-ipc", "--unshare-net"),
        ("dri", "", "/dev/dri"),
    ],
)
def test_a_permission_opens_one_thing(permission: str, gone: str, there: str) -> None:
    fixed = planned(permissions={permission: True}).fixed
    assert gone not in fixed
    assert there in fixed


def test_no_message_bus_without_names() -> None:
    assert planned().buses == ()
    permissions = {"session-bus": ["org.x.Y"], "session-bus-own": ["org.x.Me.*"]}
    (bus,) = planned(permissions=permissions).buses
    assert bus.rules == ("--talk=org.x.Y", "--own=org.x.Me.*")


def test_an_app_that_exports_a_service_may_own_its_name() -> None:
    service = "share/dbus-1/services/org.example.Editor.service"
    (bus,) = planned(exports={"dbus-services": [service]}).buses
    assert bus.rules == ("--own=org.example.Editor", "--own=org.example.Editor.*")


def test_library_path_has_only_folders_that_are_there_and_no_empty_element() -> None:
    assert "LD_LIBRARY_PATH" not in variables(planned())
    found = variables(planned(["lib/x86_64-linux-gnu/libx.so"]))
    assert found["LD_LIBRARY_PATH"] == "/app/lib:/app/lib/x86_64-linux-gnu"
    with pytest.raises(UsageError, match="empty element"):
        planned(environment={"LD_LIBRARY_PATH": "/app/lib:"})


def test_the_manifest_s_variables_stand_over_ours() -> None:
    sandbox = planned(environment={"LANG": "C", "PATH": "/app/other", "HOME": "/app"})
    assert variables(sandbox)["PATH"] == "/app/other"
    names = {item.when.name for item in sandbox.items if hasattr(item, "when")}
    assert "LANG" not in names
    assert ("HOME",) not in sandbox.items


@pytest.mark.parametrize(
    ("command", "files", "expected"),
    [
        ("edit --new", ["bin/edit"], ("/app/bin/edit", "--new")),
        ("edit", [], ("edit",)),
        ("lib/run me", [], ("/app/lib/run", "me")),
        ("/usr/bin/edit", ["bin/edit"], ("/usr/bin/edit",)),
    ],
)
def test_commands_are_looked_for_in_the_app_first(
    command: str, files: list[str], expected: tuple[str, ...]
) -> None:
    assert planned(files, command=command).command == expected


@pytest.mark.parametrize(
    "path",
    [
        *("/", "//", "/usr", "/usr/share", "//usr", "/app/x", "/etc", "/proc", "/dev/mem", "/sys"),
        *("/run/holdall", "/lib64", "xdg-nonsense", "xdg-nonsense/x"),
    ],
)
def test_folders_of_the_sandbox_itself_cannot_be_granted(path: str) -> None:
    with pytest.raises(UsageError, match=r"grant|filesystem"):
        planned(permissions={"filesystem": [path]})


def test_a_runtime_brings_its_usr_its_links_and_its_etc() -> None:
    tree = tree_of(dict.fromkeys(["bin/sh", "lib64/ld.so", "etc/fonts/x", "etc/passwd"], b""))
    arguments = runtime_arguments(tree, PLACE)
    text = " ".join(arguments)
    assert "--ro-bind /store/deployments/x/files /usr" in text
    assert "--symlink usr/bin /bin --symlink usr/lib64 /lib64" in text
    assert "--symlink /usr/etc/fonts /etc/fonts" in text
    assert "--lock-file /run/holdall/runtime-lease" in text
    assert "passwd" not in text
    assert "usr/sbin" not in text
