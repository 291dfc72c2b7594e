"""Bundles: the same bytes twice, any tar reads them, a stream is as good as a file."""

import filecmp
import hashlib
import io
import os
import random
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundles import FILES, make_bundle, write_source
from holdall.delivery.bundle import BundleSource, Opened, open_preamble, read_preamble
from holdall.delivery.index import Frame, Index, Place, groups
from holdall.delivery.zstandard import compress, decompress
from holdall.errors import CorruptError, UsageError
from holdall.journeys.build import BuildOptions, build, plan
from holdall.model.tree import File
from holdall.trust.envelope import open_envelope
from surroundings import Require

TINY = 64 * 2**10  # the least a frame may hold


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


LONG = "/".join(["folder-with-a-long-name-" + "x" * 60] * 4)
ODD: Mapping[str, bytes] = {
    **FILES,
    "bin/twin": FILES["bin/editor"],
    "share/twin": FILES["bin/editor"],
    "share/twin again": FILES["bin/editor"],
    "share/empty too": b"",
    "share/spaces and 'quotes'": b"1",
    "share/größe/数据/😀.txt": b"2",
    "share/" + "n" * 130: b"3",
    "share/" + "ü" * 127: b"4",
    f"{LONG}/file": b"5",
    "-rf": b"6",
    "share/one block": noise(512),
    "share/a block and a byte": noise(513),
    "share/long.bin": noise(5 * TINY + 7, 1),
    "share/medium.bin": noise(TINY - 100, 2),
    **{f"share/many/{number:03}.txt": noise(number * 97, number) for number in range(60)},
}
LINKS = {
    "share/link": "words.txt",
    "share/away": "/nonexistent/ä",
    "share/loop": "loop",
    "link of a long name": "x" * 300,
}


def opened(path: Path) -> tuple[Opened, int]:
    """The tree and index of a bundle, and where its frames begin."""
    with path.open("rb") as file:
        preamble = read_preamble(file)
    release = open_envelope(preamble.envelope).release
    return open_preamble(
        preamble,
        tree_sha256=release.packing.tree,
        index_sha256=release.packing.index,
        tree_digest=release.tree_digest.raw,
    ), preamble.head.first_frame


def contents(path: Path, *, stream: bool = False) -> dict[bytes, bytes]:
    """Every content of a bundle, from its file or as a stream through a spool."""
    whole, first = opened(path)
    found = {}
    with path.open("rb") as file, path.with_suffix(".spool").open("w+b") as spool:
        if stream:
            file.seek(first)
            source = BundleSource(whole, spool.fileno(), first, stream=file)
        else:
            source = BundleSource(whole, file.fileno(), first)
        wanted = source.available(whole.tree.contents)
        batches = source.batches(wanted)
        assert sum(batch.size for batch in batches) == sum(whole.tree.contents.values())
        for number in source.feed(batches):
            for digest, pieces in source.produce(number, wanted):
                found[digest] = b"".join(pieces)
    return found


