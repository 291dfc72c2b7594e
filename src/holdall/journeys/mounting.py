"""Making the files of installed versions readable: for one app that starts, or for everybody.

On the start path of apps that have to be mounted: imports as little as can be.
"""

from holdall.desktop.start import must_be_mounted
from holdall.errors import UnsupportedError
from holdall.journeys import bundling
from holdall.journeys.host import Host
from holdall.model.ref import Ref
from holdall.store.catalog import Deployment
from holdall.store.layout import PASSING
from holdall.store.steady import steadily
from holdall.system.means import Means
from holdall.system.mounting import Answered, Mount, ServedImage, perform
from holdall.system.namespace import leave_host


def enter(host: Host, deployment: Deployment) -> None:
    """Mount what an app and its runtime need, where this process and those after it see it.

    Without anything to mount nothing is changed. Raises UnsupportedError with what would help,
    CorruptError, ProgramError, and what `steadily` raises.
    """
    steadily(deployment, lambda: _enter(host, deployment))


def _enter(host: Host, deployment: Deployment) -> None:
    runtime = _runtime_of(host, deployment)
    if runtime is None:
        _mount_all(host, deployment)
    else:
        steadily(runtime, lambda: _mount_all(host, deployment, runtime))


def _mount_all(host: Host, *deployments: Deployment) -> None:
    needed = [one for one in deployments if must_be_mounted(one.path)]
    means = Means(host.layout.root)
    means.user_namespaces = True  # there will be one, or none is needed
    # asked before leaving: a volume that all apps share is mounted for the host
    found = [(mount_of(host, one, means), one.files) for one in needed]
    mounts = [(mount, files) for mount, files in found if mount is not None]
    if mounts:
        try:
            leave_host()
        except UnsupportedError as error:
            _pass_on(mounts, error)
            return
    for mount, files in mounts:
        perform(mount, files)


def _pass_on(mounts: list[tuple[Mount, str]], reason: UnsupportedError) -> None:
    """Have mounted for all of this user's processes what none can be for one app alone."""
    from holdall.system.passing import Passing, pass_on

    passing = [
        Passing(mount, files.removesuffix("/files"), PASSING)
        for mount, files in mounts
        if isinstance(mount, ServedImage | Answered)
    ]
    if len(passing) < len(mounts):
        raise reason
    try:
        pass_on(passing)
    except UnsupportedError as error:
        raise UnsupportedError(f"{reason} Nor is there another way: {error}") from reason


def mount_of(host: Host, deployment: Deployment, means: Means) -> Mount | None:
    """The mount that makes a deployment's files readable, None where they are without."""
    from holdall.forms.port import Place
    from holdall.forms.table import form_named

    record = deployment.record
    place = Place(host.layout.root, deployment.path, record, bundling)
    return form_named(record["form"]).mount(place, means)


def _runtime_of(host: Host, deployment: Deployment) -> Deployment | None:
    runtime = str(deployment.facts()["manifest"].get("runtime", ""))
    return host.catalog.active(Ref.parse(runtime)) if "/" in runtime else None
