"""Files over HTTP: what every kind of server and connection comes to."""

import os
import random
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

import servers
from certificates import Authority
from holdall.delivery.remote.connections import Timing
from holdall.delivery.remote.http import HttpTransport
from holdall.delivery.remote.transport import NoRangesError, open_transport
from holdall.errors import CorruptError, HoldallError, NetworkError, NotFoundError, UsageError
from patience import GENEROUS, HASTY, STRICT
from servers import Fault, Server

# The server's threads are here when commands fork their workers, which take no lock of theirs.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")

DATA = random.Random(4).randbytes(3_000_000)


@pytest.fixture
def server() -> Iterator[Server]:
    with servers.serving({"file": DATA, "folder/small": b"small"}) as running:
        yield running


@pytest.fixture
def transport(server: Server) -> Iterator[HttpTransport]:
    made = HttpTransport(server.address, timing=GENEROUS)
    yield made
    made.close()


def part(transport: HttpTransport, start: int = 0, end: int = len(DATA)) -> bytes:
    return b"".join(transport.pieces("file", start, end))


# ---------------------------------------------------------------------------------- as it should


def test_a_file_is_read(transport: HttpTransport) -> None:
    assert transport.read("folder/small", 5) == b"small"


def test_a_range_is_read(transport: HttpTransport) -> None:
    assert part(transport, 1_000_001, 2_000_003) == DATA[1_000_001:2_000_003]


def test_an_empty_range_asks_nothing(transport: HttpTransport, server: Server) -> None:
    assert part(transport, 7, 7) == b""
    assert not server.asked


def test_no_piece_is_longer_than_a_mebibyte(transport: HttpTransport) -> None:
    assert max(map(len, transport.pieces("file", 0, len(DATA)))) <= 2**20


def test_chunks_are_joined(transport: HttpTransport, server: Server) -> None:
    server.fault(servers.chunked)
    assert transport.read("file", len(DATA)) == DATA == part(transport)


def test_one_connection_serves_many_requests(transport: HttpTransport, server: Server) -> None:
    server.fault(servers.chunked, times=2)
    for at in range(5):
        part(transport, at, at + 100_000)
        transport.read("folder/small", 5)
        with pytest.raises(NotFoundError):
            transport.read("absent", 5)
    assert server.connections == 1


def test_the_bytes_of_all_bodies_are_counted(transport: HttpTransport, server: Server) -> None:
    server.fault(servers.breaking(100_000), times=1)
    part(transport)
    with pytest.raises(NotFoundError):
        transport.read("absent", 5)
    assert transport.received == server.sent == len(DATA) + len("gone")


def test_a_forked_process_has_its_own_connections_and_is_counted(
    transport: HttpTransport, server: Server
) -> None:
    transport.read("folder/small", 5)
    child = os.fork()
    if not child:
        os._exit(part(transport) != DATA)
    assert os.waitpid(child, 0)[1] == 0
    assert transport.read("folder/small", 5) == b"small"
    assert server.connections == 2
    assert transport.received == len(DATA) + 10


def test_a_request_says_who_asks_and_wants_no_encoding(
    transport: HttpTransport, server: Server
) -> None:
    transport.read("file", len(DATA))
    headers = server.asked[0].headers
    assert headers["user-agent"].startswith("holdall/")
    assert headers["accept-encoding"] == "identity"


def test_names_are_quoted(transport: HttpTransport, server: Server) -> None:
    server.files["1.a%252Fb%20%3F%23%C3%BC.json"] = b"odd"
    assert transport.read("1.a%2Fb ?#ü.json", 9) == b"odd"


@pytest.mark.parametrize("name", ["", "/etc", "a//b", "../x", "a/../b", "a/.", "a\nb", "a/"])
def test_a_name_that_leads_elsewhere_is_refused(transport: HttpTransport, name: str) -> None:
    with pytest.raises(CorruptError):
        transport.read(name, 5)


@pytest.mark.parametrize(
    "address",
    ["http://", "http:///x", "http://h/?a=b", "http://h/#x", "http://h:99999/", "ftp://h/"],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError):
        open_transport(address)


# -------------------------------------------------------------------------------- another try


