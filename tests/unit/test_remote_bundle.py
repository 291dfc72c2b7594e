"""A bundle at a remote: what is wanted is fetched, once, and nothing wrong gets through."""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

import servers
from bundles import OTHER, Parts, make_bundle
from holdall.delivery.bundle import BundleSource, Opened, open_preamble, read_preamble
from holdall.delivery.index import Frame
from holdall.delivery.remote.bundle import RemoteBundle
from holdall.delivery.remote.connections import PATIENT
from holdall.delivery.remote.http import HttpTransport
from holdall.delivery.remote.tally import Tally
from holdall.errors import CorruptError, NetworkError
from holdall.journeys.build import BuildOptions
from holdall.model.offer import ContentFile
from holdall.trust.envelope import open_envelope
from patience import GENEROUS
from servers import Fault, Server

TINY = 64 * 2**10


@dataclass(frozen=True)
class Sample:
    """A bundle of several dozen frames, as it is offered."""

    data: bytes
    file: ContentFile
    opened: Opened
    files: dict[str, bytes]

    @property
    def frames(self) -> tuple[Frame, ...]:
        return self.opened.index.frames

    @property
    def digests(self) -> list[bytes]:
        return list(self.opened.tree.contents)


def offered(data: bytes) -> ContentFile:
    parts = Parts.of(data)
    return ContentFile(sha256(data).hexdigest(), len(data), len(data) - len(parts.frames))


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    files = {f"share/{at:02}.bin": os.urandom(20_000 + 9_000 * at) for at in range(30)}
    files["share/empty"] = b""
    path = tmp_path_factory.mktemp("sample") / "it.holdall"
    make_bundle(path, files, options=BuildOptions(level=1, frame_size=TINY))
    data = path.read_bytes()
    parts = Parts.of(data)
    release = open_envelope(parts.envelope).release
    with path.open("rb") as file:
        opened = open_preamble(
            read_preamble(file),
            tree_sha256=release.packing.tree,
            index_sha256=release.packing.index,
            tree_digest=release.tree_digest.raw,
        )
    return Sample(data, offered(data), opened, files)


@pytest.fixture
def server(sample: Sample) -> Iterator[Server]:
    with servers.serving({sample.file.name: sample.data}) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "partial"


@contextmanager
def remote_of(
    server: Server, file: ContentFile, folder: Path, *, lanes: int = 4, tries: int = GENEROUS.tries
) -> Iterator[RemoteBundle]:
    folder.mkdir(exist_ok=True)
    transport = HttpTransport(server.address, timing=GENEROUS._replace(tries=tries))
    remote = RemoteBundle(transport, file, str(folder), lanes=lanes)
    try:
        yield remote
    finally:
        remote.close()
        transport.close()


def stored(sample: Sample, frame: Frame) -> bytes:
    start = sample.file.head + frame.offset
    return sample.data[start : start + frame.stored]


def brought(remote: RemoteBundle, frames: list[Frame]) -> int:
    """Bring frames; returns the bytes reported."""
    tally = Tally()
    assert list(remote.bring(frames, tally.add)) == sorted(frames)
    return tally.total


# ---------------------------------------------------------------------------------- the preamble


def test_the_head_comes_by_one_request_once(server: Server, sample: Sample, folder: Path) -> None:
    with remote_of(server, sample.file, folder) as remote:
        first = remote.preamble()
    with remote_of(server, sample.file, folder) as remote:
        assert remote.preamble() == first
    assert [asked.range for asked in server.asked] == [(0, sample.file.head)]


def test_a_head_that_was_spoiled_here_is_fetched_again(
    server: Server, sample: Sample, folder: Path
) -> None:
    with remote_of(server, sample.file, folder) as remote:
        first = remote.preamble()
        kept = bytearray((folder / "head").read_bytes())
        kept[-1] ^= 1
        (folder / "head").write_bytes(kept)
        assert remote.preamble() == first


def test_a_changed_byte_of_a_head_is_found(server: Server, sample: Sample, folder: Path) -> None:
    for at in range(0, sample.file.head, 37):
        changed = bytearray(sample.data)
        changed[at] ^= 0x10
        server.files[sample.file.name] = bytes(changed)
        with remote_of(server, sample.file, folder) as remote, pytest.raises(CorruptError):
            remote.preamble()
        assert not (folder / "head").exists()


@pytest.mark.parametrize("change", [-1, 1, -40, 10**6, 10**12])
def test_a_head_of_another_length_than_offered_is_refused(
    server: Server, sample: Sample, folder: Path, change: int
) -> None:
    file = ContentFile(sample.file.sha256, sample.file.size, sample.file.head + change)
    with remote_of(server, file, folder) as remote, pytest.raises(CorruptError):
        remote.preamble()


def test_a_bundle_of_another_length_than_offered_is_refused(
    server: Server, sample: Sample, folder: Path
) -> None:
    file = ContentFile(sample.file.sha256, sample.file.size + 1, sample.file.head)
    with remote_of(server, file, folder) as remote, pytest.raises(CorruptError):
        remote.preamble()


