"""Apps with something to show, for tests of a repository's pages: pictures, metainfo, bundles."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from holdall.journeys.host import Event
from holdall.journeys.site import SiteMade, SiteOptions, make_site
from repositories import Station

CHESS = "org.example.Chess"
MINES = "org.example.Mines"

METAINFO = """<?xml version="1.0" encoding="UTF-8"?>
<component type="desktop-application">
  <id>{id}</id>
  <name>{name}</name>
  <name xml:lang="de">{name} auf Deutsch</name>
  <summary>{summary}</summary>
  <metadata_license>CC0-1.0</metadata_license>
  <project_license>GPL-3.0-or-later</project_license>
  <developer id="org.example"><name>The {name} Makers</name></developer>
  <description>
    <p>A game of <em>patience</em> for those who have none, made with <code>care</code>.</p>
    <p xml:lang="de">Ein Spiel für Leute ohne Geduld, die trotzdem gern geduldig wären.</p>
    <ul><li>Black pieces</li><li>White pieces</li></ul>
  </description>
  <categories><category>Game</category></categories>
  <keywords><keyword>castling</keyword></keywords>
  <url type="homepage">https://{id}.invalid/</url>
  <launchable type="desktop-id">{id}.desktop</launchable>
  <screenshots>
    <screenshot type="default">
      <caption>The board</caption>
      <image width="800" height="600">https://pictures.invalid/{id}.png</image>
    </screenshot>
  </screenshots>
  <content_rating type="oars-1.1"/>
  <releases>
    <release version="1.0" date="2026-01-15"><description><p>It begins.</p></description></release>
  </releases>
</component>
"""
DESKTOP = """[Desktop Entry]
Type=Application
Name={name}
Comment={summary}
Exec=editor
Icon={id}
Categories=Game;BoardGame;
Keywords=queen;king;
"""


def png(side: int = 64, colour: bytes = b"\x1f\x9c\x86") -> bytes:
    """A square picture of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = (b"\0" + colour * side) * side
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def app_files(
    app_id: str, name: str, summary: str, *, metainfo: str = METAINFO, version: str = "1.0"
) -> dict[str, bytes]:
    """What an app has that shows itself."""
    words = {"id": app_id, "name": name, "summary": summary}
    return {
        "bin/editor": f"#!/bin/sh\necho {version}\n".encode(),
        f"share/applications/{app_id}.desktop": DESKTOP.format(**words).encode(),
        f"share/icons/hicolor/64x64/apps/{app_id}.png": png(),
        f"share/metainfo/{app_id}.metainfo.xml": metainfo.format(**words).encode(),
    }


def add_app(
    station: Station,
    app_id: str = CHESS,
    *,
    version: str = "1.0",
    name: str = "Chess",
    summary: str = "Play the game of kings",
    metainfo: str = METAINFO,
    **fields: object,
) -> Path:
    """Add a version of an app to the repository, to be published."""
    files = app_files(app_id, name, summary, metainfo=metainfo, version=version)
    about = {"name": name, "summary": summary, "developer": "Somebody", "license": "MIT"}
    fields = {"about": about, "created": f"2026-0{version[0]}-15T12:00:00+00:00", **fields}
    bundle = station.bundle(version, app=app_id, files=files, **fields)  # type: ignore[arg-type]  # passed on
    station.add(bundle)
    return bundle


def make(
    station: Station, report: Callable[[Event], None] = lambda _event: None, **options: str
) -> SiteMade:
    """`repo site`."""
    chosen = {"title": "Test Apps", **options}
    return make_site(str(station.path), SiteOptions(**chosen), report)  # type: ignore[arg-type]  # passed on


def page(station: Station, name: str = "index.html") -> str:
    """A file of the pages, as text."""
    return (station.path / name).read_text(encoding="utf-8")


def app_page(station: Station, app_id: str = CHESS) -> str:
    """An app's page."""
    return page(station, f"apps/{app_id}/index.html")
