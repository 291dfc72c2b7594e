"""The forms by name. A module is imported when its form is used."""

from importlib import import_module
from typing import cast

from holdall.errors import UsageError
from holdall.forms.port import Form

DEFAULT = "tree"
FORMS = {
    "tree": "tree",
    "pool": "pool",
    "image": "image",
    "local-image": "local_image",
    "btrfs": "btrfs",
    "composefs": "composefs",
    "live": "live",
}


def form_named(name: str) -> Form:
    """The form of that name; raises UsageError."""
    if name not in FORMS:
        raise UsageError(f"There is no form {name!r}; `holdall forms` shows {', '.join(FORMS)}.")
    return cast("Form", import_module(f"holdall.forms.{FORMS[name]}"))
