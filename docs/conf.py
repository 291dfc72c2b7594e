"""How Sphinx builds these pages, as HTML and as a man page."""

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
exclude_patterns = ["_build", "session"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "alabaster"
html_theme_options = {
    "description": "One signed bundle, every installed form",
    "fixed_sidebar": True,
    "page_width": "64rem",
}
html_show_sourcelink = False

man_pages = [("reference/cli", "holdall", "install, run and publish desktop apps", author, 1)]
man_show_urls = False
