"""The disks that one data set's measurements start from, made when first wanted."""

from pathlib import Path

from benchmarks.contenders import Contender, Verb
from benchmarks.data import Release
from benchmarks.laboratory import Laboratory, Trial, say


class Stage:
    """A data set's old and new release, published as needed, and images with them on offer."""

    def __init__(self, laboratory: Laboratory, releases: tuple[Release, ...]) -> None:
        self.laboratory = laboratory
        self.old = releases[0]
        self.new = releases[-1]
        self.dataset = self.old.dataset
        self._images: dict[str, Path] = {}

    def empty(self, contender: Contender, release: Release) -> Path:
        """An empty store that can install the release."""
        return self._image(f"{contender.name}-empty-{release.version}", contender, release, None)

    def installed(self, contender: Contender) -> Path:
        """A store with the old release installed and the new one on offer."""
        return self._image(f"{contender.name}-installed", contender, self.old, self.new)

    def baseline(self, release: Release) -> Trial:
        """The extraction that every ratio is taken to."""
        tar = self.laboratory.peers[0]
        return Trial(self.empty(tar, release), lambda root: tar.plan(Verb.INSTALL, release, root))

    def strike(self) -> None:
        """Free the memory the images take."""
        for image in self._images.values():
            image.unlink()
        self._images.clear()

    def _image(self, name: str, contender: Contender, first: Release, then: Release | None) -> Path:
        laboratory = self.laboratory

        def fill(root: Path) -> None:
            verbs = [(Verb.PREPARE, first), (Verb.OFFER, first)]
            if then is not None:
                verbs += [(Verb.INSTALL, first), (Verb.OFFER, then)]
            for verb, release in verbs:
                laboratory.runner.run(contender.plan(verb, release, root))

        if name not in self._images:
            for release in filter(None, (first, then)):
                laboratory.publication(contender, release)
            say(f"prepare a disk: {self.dataset}, {name}")
            self._images[name] = laboratory.disks.image(name, fill)
        return self._images[name]
