"""How Sphinx builds these pages; the man page comes from scripts/docs."""

import re
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src/holdall/__init__.py"
VERSION = re.search(r'__version__ = "(.+)"', SOURCE.read_text(encoding="utf-8"))

project = "holdall"
author = "the holdall authors"
copyright = f"2026, {author}"
release = version = VERSION[1] if VERSION else "unknown"

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "man", "session"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "alabaster"
html_theme_options = {
    "description": "One signed bundle, every installed form",
    "fixed_sidebar": True,
    "page_width": "64rem",
}
html_show_sourcelink = False
