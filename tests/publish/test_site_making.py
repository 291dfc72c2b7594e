"""`repo site` over a repository: what is written, left alone, removed; and the catalogue."""

import gzip
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bundles import snapshot
from holdall.errors import NotFoundError, UsageError
from holdall.journeys.host import Event
from repositories import Station
from storefront import CHESS, MINES, add_app, app_page, make, page
from surroundings import HoldallCli, Require, run


@pytest.fixture
def station(tmp_path: Path) -> Station:
    """A repository with two apps, published."""
    station = Station(tmp_path)
    add_app(station)
    add_app(station, MINES, name="Mines", summary="Do not step on them")
    station.publish()
    return station


def pages(station: Station) -> dict[str, object]:
    """The files of the pages and when each was written."""
    return {
        str(path.relative_to(station.path)): path.stat().st_mtime_ns
        for top in ("index.html", "add.html", "apps", "browse", "site", "appstream")
        for path in [station.path / top, *(station.path / top).rglob("*")]
        if path.is_file()
    }


def catalogue(station: Station) -> ElementTree.Element:
    data = gzip.decompress((station.path / "appstream/catalogue.xml.gz").read_bytes())
    assert data == (station.path / "appstream/catalogue.xml").read_bytes()
    return ElementTree.fromstring(data)  # noqa: S314 - our own


def test_pages_show_what_bundles_have(station: Station) -> None:
    made = make(station)
    assert (made.apps, made.made) == (2, 2)
    shown = app_page(station)
    for said in ("Play the game of kings", "The Chess Makers", "<em>patience</em>", "GPL-3.0"):
        assert said in shown
    assert (station.path / f"apps/{CHESS}/icon.png").read_bytes().startswith(b"\x89PNG")
    assert "Do not step on them" in page(station)


def test_what_is_not_published_is_not_shown(station: Station) -> None:
    add_app(station, version="2.0", summary="Play it faster")
    make(station)
    assert "Play it faster" not in app_page(station)
    station.publish()
    make(station)
    assert "Play it faster" in app_page(station)


def test_nothing_is_touched_when_nothing_changed(station: Station) -> None:
    make(station)
    before = pages(station)
    made = make(station)
    assert (made.made, made.written, made.removed) == (0, 0, 0)
    assert pages(station) == before


def test_only_what_changed_is_made_anew(station: Station) -> None:
    make(station)
    before = pages(station)
    add_app(station, version="2.0")
    station.publish()
    assert make(station).made == 1
    changed = {name for name, time in pages(station).items() if before.get(name) != time}
    assert f"apps/{CHESS}/index.html" in changed
    assert f"apps/{MINES}/index.html" not in changed


def test_bundles_are_read_once(station: Station) -> None:
    make(station)
    told: list[Event] = []
    for path in (station.path / "content").rglob("*.holdall"):
        path.unlink()
    make(station, told.append, title="Another title")
    assert "Another title" in app_page(station)
    assert "The Chess Makers" in app_page(station)
    assert not [event for event in told if event.loud]


def test_pages_that_were_deleted_come_back(station: Station) -> None:
    make(station)
    (station.path / f"apps/{CHESS}/index.html").unlink()
    (station.path / "site/style.css").unlink()
    assert make(station).written == 2


def test_pages_of_an_app_that_is_gone_are_removed(station: Station) -> None:
    make(station)
    from holdall.publish.repository.offers import empty
    from holdall.publish.repository.pending import Pending

    kept = station.path / f"apps/{MINES}.txt"
    kept.write_text("mine")
    Pending(station.layout).put_offer(empty(MINES))
    station.publish()
    made = make(station)
    assert (made.apps, made.removed > 0) == (1, True)
    assert not (station.path / f"apps/{MINES}").exists()
    assert kept.exists()
    assert "Mines" not in page(station)


def test_a_page_of_somebody_else_is_not_written_over(station: Station) -> None:
    (station.path / "index.html").write_text("my own page")
    before = snapshot(station.path)
    with pytest.raises(UsageError, match=r"index\.html was not made by"):
        make(station)
    lock = str(station.path / ".holdall/lock")
    assert snapshot(station.path).keys() - {lock} == before.keys() - {lock}
    assert page(station) == "my own page"


def test_pages_can_go_elsewhere(station: Station, tmp_path: Path) -> None:
    before = snapshot(station.path, without=(station.path / ".holdall",))
    with pytest.raises(UsageError, match="--base-url"):
        make(station, out=str(tmp_path / "public"))
    made = make(station, out=str(tmp_path / "public"), address="https://apps.example")
    assert made.path == str(tmp_path / "public")
    assert (tmp_path / "public/index.html").exists()
    assert snapshot(station.path, without=(station.path / ".holdall",)) == before


def test_the_repository_is_as_good_as_before(station: Station) -> None:
    make(station)
    assert station.versions() == []
    assert station.versions(CHESS) == ["1.0"]


def test_pictures_beside_the_pages_are_shown_instead_of_those_elsewhere(station: Station) -> None:
    folder = station.path / f"media/{CHESS}"
    folder.mkdir(parents=True)
    (folder / "board.png").write_bytes(b"")
    (folder / "a'b.png").write_bytes(b"")
    make(station)
    assert f"media/{CHESS}/board.png" in app_page(station)
    assert "pictures.invalid" not in app_page(station)
    assert "a'b" not in app_page(station)


