import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from benchmarks import forms_page
from benchmarks.contenders import Verb
from benchmarks.data import Release
from benchmarks.errors import BenchmarkError
from benchmarks.forms import rows_of
from benchmarks.forms_goals import changed_pages, off, sharing
from benchmarks.forms_measures import CACHE, DISK, MEASURES, TIMES
from benchmarks.forms_peers import peers
from benchmarks.forms_rounds import check
from benchmarks.forms_stock import place
from benchmarks.forms_ways import Lodging, lodgings
from benchmarks.pagecache import PAGE, own_pages
from benchmarks.reading import Reading, read_all
from benchmarks.results import Report, save
from benchmarks.space import is_worked_on
from benchmarks.subject import Holdall
from mounts import eventually
from surroundings import Require, run

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def subject(tmp_path: Path) -> Holdall:
    return Holdall(tmp_path / "shop")


@pytest.fixture
def releases(tmp_path: Path) -> tuple[Release, Release]:
    """An old and a new release; the new one changed a content of 5000 bytes, which it has twice."""
    contents = {
        "1": {"same": b"s" * 100, "changed": b"o" * 5000},
        "2": {"same": b"s" * 100, "changed": b"n" * 5000, "again": b"n" * 5000},
    }
    made = []
    for version, files in contents.items():
        release = Release("small", version, tmp_path / version, "org.example.Small")
        release.files.mkdir(parents=True)
        for name, content in files.items():
            (release.files / name).write_bytes(content)
        made.append(release)
    return made[0], made[1]


def words(argv: Sequence[str], *wanted: str) -> list[str]:
    return [word for word in argv if word in wanted]


def report(part: str, found: Mapping[str, Sequence[Mapping[str, float]]]) -> Report:
    about = {"kernel": "6.18", "begun": "a", "ended": "b", "runs": "2", "commit": "c"}
    return Report(part, "small", about, tuple(rows_of("small", found)))


LIVES = {
    "tar": [{"install": 1.0, "one": 2e6}, {"install": 2.0, "one": 2e6}],
    "tree": [{"install": 3.0, "one": 1e6}, {"install": 4.0, "one": 1e6}],
    "local-image": [{"install": 5.0, "one": 1e6, "mount": 0.05}] * 2,
}


def test_a_table_has_a_line_for_each_way_with_ratios_to_tar_of_the_same_round() -> None:
    lines = forms_page.tables([report("forms", LIVES)]).splitlines()
    (tree,) = (line for line in lines if line.startswith("| tree ") and " s " in line)
    assert "3.50 s (2.50x)" in tree
    (disk,) = (line for line in lines if line.startswith("| tree ") and " MB " in line)
    assert "1.0 MB (0.50x)" in disk


def test_what_a_way_does_not_have_is_left_open() -> None:
    text = forms_page.tables([report("forms", LIVES)])
    (tree,) = (line for line in text.splitlines() if line.startswith("| tree ") and " s " in line)
    (image,) = (
        line for line in text.splitlines() if line.startswith("| local-image ") and " s " in line
    )
    assert tree.endswith(" - |")
    assert "50.0 ms |" in image


def test_verdicts_come_from_the_figures(releases: tuple[Release, Release], tmp_path: Path) -> None:
    old, new = releases
    for dataset, grown in (("near", 8192.0), ("far", 4096.0)):
        found = {"content pages more": grown, "pages more": grown}
        about = {"begun": "a", "ended": "b", "runs": "1", "commit": "c"}
        save(Report("goals", dataset, about, tuple(sharing(found, old, new))), tmp_path)
    page = forms_page.render(forms_page.kept(tmp_path))
    assert "Targets: 1 met, 1 missed." in page


def test_the_page_says_what_could_not_be_measured(tmp_path: Path) -> None:
    kept = report("forms", LIVES)
    about = {**kept.circumstances, "not measured": "btrfs, small: no loop device"}
    save(Report("forms", "small", about, kept.rows), tmp_path)
    page = forms_page.render(forms_page.kept(tmp_path))
    assert "**not measured**: btrfs, small: no loop device" in page


