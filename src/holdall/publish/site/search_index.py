"""The index that pages search: apps in files that others' changes leave alone."""

from collections.abc import Iterator, Sequence
from hashlib import sha256

import msgspec

from holdall.publish.site.app import Row

_A_FILE = 1000
NAME = "site/index.json"


def index_files(rows: Sequence[Row]) -> Iterator[tuple[str, bytes]]:
    """The files with names from the top.

    An app is in a file by the hash of its id, and a file has the digest of its bytes in its name,
    so a browser keeps all but those that changed.
    """
    count = 1
    while len(rows) > count * _A_FILE:
        count *= 2
    shards: list[list[Row]] = [[] for _ in range(count)]
    for row in sorted(rows, key=lambda row: row.id):
        shards[int.from_bytes(sha256(row.id.encode()).digest()[:4], "big") % count].append(row)
    names = []
    for shard in shards:
        data = msgspec.json.encode([_entry(row) for row in shard])
        name = f"site/index-{sha256(data).hexdigest()[:16]}.json"
        names.append(name.rpartition("/")[2])
        yield name, data
    yield NAME, msgspec.json.encode({"apps": len(rows), "files": names})


def _entry(row: Row) -> list[str]:
    return [row.id, row.name, row.summary, row.icon, row.keywords, row.developer]
