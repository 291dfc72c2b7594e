"""holdall: one signed bundle, every installed form.

The journeys are the Python interface: ``holdall.build``, ``holdall.install`` and so on, each
imported when it is first asked for. They take a `Host` (``holdall.user_host()`` and its like),
report `Event`s and raise ``holdall.errors``.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_INTERFACE = {
    "Event": "host",
    "Host": "host",
    "root_host": "host",
    "system_host": "host",
    "user_host": "host",
    "TrustChoice": "trusting",
    "BuildOptions": "build",
    "build": "build",
    "inspect": "inspect",
    "install": "install",
    "remove": "switch",
    "rollback": "switch",
    "listing": "listing",
    "info": "listing",
    "add_remote": "remotes",
    "remotes": "remotes",
    "show_remote": "remotes",
    "move_remote": "remotes",
    "remove_remote": "remotes",
    "search": "searching",
    "Request": "updating",
    "install_refs": "updating",
    "update_refs": "updating",
    "updates": "updating",
    "offered": "updating",
    "verify": "verify",
    "repair": "repair",
    "collect": "cleanup",
    "export": "exporting",
    "unexport": "exporting",
    "generate": "keys",
    "signing_key": "keys",
    "trust": "keys",
    "revoke": "keys",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the names above, each with a type of its own
    if name not in _INTERFACE:
        raise AttributeError(f"module 'holdall' has no attribute {name!r}")
    return getattr(importlib.import_module(f"holdall.journeys.{_INTERFACE[name]}"), name)