def test_a_page_without_figures_says_so() -> None:
    assert "Nothing has been measured yet" in forms_page.render([])


def test_changed_contents_are_counted_in_whole_pages_and_once(
    releases: tuple[Release, Release],
) -> None:
    assert changed_pages(*releases) == 8192


def test_growth_is_off_by_as_much_when_it_is_too_small_as_when_it_is_too_large() -> None:
    assert off(98, 100) == off(102, 100) == 2.0


def test_sharing_is_met_within_two_per_cent_of_the_pages(
    releases: tuple[Release, Release],
) -> None:
    met = {
        grown: [
            one.met
            for one in sharing({"content pages more": grown, "pages more": grown}, *releases)
        ]
        for grown in (8192.0, 8400.0, 0.0)
    }
    assert [next(one for one in found if one is not None) for found in met.values()] == [
        True,
        False,
        False,
    ]


def test_a_publishers_image_is_a_bundle_of_its_own(
    subject: Holdall, releases: tuple[Release, Release]
) -> None:
    way = Lodging(subject, "image", "image", ("--allow-kernel-parser",), "squashfs")
    (build,) = way.publish(releases[0])
    assert build.argv[-2:] == ("--image", "squashfs")
    assert str(way.published(releases[0])) in build.argv
    assert way.published(releases[0]) != subject.published(releases[0])


def test_a_form_is_asked_for_at_install_and_kept_by_the_update(
    subject: Holdall, releases: tuple[Release, Release], tmp_path: Path
) -> None:
    way = Lodging(subject, "x", "local-image", ("--image", "erofs"))
    (install,) = way.plan(Verb.INSTALL, releases[0], tmp_path)
    (update,) = way.plan(Verb.ADD, releases[1], tmp_path)
    assert words(install.argv, "--form", "local-image", "--image", "erofs") == [
        "--form",
        "local-image",
        "--image",
        "erofs",
    ]
    assert words(update.argv, "update", "--form") == ["update"]


def test_forms_that_are_not_there_are_not_in_the_run(
    subject: Holdall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.forms_ways.can_be_imported", lambda form: form == "tree")
    assert [way.form for way in lodgings(subject)] == ["tree"]


def test_files_in_a_plain_folder_are_read_in_the_version_that_is_asked_for(
    subject: Holdall, releases: tuple[Release, Release], tmp_path: Path
) -> None:
    for version in ("1", "2"):
        folder = subject.store(tmp_path) / "deployments/a/b/c" / version
        (folder / "files").mkdir(parents=True)
        (folder / "release").write_text(f'{{"version":"{version}"}}')
    view = Lodging(subject, "tree", "tree").view(releases[0], tmp_path, tmp_path / "place")
    assert view.folder.parent.name == "1"
    assert view.mount == ()


def test_a_version_that_is_not_installed_cannot_be_read(
    subject: Holdall, releases: tuple[Release, Release], tmp_path: Path
) -> None:
    with pytest.raises(BenchmarkError, match="small-1 is not installed"):
        Lodging(subject, "tree", "tree").view(releases[0], tmp_path, tmp_path)


def test_plain_tools_take_every_version_away(
    releases: tuple[Release, Release], tmp_path: Path
) -> None:
    for name in ("small-1", "small-2", "other"):
        (tmp_path / name).mkdir()
    (tar, *_) = peers(tmp_path / "shop")
    (remove,) = tar.plan(Verb.REMOVE, releases[0], tmp_path)
    assert sorted(Path(word).name for word in remove.argv[2:]) == ["small-1", "small-2"]


def test_bundles_are_kept_by_what_is_in_them(
    subject: Holdall, releases: tuple[Release, Release], tmp_path: Path
) -> None:
    old, mark = releases[0], releases[0].fingerprint
    bundle = place(tmp_path, old, subject.shop / "small-1-erofs.holdall")
    archive = place(tmp_path, old, subject.shop / "small-1.tar.zst")
    assert bundle == tmp_path / "bundles" / f"small-1-{mark}-erofs.holdall"
    assert archive == tmp_path / "archives" / f"small-1-{mark}.tar.zst"
    assert place(tmp_path, old, subject.shop / "small-1.ostree") is None


def test_everything_is_read_but_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "large").write_bytes(bytes(3_000_000))
    (tmp_path / "small").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("small")
    (tmp_path / "away").symlink_to("below")
    reading = read_all(str(tmp_path))
    assert (reading.files, reading.size) == (2, 3_000_003)
    assert reading.seconds > 0