@pytest.mark.parametrize(
    "fault",
    [
        servers.breaking(1_000_000),
        servers.breaking(1_000_000, reset=True),
        servers.breaking(0),
        servers.silent,
        servers.garbage,
        servers.status(500),
        servers.status(503, Retry_After="0"),
        servers.status(429, Retry_After="0"),
        servers.status(429, Retry_After="Thu, 01 Jan 1970 00:00:00 GMT"),
        servers.status(429, Retry_After="soon"),
        servers.status(408),
    ],
)
def test_what_fails_once_is_tried_again(
    transport: HttpTransport, server: Server, fault: Fault
) -> None:
    server.fault(fault, times=1)
    assert part(transport, 500_000, 2_900_000) == DATA[500_000:2_900_000]
    server.heal()
    server.fault(fault, times=1)
    assert transport.read("file", len(DATA)) == DATA


@pytest.mark.parametrize("fault", [servers.pausing(1_000_000), servers.hanging])
def test_a_silence_is_followed_by_another_try(server: Server, fault: Fault) -> None:
    server.fault(fault, times=1)
    # On a busy machine, further tries may get no answer in time, but not all of them.
    transport = HttpTransport(server.address, timing=HASTY._replace(tries=50, pause=0))
    assert part(transport, 500_000, 2_900_000) == DATA[500_000:2_900_000]
    server.heal()
    server.fault(fault, times=1)
    assert transport.read("file", len(DATA)) == DATA
    transport.close()


def test_a_broken_transfer_goes_on_where_it_broke(transport: HttpTransport, server: Server) -> None:
    server.fault(servers.breaking(100_000))
    assert part(transport) == DATA
    assert transport.received == len(DATA)
    assert [asked.range and asked.range[0] for asked in server.asked] == list(
        range(0, len(DATA), 100_000)
    )


def test_tries_that_bring_next_to_nothing_are_numbered(
    transport: HttpTransport, server: Server
) -> None:
    server.fault(servers.breaking(10))
    with pytest.raises(NetworkError):
        part(transport)
    assert len(server.asked) == GENEROUS.tries