def test_an_address_that_is_none_is_refused(station: Station) -> None:
    for address in ("javascript:alert(1)", "ftp://example.org", "https://a.example/?x"):
        with pytest.raises(UsageError):
            make(station, address=address)
    with pytest.raises(UsageError):
        make(station, name="a b")


def test_a_folder_that_is_no_repository_is_refused(tmp_path: Path) -> None:
    from holdall.journeys.site import make_site

    with pytest.raises(NotFoundError):
        make_site(str(tmp_path))
    assert not list(tmp_path.iterdir()) or [path.name for path in tmp_path.iterdir()] == ["home"]


def test_metainfo_that_cannot_be_read_is_told_of_and_left_out(tmp_path: Path) -> None:
    station = Station(tmp_path)
    # build refuses entities, but not markup that is none of AppStream's
    add_app(
        station, metainfo='<component><?xml-stylesheet href="x"?><name>{name}!</name></component>'
    )
    station.publish()
    told: list[Event] = []
    make(station, told.append)
    assert [event for event in told if event.loud and "metainfo" in event.text]
    assert "Play the game of kings" in app_page(station)


def test_a_drawing_with_a_script_is_told_of_and_not_handed_out(tmp_path: Path) -> None:
    station = Station(tmp_path)
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    path = f"share/icons/hicolor/scalable/apps/{CHESS}.svg"
    station.add(station.bundle(app=CHESS, files={"bin/editor": b"#!/bin/sh\n", path: svg}))
    station.publish()
    told: list[Event] = []
    make(station, told.append)
    assert [event.text for event in told if event.loud] == [
        f"WARNING: The icon {path} has the element 'script'."
    ]
    assert sorted(file.name for file in (station.path / f"apps/{CHESS}").iterdir()) == [
        "index.html"
    ]


def test_a_bundle_that_is_gone_is_told_of(station: Station) -> None:
    for path in (station.path / "content").rglob("*.holdall"):
        path.unlink()
    told: list[Event] = []
    assert make(station, told.append).apps == 2
    assert len([event for event in told if event.loud]) == 2
    assert "Play the game of kings" in app_page(station)


def test_a_damaged_state_is_made_anew(station: Station) -> None:
    make(station)
    before = pages(station)
    (station.path / ".holdall/site").write_bytes(b"\x93\x01garbage")
    for path in (station.path / ".holdall/site-cache").rglob("*"):
        if path.is_file():
            path.write_bytes(b"garbage")
    made = make(station)
    assert (made.made, made.written) == (2, 0)
    assert pages(station) == before


def test_a_state_that_names_other_files_removes_none_of_them(
    station: Station, tmp_path: Path
) -> None:
    from holdall.publish.site.folder import Folder

    victim = tmp_path / "victim"
    victim.write_text("x")
    folder = Folder(str(station.path), {})
    folder.drop(
        ["apps/../../victim", "../victim", str(victim), "root.json", "metadata/timestamp.json"]
    )
    assert victim.exists()
    assert (station.path / "root.json").exists()
    assert folder.removed == 0


def test_the_catalogue_has_what_metainfo_says(station: Station) -> None:
    make(station, address="https://apps.example/repo")
    (component,) = [one for one in catalogue(station) if one.findtext("id") == CHESS]
    assert component.get("type") == "desktop-application"
    assert [name.text for name in component.findall("name")] == ["Chess", "Chess auf Deutsch"]
    assert component.findtext("launchable") == f"{CHESS}.desktop"
    assert {node.text for node in component.iter("category")} == {"Game", "BoardGame"}
    assert component.findtext("icon") == f"https://apps.example/repo/apps/{CHESS}/icon.png"
    values = {node.get("key"): node.text for node in component.iter("value")}
    assert values["holdall::ref"] == f"{CHESS}/x86_64/stable"
    assert values["holdall::repository"] == "https://apps.example/repo/"


def test_an_app_without_metainfo_is_described_by_its_manifest(tmp_path: Path) -> None:
    station = Station(tmp_path)
    station.add(station.bundle(about={"name": "Editor", "summary": "Edit", "license": "MIT"}))
    station.publish()
    make(station)
    (component,) = catalogue(station)
    assert component.get("type") == "console-application"
    assert (component.findtext("name"), component.findtext("summary")) == ("Editor", "Edit")


@pytest.mark.integration
def test_appstreamcli_finds_the_catalogue_right(station: Station, require: Require) -> None:
    station.add(station.bundle(about={"name": "Editor", "summary": "Edit text", "license": "MIT"}))
    station.publish()
    make(station, address="https://apps.example/")
    for name in ("catalogue.xml", "catalogue.xml.gz"):
        path = station.path / "appstream" / name
        done = run([require("appstreamcli"), "validate", "--no-net", path], environment={})
        assert done.returncode == 0, done.stdout
        assert not re.search(r"^[EW]:", done.stdout, re.MULTILINE)


@pytest.mark.integration
def test_the_command_says_what_it_did(station: Station, holdall_cli: HoldallCli) -> None:
    said = holdall_cli("repo", "site", station.path, "--title", "Mine").stdout
    assert "pages of 2 apps, 2 of them made anew" in said
    answer = holdall_cli.json("repo", "site", station.path, "--title", "Mine")
    assert isinstance(answer, dict)
    assert (answer["made"], answer["written"]) == (0, 0)
