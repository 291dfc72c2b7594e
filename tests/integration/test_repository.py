"""A repository from the command line: made, filled, published, handed on."""

import json
from pathlib import Path

import pytest

from sample_app import APP, Bundles
from surroundings import HoldallCli


@pytest.fixture
def repository(holdall_cli: HoldallCli, tmp_path: Path) -> Path:
    holdall_cli("repo", "init", tmp_path / "repository")
    return tmp_path / "repository"


def test_one_command_makes_a_repository_and_keys_beside_ones_own(
    holdall_cli: HoldallCli, tmp_path: Path, isolated_home: Path
) -> None:
    made = holdall_cli.json("repo", "init", tmp_path / "repository")
    assert isinstance(made, dict)
    keys = Path(made["keys"])
    assert keys.parent.name == "repositories"
    assert keys.is_relative_to(isolated_home)
    assert keys.name == made["fingerprint"][:16]
    again = holdall_cli("repo", "init", tmp_path / "repository", expect=2)
    assert "is a repository already" in again.stderr


def test_releases_are_added_published_and_listed(
    holdall_cli: HoldallCli, repository: Path, bundles: Bundles
) -> None:
    added = holdall_cli("repo", "add", repository, bundles.bundle("1.0"), bundles.bundle("2.0"))
    assert f"Added {APP}/" in added.stdout
    assert "repo publish" in added.stdout
    states = [state(holdall_cli, repository)]
    assert f"Published {APP}." in holdall_cli("repo", "publish", repository).stdout
    holdall_cli("repo", "add", repository, bundles.bundle("3.0"))
    states.append(state(holdall_cli, repository))
    holdall_cli("repo", "publish", repository)
    states.append(state(holdall_cli, repository))
    assert states == [("2.0", 2, "new"), ("3.0", 3, "changed"), ("3.0", 3, "")]
    idle = holdall_cli("repo", "publish", repository)
    assert "Nothing waits" in idle.stdout
    again = holdall_cli("repo", "add", repository, bundles.bundle("3.0"))
    assert "is there already" in again.stdout


def state(cli: HoldallCli, repository: Path) -> tuple[str, int, str]:
    rows = cli.json("repo", "list", repository)
    assert isinstance(rows, list)
    (row,) = rows
    return row["version"], row["releases"], row["waiting"]


def test_increments_are_made_by_whoever_signed(
    holdall_cli: HoldallCli, repository: Path, bundles: Bundles
) -> None:
    holdall_cli("repo", "add", repository, bundles.bundle("1.0"), bundles.bundle("2.0"))
    refused = holdall_cli("repo", "delta", repository, expect=3)
    assert "no signing key yet" in refused.stderr
    holdall_cli("key", "generate")
    refused = holdall_cli("repo", "delta", repository, expect=4)
    assert "only their publishers" in refused.stderr


def test_keys_change_and_what_waits_is_said(holdall_cli: HoldallCli, repository: Path) -> None:
    rotated = holdall_cli("repo", "key", repository, "rotate", "timestamp")
    assert "root 2 is signed" in rotated.stdout
    assert "root 2, " in holdall_cli("repo", "publish", repository).stdout.replace(".", ", ")
    rows = holdall_cli.json("repo", "key", repository, "list")
    assert isinstance(rows, dict)
    assert [row["role"] for row in rows["keys"]] == [
        "root",
        "targets",
        "snapshot",
        "timestamp",
        "apps",
    ]
    assert all(Path(row["path"]).is_file() for row in rows["keys"])
    last = next(row["keyid"] for row in rows["keys"] if row["role"] == "root")
    refused = holdall_cli("repo", "key", repository, "remove", "root", last, expect=2)
    assert "add a key or lower the threshold" in refused.stderr


def test_a_publisher_signs_its_part_on_a_mirror_and_the_operator_takes_it_in(
    holdall_cli: HoldallCli, repository: Path, bundles: Bundles, tmp_path: Path
) -> None:
    publisher = ("--root", tmp_path / "publisher")
    holdall_cli(*publisher, "key", "generate")
    holdall_cli(*publisher, "key", "export", "-o", tmp_path / "acme.pub")
    key = ("--key", tmp_path / "acme.pub")
    holdall_cli("repo", "key", repository, "delegate", "acme", "org.example.*", *key)
    waiting = holdall_cli("repo", "publish", repository)
    assert "waits for what it signs" in waiting.stderr
    copy = tmp_path / "copy"
    root = ("--trust-root", repository / "root.json")
    holdall_cli(*publisher, "repo", "mirror", repository, copy, *root)
    holdall_cli(*publisher, "repo", "add", copy, bundles.bundle("1.0"))
    signed = holdall_cli(*publisher, "repo", "publish", copy, "--role", "acme")
    assert "  metadata/1.acme.json" in signed.stdout.splitlines()
    for path in [path for path in copy.rglob("*") if path.is_file()]:
        target = repository / path.relative_to(copy)
        if not target.exists() and ".holdall" not in path.parts:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    published = holdall_cli("repo", "publish", repository)
    assert f"Published {APP}." in published.stdout
    shown = holdall_cli("repo", "show", repository, APP)
    assert "in acme:" in shown.stdout
    machine = ("--root", tmp_path / "machine")
    fingerprint = holdall_cli.json("repo", "show", repository)
    assert isinstance(fingerprint, dict)
    holdall_cli(
        *(*machine, "remote", "add", "main", repository, "--root", fingerprint["fingerprint"])
    )
    holdall_cli(*machine, "install", APP)


def test_a_mirror_serves_a_machine_without_a_network(
    holdall_cli: HoldallCli, repository: Path, bundles: Bundles, tmp_path: Path
) -> None:
    holdall_cli("repo", "add", repository, bundles.bundle("1.0"))
    holdall_cli("repo", "publish", repository)
    shown = holdall_cli.json("repo", "show", repository)
    assert isinstance(shown, dict)
    stick = tmp_path / "stick"
    fingerprint = shown["fingerprint"]
    made = holdall_cli("repo", "mirror", repository, stick, APP, "--trust-root", fingerprint)
    assert fingerprint in made.stdout
    repository.rename(tmp_path / "away")
    machine = ("--root", tmp_path / "machine")
    holdall_cli(*machine, "remote", "add", "stick", stick, "--root", fingerprint)
    holdall_cli(*machine, "install", APP)
    listed = json.loads(holdall_cli(*machine, "--json", "list").stdout)
    assert [row["version"] for row in listed] == ["1.0"]


def test_what_is_no_repository_is_said_in_one_sentence(
    holdall_cli: HoldallCli, tmp_path: Path, bundles: Bundles
) -> None:
    for words in (
        ("add", tmp_path, bundles.bundle("1.0")),
        ("publish", tmp_path),
        ("delta", tmp_path),
        ("list", tmp_path),
        ("show", tmp_path),
        ("gc", tmp_path),
        ("key", tmp_path, "list"),
    ):
        failed = holdall_cli("repo", *words, expect=3)
        assert failed.stderr.count("\n") == 1
        assert "`holdall repo init" in failed.stderr or "signing key" in failed.stderr
