"""Reading what lies in a form that has to be mounted."""

from types import TracebackType

from holdall.errors import UnsupportedError
from holdall.forms.port import Form, Place
from holdall.system.means import Means


class Views:
    """Folders with the files of deployments, each mounted once, until this is closed."""

    def __enter__(self) -> "Views":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def folder(self, place: Place, form: Form, means: Means) -> str:
        """A folder with the files of what lies at `place`."""
        if form.mount(place, means) is None:
            return place.files
        raise UnsupportedError(f"{form.TRAITS.name} cannot be read yet.")

    def close(self) -> None:
        """Unmount all."""