def test_a_server_is_left_alone_for_as_long_as_it_asks(server: Server) -> None:
    waited: list[float] = []
    server.fault(servers.status(429, Retry_After="1"), times=1)
    transport = HttpTransport(server.address, timing=GENEROUS._replace(longest_pause=2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("holdall.delivery.remote.http.time.sleep", waited.append)
        transport.read("file", len(DATA))
    assert waited == [1]


def test_pauses_grow(server: Server) -> None:
    waited: list[float] = []
    server.fault(servers.status(500))
    transport = HttpTransport(server.address, timing=GENEROUS._replace(pause=1, tries=5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("holdall.delivery.remote.http.time.sleep", waited.append)
        with pytest.raises(NetworkError):
            transport.read("file", len(DATA))
    assert [pause // 2 ** (at - 1) for at, pause in enumerate(waited)] == [1, 1, 1, 1]


# ------------------------------------------------------------------------------------- the end


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        (servers.absent, NotFoundError, "There is no http"),
        (servers.status(403), NotFoundError, "There is no http"),
        (servers.status(401), NetworkError, "401 (Unauthorized)"),
        (servers.status(418), NetworkError, "418"),
        (servers.status(500), NetworkError, "500 (Internal Server Error)"),
        (servers.status(429, Retry_After="9999"), NetworkError, "try again in 9999 seconds"),
        (servers.silent, NetworkError, "closed connection"),
        (servers.garbage, NetworkError, "the connection breaks off"),
        (servers.squeezed, CorruptError, "encoding"),
        (servers.moved("http://127.0.0.1:1/"), NetworkError, "refused"),
        (servers.moved("ftp://127.0.0.1/file"), NetworkError, "no address"),
        (servers.moved("file:///etc/passwd"), NetworkError, "no address"),
        (servers.moved("http://[/"), NetworkError, "no address"),
        (servers.moved(""), NetworkError, "no address"),
        (servers.moved("/file"), NetworkError, "one redirect leads to the next"),
    ],
)
def test_what_does_not_get_better_is_one_sentence(
    transport: HttpTransport,
    server: Server,
    fault: Fault,
    error: type[HoldallError],
    said: str,
) -> None:
    server.fault(fault)
    fails_in_one_sentence(transport, error, said)


def fails_in_one_sentence(transport: HttpTransport, error: type[HoldallError], said: str) -> None:
    """Neither a file nor a part of one can be had."""
    for answer in (partial(transport.read, "file", len(DATA)), partial(part, transport, 5, 10_000)):
        with pytest.raises(error) as raised:
            answer()
        assert said in str(raised.value)
        assert str(raised.value).endswith(".")


@pytest.mark.parametrize(
    ("fault", "timing", "said"),
    [
        (servers.hanging, HASTY, "nothing came for 0.2 seconds"),
        (servers.pausing(10), HASTY, "nothing came for 0.2 seconds"),
        (servers.dripping(0.05), STRICT, "too slowly"),
        (servers.dripping_head(0.05), STRICT, "too slowly"),
    ],
)
def test_a_slow_server_is_given_up(server: Server, fault: Fault, timing: Timing, said: str) -> None:
    server.fault(fault)
    transport = HttpTransport(server.address, timing=timing)
    fails_in_one_sentence(transport, NetworkError, said)
    transport.close()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (servers.short, "shorter than was promised"),
        (servers.empty, "0 bytes long"),
        (servers.other_range, "another part"),
        (servers.two_lengths, "two lengths"),
        (servers.squeezed, "encoding"),
    ],
)
def test_another_part_than_was_asked_for_is_refused(
    transport: HttpTransport, server: Server, fault: Fault, said: str
) -> None:
    server.fault(fault)
    with pytest.raises(CorruptError, match=said):
        part(transport, 2_000_000, 2_900_000)


def test_a_file_that_ends_within_a_range_is_refused(transport: HttpTransport) -> None:
    with pytest.raises(CorruptError, match="3000000 bytes long; 3000001 were promised"):
        part(transport, 2_999_000, 3_000_001)


@pytest.mark.parametrize("fault", [servers.right, servers.chunked, servers.endless])
def test_a_file_longer_than_allowed_is_refused(
    transport: HttpTransport, server: Server, fault: Fault
) -> None:
    server.fault(fault)
    with pytest.raises(CorruptError, match="longer than the 2999999 bytes"):
        transport.read("file", 2_999_999)
    assert transport.received <= 3_000_000


def test_what_comes_after_the_end_is_not_taken_for_the_next_answer(
    transport: HttpTransport, server: Server
) -> None:
    server.fault(servers.long, times=1)
    assert part(transport) == DATA
    assert transport.read("folder/small", 5) == b"small"


def test_a_server_that_cannot_be_reached_is_named() -> None:
    with socket.socket() as deaf:  # its port is nobody else's meanwhile
        deaf.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with pytest.raises(NetworkError, match=f"{address}/file cannot be had: connection refused"):
            HttpTransport(address, timing=GENEROUS).read("file", 5)


def test_a_server_whose_name_is_not_known_is_named() -> None:
    with pytest.raises(NetworkError, match=r"http://nowhere\.invalid/file cannot be had: its name"):
        HttpTransport("http://nowhere.invalid", timing=GENEROUS).read("file", 5)


# ----------------------------------------------------------------------- servers without ranges


def test_without_ranges_a_file_comes_from_its_beginning(
    transport: HttpTransport, server: Server
) -> None:
    server.fault(servers.no_ranges)
    assert part(transport, 0, 2_000_000) == DATA[:2_000_000]


def test_without_ranges_a_little_is_read_over(transport: HttpTransport, server: Server) -> None:
    server.fault(servers.no_ranges)
    assert part(transport, 2**20, 3_000_000) == DATA[2**20 :]


def test_without_ranges_much_is_not_read_over(transport: HttpTransport, server: Server) -> None:
    server.fault(servers.no_ranges)
    with pytest.raises(NoRangesError):
        part(transport, 2**20 + 1, 3_000_000)
    assert transport.received == 0


# ----------------------------------------------------------------------- redirects and accounts


def test_a_redirect_is_followed_with_its_range(transport: HttpTransport, server: Server) -> None:
    with servers.serving({"there": DATA}) as other:
        server.fault(servers.moved(f"{other.address}/there"), "file")
        assert part(transport, 5, 10) == DATA[5:10]
        assert other.asked[0].range == (5, 10)


def test_a_redirect_may_be_relative(transport: HttpTransport, server: Server) -> None:
    server.fault(servers.moved("folder/small"), "file")
    assert transport.read("file", 5) == b"small"


def test_an_account_is_told_to_its_server_only(server: Server) -> None:
    with servers.serving({"file": b"moved"}) as other:
        server.fault(servers.moved(f"{other.address}/file"), "file")
        address = server.address.replace("//", "//me:se%20cret@")
        assert HttpTransport(address).read("file", 5) == b"moved"
        assert server.asked[0].headers["authorization"] == "Basic bWU6c2UgY3JldA=="
        assert "authorization" not in other.asked[0].headers


def test_a_password_is_in_no_message(server: Server) -> None:
    transport = HttpTransport(server.address.replace("//", "//me:secret@"), timing=GENEROUS)
    with pytest.raises(NotFoundError) as raised:
        transport.read("absent", 5)
    assert "secret" not in str(raised.value)


# ----------------------------------------------------------------------------- the surroundings


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def secure(authority: Authority) -> Iterator[Server]:
    with servers.serving({"file": DATA}, tls=authority.context()) as running:
        yield running


@pytest.mark.parametrize("variable", ["HOLDALL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_an_authority_can_be_named(
    secure: Server, authority: Authority, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(authority.certificate))
    assert part(HttpTransport(secure.address, timing=GENEROUS)) == DATA


def test_a_certificate_of_nobody_is_refused_at_once(secure: Server) -> None:
    with pytest.raises(NetworkError, match="HOLDALL_CA_BUNDLE"):
        HttpTransport(secure.address, timing=GENEROUS).read("file", 5)
    assert not secure.asked


def test_a_certificate_of_another_server_is_refused(
    secure: Server, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDALL_CA_BUNDLE", str(authority.certificate))
    with pytest.raises(NetworkError, match="certificate"):
        HttpTransport(secure.address.replace("127.0.0.1", "localhost"), timing=GENEROUS).read(
            "f", 5
        )


@pytest.mark.parametrize("content", [None, "no certificates"])
def test_a_file_without_certificates_is_refused(
    secure: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    if content:
        (tmp_path / "bundle").write_text(content)
    monkeypatch.setenv("HOLDALL_CA_BUNDLE", str(tmp_path / "bundle"))
    with pytest.raises(UsageError, match="HOLDALL_CA_BUNDLE names"):
        HttpTransport(secure.address, timing=GENEROUS).read("file", 5)


def test_what_does_not_speak_tls_is_named(server: Server) -> None:
    with pytest.raises(NetworkError, match="secure connection"):
        HttpTransport(server.address.replace("http:", "https:"), timing=GENEROUS).read("file", 5)


def test_an_encrypted_server_cannot_redirect_to_an_open_one(
    secure: Server, server: Server, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDALL_CA_BUNDLE", str(authority.certificate))
    secure.fault(servers.moved(f"{server.address}/file"))
    with pytest.raises(NetworkError, match="without encryption"):
        part(HttpTransport(secure.address, timing=GENEROUS))
    assert not server.asked


def test_a_slow_secure_server_is_given_up(
    secure: Server, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDALL_CA_BUNDLE", str(authority.certificate))
    secure.fault(servers.dripping(0.05))
    with pytest.raises(NetworkError, match="too slowly"):
        part(HttpTransport(secure.address, timing=STRICT))


def proxied(proxy: Server) -> Callable[[str], bytes]:
    """What the proxy gives for an address; it only knows `file`."""
    proxy.files = {"http://example.invalid/below/file": b"by proxy"}
    return lambda address: HttpTransport(address, timing=GENEROUS).read("file", 10)


def test_a_proxy_is_asked(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.address.replace("//", "//me:secret@"))
    assert proxied(server)("http://example.invalid/below") == b"by proxy"
    assert server.asked[0].headers["proxy-authorization"] == "Basic bWU6c2VjcmV0"


def test_no_proxy_is_asked_for_what_needs_none(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert HttpTransport(server.address).read("folder/small", 5) == b"small"


def test_a_proxy_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with pytest.raises(NetworkError, match="the proxy: connection refused"):
        HttpTransport("http://example.invalid", timing=GENEROUS).read("file", 5)


def test_a_proxy_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "socks5://me:secret@127.0.0.1:1")
    with pytest.raises(UsageError, match="not one of http") as raised:
        HttpTransport("http://example.invalid", timing=GENEROUS).read("file", 5)
    assert "secret" not in str(raised.value)


def test_a_secure_server_is_reached_through_a_tunnel(
    secure: Server, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDALL_CA_BUNDLE", str(authority.certificate))
    with servers.tunnelling() as tunnel:
        monkeypatch.setenv("https_proxy", tunnel.address)
        assert part(HttpTransport(secure.address, timing=GENEROUS)) == DATA
        assert tunnel.connections == 1
