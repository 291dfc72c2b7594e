"""The files of what is installed in whatever form, as a folder to be read."""

from collections.abc import Iterator
from contextlib import contextmanager

from holdall.forms.viewing import Views
from holdall.journeys.forming import folder_of
from holdall.journeys.host import Host
from holdall.store.catalog import Deployment


@contextmanager
def reading(host: Host, item: Deployment) -> Iterator[str]:
    """A folder with a deployment's files, for a while."""
    with Views() as views:
        yield folder_of(host, item, views)
