"""``python -m holdall`` is the command ``holdall``."""

from holdall.cli.main import entry

entry()