@pytest.fixture(params=[None, TINY, 2**20], ids=["default", "tiny", "1M"])
def bundle(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A bundle with everything that may be odd, in frames of several sizes."""
    options = BuildOptions(level=1, frame_size=request.param)
    return make_bundle(tmp_path / "odd.holdall", ODD, links=LINKS, options=options)


def test_every_content_comes_out_as_it_went_in(bundle: Path) -> None:
    tree = opened(bundle)[0].tree
    found = contents(bundle)
    assert {file.path: found[file.digest] for file in tree.files} == dict(ODD)


def test_a_stream_gives_what_the_file_gives(bundle: Path) -> None:
    assert contents(bundle, stream=True) == contents(bundle)


@pytest.mark.parametrize("size", [None, TINY])
def test_the_same_folder_gives_the_same_bytes(tmp_path: Path, size: int | None) -> None:
    options = BuildOptions(level=1, frame_size=size)
    first = make_bundle(tmp_path / "first.holdall", ODD, links=LINKS, options=options)
    again = make_bundle(tmp_path / "again.holdall", ODD, links=LINKS, options=options)
    assert filecmp.cmp(first, again, shallow=False)


def test_tar_unpacks_the_identical_tree(bundle: Path, tmp_path: Path, require: Require) -> None:
    require("zstd")
    target = tmp_path / "out"
    target.mkdir()
    done = subprocess.run(
        ["tar", "--zstd", "-xf", str(bundle), "-C", str(target)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert walked(target) == walked(Path(f"{bundle}.d/files"))


def test_tar_lists_every_path(bundle: Path, require: Require) -> None:
    require("zstd")
    argv = ["tar", "--zstd", "--quoting-style=literal", "-tf", str(bundle)]
    listed = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines()
    tree = opened(bundle)[0].tree
    assert sorted(path.rstrip("/") for path in listed) == sorted(item.path for item in tree.entries)


def below(top: Path) -> list[Path]:
    """Everything under a folder; Path.rglob follows links, and Python 3.11.2 stumbles over one."""
    return [
        Path(folder, name) for folder, folders, names in os.walk(top) for name in (*folders, *names)
    ]


def walked(top: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in below(top):
        name = str(path.relative_to(top))
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_dir():
            found[name] = None
        else:
            mode = bool(path.stat().st_mode & 0o100)
            found[name] = (mode, hashlib.sha256(path.read_bytes()).hexdigest())
    return found


def test_nothing_of_the_folder_but_its_files_changes_a_bundle(tmp_path: Path) -> None:
    first = make_bundle(tmp_path / "first.holdall", ODD, links=LINKS)
    reversed_order = dict(reversed(list(ODD.items())))
    second = make_bundle(tmp_path / "second.holdall", reversed_order, links=LINKS)
    for path in below(Path(f"{second}.d/files")):
        os.utime(path, (7, 7), follow_symlinks=False)
    third = make_bundle(tmp_path / "third.holdall", ODD, links=LINKS)
    assert filecmp.cmp(first, second, shallow=False)
    assert filecmp.cmp(first, third, shallow=False)


def test_frames_hold_what_they_are_told_to(tmp_path: Path) -> None:
    options = BuildOptions(level=1, frame_size=TINY)
    path = make_bundle(tmp_path / "tiny.holdall", ODD, options=options)
    index = opened(path)[0].index
    assert max(frame.raw for frame in index.frames) <= TINY
    long = next(place for place in index.places if place.size == len(ODD["share/long.bin"]))
    assert (
        sum(
            frame.start < long.start + long.size and frame.start + frame.raw > long.start
            for frame in index.frames
        )
        >= 5
    )


def test_a_plan_says_exactly_what_is_packed(tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "odd.holdall", ODD, links=LINKS)
    planned = plan(f"{path}.d")
    frames = opened(path)[0].index.frames
    assert planned.stream == sum(frame.raw for frame in frames)
    assert planned.files == len(ODD)
    assert planned.size == sum(map(len, ODD.values()))


def test_only_the_wanted_contents_are_produced(tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "odd.holdall", ODD)
    whole, first = opened(path)
    wanted = {item.digest for item in whole.tree.files[::7]}
    with path.open("rb") as file:
        source = BundleSource(whole, file.fileno(), first)
        made = [
            digest
            for batch in source.batches(wanted)
            for digest, _ in source.produce(batch.number, wanted)
        ]
    assert sorted(made) == sorted(wanted)


def test_an_app_of_nothing_is_a_bundle_too(tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "nothing.holdall", {})
    assert contents(path) == {} == contents(path, stream=True)


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,3}(\.[ab])?", fullmatch=True),
        st.integers(0, 3 * TINY),
        max_size=8,
    )
)
def test_files_of_any_sizes_come_out_as_they_went_in(
    tmp_path_factory: pytest.TempPathFactory, sizes: dict[str, int]
) -> None:
    files = {name: noise(size, size) for name, size in sizes.items()}
    path = tmp_path_factory.mktemp("sizes") / "any.holdall"
    make_bundle(path, files, options=BuildOptions(level=1, frame_size=TINY))
    tree = opened(path)[0].tree
    for found in (contents(path), contents(path, stream=True)):
        assert {file.path: found[file.digest] for file in tree.files} == files


def test_groups_are_cut_where_no_content_crosses() -> None:
    frames = tuple(Frame(at * 10, 10, at * 1024, 1024, bytes(32)) for at in range(4))
    places = (Place(0, 0, 512), Place(1, 512, 1024), Place(2, 2048, 0), Place(3, 3072, 100))
    made = groups(Index(frames, places))
    assert [len(group.frames) for group in made] == [2, 1, 1]
    assert [[place.content for place in group.places] for group in made] == [[0, 1], [2], [3]]


@pytest.mark.parametrize("size", [0, 1, 511, 2**20 - 1, 2**20, 2**20 + 1, 3 * 2**20])
def test_a_frame_is_decoded_to_its_size_and_no_other(size: int) -> None:
    data = noise(size)
    frame = compress(data, 1)
    assert decompress(frame, size) == data
    for wrong in {size - 1, size + 1, 0, 2 * size} - {size, -1}:
        with pytest.raises(CorruptError):
            decompress(frame, wrong)
    for cut in (0, 1, len(frame) // 2, len(frame) - 1):
        with pytest.raises(CorruptError):
            decompress(frame[:cut], size)
    with pytest.raises(CorruptError):
        decompress(frame + b"\0", size)


@given(st.binary(max_size=300), st.integers(0, 4000))
def test_any_bytes_are_no_frame_or_a_whole_one(data: bytes, size: int) -> None:
    try:
        assert len(decompress(data, size)) == size
    except CorruptError:
        return


@given(st.binary(max_size=300))
def test_any_bytes_are_no_bundle(data: bytes) -> None:
    with pytest.raises(CorruptError):
        read_preamble(io.BytesIO(data))


def test_a_build_that_fails_leaves_nothing_beside_what_was_there(tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "kept.holdall")
    before = path.read_bytes()
    folder = write_source(tmp_path / "bad", {**FILES, "share/device": b""})
    (folder / "files/share/device").chmod(0o4755)
    with pytest.raises(UsageError):
        build(str(folder), str(path), keys=())
    assert path.read_bytes() == before
    assert sorted(item.name for item in tmp_path.glob("kept*")) == [
        "kept.holdall",
        "kept.holdall.d",
    ]


def test_duplicates_are_stored_once(tmp_path: Path) -> None:
    data = noise(300_000)
    path = make_bundle(tmp_path / "twins.holdall", {f"share/{at}": data for at in range(20)})
    assert path.stat().st_size < 2 * len(data)
    tree = opened(path)[0].tree
    assert len(tree.contents) == 1
    assert all(isinstance(item, File) for item in tree.files)
