"""How patient tests' clients are with servers.

No time is short enough for a server that never answers and long enough for one that answers on a
busy machine. So a test that is not about slowness is patient, and one that is says which slowness.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from holdall.delivery.remote.connections import Timing
from holdall.delivery.remote.http import HttpTransport

GENEROUS = Timing(tries=2, pause=0.001, longest_pause=0.1)
"""As long as for people: for servers that answer, rightly or not."""

HASTY = GENEROUS._replace(answer=0.2)
"""For servers that fall silent. Good ones may be given up, too, if the machine is busy."""

STRICT = GENEROUS._replace(window=0.3)
"""For servers that send next to nothing. Good ones may be given up, too, if the machine is busy."""


@contextmanager
def clients(timing: Timing) -> Iterator[None]:
    """Have the clients that commands make meanwhile be so patient."""
    defaults = HttpTransport.__init__.__kwdefaults__
    assert defaults
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(defaults, "timing", timing)
        yield
