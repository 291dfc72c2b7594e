"""Whether an update asks for more than the version before it was allowed, and who agrees.

What is compared is what was signed: the release that is about to be deployed, and the active one.
"""

from collections.abc import Iterable, Iterator

from holdall.desktop.grants import HOST_FOLDERS
from holdall.errors import ConsentError
from holdall.journeys.installed import release_of
from holdall.journeys.trusting import TrustChoice
from holdall.model.manifest import Permissions
from holdall.model.ref import Ref
from holdall.store.catalog import Deployment

_SWITCHES = {
    "network": "use the network",
    "ipc": "share memory with other programs",
    "x11": "use the X11 display, and see what is on it",
    "wayland": "open windows (Wayland)",
    "pulseaudio": "play and record sound",
    "dri": "use the graphics hardware",
}
_BUSES = {
    "session_bus": "talk to {} on the session bus",
    "session_bus_own": "be {} on the session bus",
    "system_bus": "talk to {} on the system bus",
}
_HOME = "~"
_NONE, _READ, _WRITE = range(3)


def check_consent(
    active: Deployment, ref: Ref, version: str, wanted: Permissions, choice: TrustChoice
) -> None:
    """Raise ConsentError where a version asks for more than `active` has, unless that is allowed.

    Asks where somebody is there.
    """
    words = additional(allowed(active), wanted)
    if words and not choice.yes_permissions and not choice.consent(f"{ref.id} {version}", words):
        raise ConsentError(
            f"{ref.id} {version} asks for more than {active.version} was allowed: to "
            f"{', to '.join(words)}; `holdall update {ref} --yes-permissions` allows it."
        )


def allowed(deployment: Deployment) -> Permissions:
    """What a version is allowed; nothing for one that was spoiled on the disk."""
    release = release_of(deployment)
    return release.manifest.permissions if release else Permissions()


def additional(old: Permissions, new: Permissions) -> tuple[str, ...]:
    """What `new` lets an app do and `old` does not, in words that follow "to"."""
    return (*_switched_on(old, new), *_shown(old, new), *_reached(old, new))


def in_words(permissions: Permissions) -> tuple[str, ...]:
    """All that permissions let an app do."""
    return additional(Permissions(), permissions)


def _switched_on(old: Permissions, new: Permissions) -> Iterator[str]:
    for name, words in _SWITCHES.items():
        if getattr(new, name) and not getattr(old, name):
            yield words


def _shown(old: Permissions, new: Permissions) -> Iterator[str]:
    """Paths that can be seen or changed now; one may also be by a shorter list, without its :ro."""
    before, after = _entries(old.filesystem), _entries(new.filesystem)
    found = {path for path, _ in (*before, *after) if _mode(path, after) > _mode(path, before)}
    everywhere = found.issuperset(HOST_FOLDERS)
    for path in sorted(found.difference(HOST_FOLDERS if everywhere else ())):
        yield _told(_mode(path, after), "your home" if path == _HOME else path)
    if everywhere:
        yield _told(max(_mode(path, after) for path in HOST_FOLDERS), "the files of all users")


def _told(mode: int, name: str) -> str:
    return f"read and change {name}" if mode == _WRITE else f"read {name}"


def _entries(entries: Iterable[str]) -> list[tuple[str, int]]:
    """Paths and modes in the order in which the sandbox gets them, as in `desktop.grants`."""
    split = [
        (entry.partition(":")[0].rstrip("/") or "/", _READ if entry.endswith(":ro") else _WRITE)
        for entry in entries
    ]
    wide = [(path, mode) for word, mode in split if word == "host" for path in HOST_FOLDERS]
    wide += [(_HOME, mode) for word, mode in split if word == "host"]
    wide += [(_HOME, mode) for word, mode in split if word == "home"]
    return wide + [(word, mode) for word, mode in split if word not in {"host", "home"}]


def _mode(path: str, entries: Iterable[tuple[str, int]]) -> int:
    """What holds for a path: the last entry that names it or a folder above it."""
    above = {path}
    while path := _folder_of(path):
        above.add(path)
    return ([_NONE] + [mode for one, mode in entries if one in above])[-1]


def _folder_of(path: str) -> str:
    """The folder above; of the home and what users call theirs, where it usually is."""
    if "/" not in path:
        return HOST_FOLDERS[0] if path == _HOME else _HOME
    folder = path.rpartition("/")[0]
    return folder if folder or path == "/" else "/"


def _reached(old: Permissions, new: Permissions) -> Iterator[str]:
    for field, words in _BUSES.items():
        had = getattr(old, field)
        for name in getattr(new, field):
            if not any(_covers(one, name) for one in had):
                yield words.format(name)


def _covers(pattern: str, name: str) -> bool:
    return pattern == name or (pattern.endswith(".*") and name.startswith(pattern[:-1]))
