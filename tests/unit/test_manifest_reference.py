"""The manifest's reference page names every field there is."""

from pathlib import Path

import msgspec
import pytest

from holdall.model.manifest import About, Exports, Manifest, Permissions, parse_toml

PAGE = Path(__file__).parent.parent.parent / "docs/reference/manifest.md"


@pytest.mark.parametrize("table", [Manifest, Permissions, Exports, About])
def test_the_reference_names_every_field(table: type[msgspec.Struct]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    fields = {field.encode_name for field in msgspec.structs.fields(table)}
    assert not {name for name in fields if f"`{name}`" not in page and f"`[{name}]`" not in page}


def test_the_example_is_a_manifest() -> None:
    page = PAGE.read_text(encoding="utf-8")
    example = page.split("```toml\n")[1].split("```")[0]
    assert parse_toml(example).id == "org.example.Editor"