def test_an_index_of_another_release_is_refused(
    server: Server, sample: Sample, folder: Path
) -> None:
    parts = Parts.of(sample.data)
    changed = bytearray(parts.index)
    changed[-1] ^= 1
    other = Parts(parts.envelope, parts.tree, bytes(changed), parts.frames)
    server.files[sample.file.name] = other.bytes
    refused = pytest.raises(CorruptError, match="another tree or index")
    with remote_of(server, sample.file, folder) as remote, refused:
        remote.preamble()


def test_a_head_that_is_refused_can_be_forgotten(
    server: Server, sample: Sample, folder: Path
) -> None:
    other = Parts.of(sample.data).signed(OTHER)
    server.files[sample.file.name] = other.bytes
    with remote_of(server, sample.file, folder) as remote:
        remote.preamble()
        server.files[sample.file.name] = sample.data
        remote.forget()
        assert remote.preamble().envelope == Parts.of(sample.data).envelope


# ------------------------------------------------------------------------------------ the frames


def test_a_whole_bundle_comes_by_one_request(server: Server, sample: Sample, folder: Path) -> None:
    with remote_of(server, sample.file, folder) as remote:
        assert remote.wanted(sample.frames) == sample.opened.index.stored
        assert brought(remote, list(sample.frames)) == sample.opened.index.stored
        assert remote.wanted(sample.frames) == 0
        for frame in sample.frames:
            place = sample.file.head + frame.offset
            assert os.pread(remote.spool, frame.stored, place) == stored(sample, frame)
    assert len(server.asked) == 1
    assert server.sent == sample.opened.index.stored


def test_only_the_wanted_frames_come(server: Server, sample: Sample, folder: Path) -> None:
    some = [sample.frames[at] for at in (0, 5, 6, 7, 20)]
    with remote_of(server, sample.file, folder) as remote:
        expected = sum(frame.stored for frame in some)
        assert remote.wanted(some) == expected == brought(remote, some)
    assert server.sent == expected
    assert len(server.asked) == 3


def test_several_parts_come_at_once(server: Server, sample: Sample, folder: Path) -> None:
    server.fault(servers.gathering(4), times=4)
    with remote_of(server, sample.file, folder) as remote:
        brought(remote, list(sample.frames[::3]))
    assert server.connections == 4


def test_what_came_before_is_not_fetched_again(
    server: Server, sample: Sample, folder: Path
) -> None:
    with remote_of(server, sample.file, folder) as remote:
        first = brought(remote, list(sample.frames[::2]))
    with remote_of(server, sample.file, folder) as remote:
        rest = remote.wanted(sample.frames)
        assert brought(remote, list(sample.frames)) == rest
    assert first + rest == sample.opened.index.stored
    assert server.sent <= sample.opened.index.stored * 1.005


@pytest.mark.parametrize("at", [1, 1000, 70_000, 300_000])
def test_an_interrupted_transfer_goes_on(
    server: Server, sample: Sample, folder: Path, at: int
) -> None:
    server.fault(servers.breaking(at), times=1)
    server.fault(servers.status(500))
    with remote_of(server, sample.file, folder) as remote, pytest.raises(NetworkError):
        brought(remote, list(sample.frames))
    server.heal()
    with remote_of(server, sample.file, folder) as remote:
        assert remote.wanted(sample.frames) == sample.opened.index.stored - at
        brought(remote, list(sample.frames))
    assert server.sent == sample.opened.index.stored + len("sorry")


def test_frames_before_a_failure_are_given_out(
    server: Server, sample: Sample, folder: Path
) -> None:
    server.fault(servers.breaking(300_000), times=1)
    server.fault(servers.status(500))
    given: list[Frame] = []
    with remote_of(server, sample.file, folder) as remote, pytest.raises(NetworkError):
        given.extend(remote.bring(sample.frames, lambda _count: None))
    whole = [frame for frame in sample.frames if frame.offset + frame.stored <= 300_000]
    assert given == whole != []


def test_a_frame_is_given_out_before_the_last_has_come(
    server: Server, sample: Sample, folder: Path
) -> None:
    more = threading.Event()
    server.fault(servers.pausing(300_000, more))
    with remote_of(server, sample.file, folder) as remote:
        coming = remote.bring(sample.frames, lambda _count: None)
        assert next(coming) == sample.frames[0]
        assert server.sent == 300_000
        more.set()
        assert len(list(coming)) == len(sample.frames) - 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: bytes(len(data)),
        lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
        lambda data: data[: len(data) // 3],
    ],
    ids=["zeroed", "half zeroed", "cut"],
)
def test_what_a_power_loss_took_is_fetched_again(
    server: Server, sample: Sample, folder: Path, spoil: Callable[[bytes], bytes]
) -> None:
    with remote_of(server, sample.file, folder) as remote:
        brought(remote, list(sample.frames[:9]))
    frames = folder / "frames"
    frames.write_bytes(spoil(frames.read_bytes()))
    with remote_of(server, sample.file, folder) as remote:
        brought(remote, list(sample.frames))
        for frame in sample.frames:
            place = sample.file.head + frame.offset
            assert os.pread(remote.spool, frame.stored, place) == stored(sample, frame)