def test_a_reading_of_less_than_the_release_stops_the_benchmark(
    releases: tuple[Release, Release],
) -> None:
    with pytest.raises(
        BenchmarkError, match="2 files of 5100 bytes, but what was read were 1 of 7"
    ):
        check(releases[0], Reading(1.0, 1, 7))


def test_an_inode_with_two_names_is_asked_once_for_its_pages(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(bytes(3 * PAGE))
    other.hardlink_to(one)
    (tmp_path / "link").symlink_to("one")
    # more than once, as kernels take pages away
    assert 3 * PAGE in [
        own_pages([one, other, tmp_path / "link", tmp_path]) for _ in range(3) if one.read_bytes()
    ]


def test_a_program_that_was_given_a_path_on_the_disk_is_waited_for(tmp_path: Path) -> None:
    argv = ["sh", "-c", "read line", str(tmp_path / "store")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as process:
        assert eventually(lambda: is_worked_on(tmp_path))  # a moment after it began, it is told
        process.communicate()
    assert not is_worked_on(tmp_path)


def test_every_measure_of_the_tables_has_a_row() -> None:
    tables = [*TIMES, *DISK, *CACHE]
    assert sorted(tables) == sorted(MEASURES)


_LIFE = """
import json, sys
from pathlib import Path
from benchmarks.data import Release
from benchmarks.disk import Disks, own_mounts, workplace
from benchmarks.forms_peers import peers
from benchmarks.forms_rounds import Course
from benchmarks.forms_stock import stock
from benchmarks.forms_ways import lodgings
from benchmarks.laboratory import furnish

sources = Path(sys.argv[1])
own_mounts()
with workplace() as (folder, mount_point):
    laboratory = furnish(folder, mount_point, cache=sources / "cache", holdall=None,
                         contend=lambda _: (), runs=1, patience=0)
    places = (folder / "old", folder / "new")
    for place in places:
        place.mkdir()
    old, new = (Release("small", one, sources / one, "org.example.Small") for one in "12")
    disks = {"ext4": Disks(folder / "images", mount_point, 1 << 30)}
    course = Course(laboratory, disks, old, new, places)
    for way in (*peers(laboratory.shop), *lodgings(laboratory.subject)):
        if way.name in sys.argv[2:]:
            for release in (old, new):
                stock(laboratory, way, release, keep=False)
            timed = course.timed(way)
            # more than once, as kernels take pages away
            print(json.dumps([timed | course.observed(way) for _ in range(3)]))
"""


@pytest.mark.root
@pytest.mark.slow
def test_ways_are_measured_through_a_whole_life(
    require: Require, releases: tuple[Release, Release], tmp_path: Path
) -> None:
    for program in ("bwrap", "tar", "zstd", "mkfs.ext4"):
        require(program)
    argv: list[str | Path] = [sys.executable, "-c", _LIFE, tmp_path, "tar", "composefs"]
    done = run(argv, environment=dict(os.environ), directory=CHECKOUT)
    assert done.returncode == 0, done.stderr
    tar, composefs = map(json.loads, done.stdout.splitlines())
    assert set(MEASURES) - set(tar[0]) == {"mount", "swept", "server memory"}
    assert set(MEASURES) - set(composefs[0]) == {"server memory"}
    assert 5 * PAGE in [one["pages more"] for one in tar]
    assert changed_pages(*releases) in [one["content pages more"] for one in composefs]