def test_a_wrong_frame_is_fetched_once_more(server: Server, sample: Sample, folder: Path) -> None:
    server.fault(servers.wrong, times=1)
    with remote_of(server, sample.file, folder) as remote:
        assert brought(remote, [sample.frames[3]]) == 2 * sample.frames[3].stored
    assert len(server.asked) == 2


def test_a_frame_that_is_wrong_twice_is_named(server: Server, sample: Sample, folder: Path) -> None:
    server.fault(servers.wrong)
    place = sample.file.head + sample.frames[3].offset
    refused = pytest.raises(CorruptError, match=f"its frame at {sample.frames[3].offset} is wrong")
    with remote_of(server, sample.file, folder) as remote, refused:
        brought(remote, list(sample.frames[3:9]))
    asked = [item for item in server.asked if item.range and item.range[0] == place]
    assert len(asked) == 2
    server.heal()
    with remote_of(server, sample.file, folder) as remote:
        brought(remote, list(sample.frames[3:9]))


@pytest.mark.parametrize(
    "fault",
    [servers.no_ranges, servers.chunked, servers.breaking(100_000)],
    ids=["no ranges", "chunked", "breaking"],
)
def test_any_server_will_do(server: Server, sample: Sample, folder: Path, fault: Fault) -> None:
    server.fault(fault)
    some = [*sample.frames[::4], sample.frames[-1]]
    # one that ends connections may do so just when they are used again, and once more
    with remote_of(server, sample.file, folder, tries=PATIENT.tries) as remote:
        wanted = remote.wanted(some)
        assert brought(remote, some) == wanted


def test_a_server_without_ranges_sends_all_once(
    server: Server, sample: Sample, folder: Path
) -> None:
    server.fault(servers.no_ranges)
    with remote_of(server, sample.file, folder) as remote:
        brought(remote, [sample.frames[at] for at in range(20, len(sample.frames), 4)])
    whole = [asked for asked in server.asked if asked.range and asked.range[0] == 0]
    assert len(whole) == 1


def test_what_is_dropped_is_there_no_more(server: Server, sample: Sample, folder: Path) -> None:
    with remote_of(server, sample.file, folder) as remote:
        brought(remote, list(sample.frames))
        before = os.fstat(remote.spool).st_blocks
        remote.drop(sample.frames[2:20])
        assert os.fstat(remote.spool).st_blocks < before
        assert remote.wanted(sample.frames) == sum(item.stored for item in sample.frames[2:20])
        brought(remote, list(sample.frames))
        assert remote.wanted(sample.frames) == 0


def test_nothing_is_fetched_for_nothing(server: Server, sample: Sample, folder: Path) -> None:
    with remote_of(server, sample.file, folder) as remote:
        assert brought(remote, []) == 0
    assert not server.asked


# ------------------------------------------------------------------------------------ the source


def produced(source: BundleSource, wanted: set[bytes]) -> dict[bytes, bytes]:
    return {
        digest: b"".join(pieces)
        for number in source.feed(source.batches(wanted))
        for digest, pieces in source.produce(number, wanted)
    }


@pytest.mark.parametrize("step", [1, 2, 7, 100])
@pytest.mark.parametrize("dropping", [False, True])
def test_a_source_gives_what_is_wanted(
    server: Server, sample: Sample, folder: Path, step: int, *, dropping: bool
) -> None:
    wanted = set(sample.digests[::step])
    with remote_of(server, sample.file, folder) as remote:
        source = BundleSource(
            sample.opened,
            remote.spool,
            sample.file.head,
            bring=lambda frames: remote.bring(frames, lambda _count: None),
            drop=remote.drop if dropping else None,
        )
        assert source.arrives
        expected = remote.wanted(source.frames(wanted))
        found = produced(source, wanted)
    digests = {item.digest: sample.files[item.path] for item in sample.opened.tree.files}
    assert found == {digest: digests[digest] for digest in wanted}
    assert expected <= server.sent <= expected * 1.005


def test_the_frames_of_a_content_are_those_it_lies_in(sample: Sample) -> None:
    source = BundleSource(sample.opened, -1, 0)
    starts = Counter[int]()
    for place in sample.opened.index.places:
        digest = sample.digests[place.content]
        frames = source.frames({digest})
        assert bool(frames) == bool(place.size)
        if frames:
            assert frames[0].start <= place.start
            assert frames[-1].start + frames[-1].raw >= place.start + place.size
            assert sum(frame.raw for frame in frames[1:-1]) <= place.size
        starts.update(frame.start for frame in frames)
    assert source.frames(set(sample.digests)) == [
        frame for frame in sample.frames if frame.start in starts
    ]
