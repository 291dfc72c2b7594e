"""Looking into a bundle without a store: what it is, who signed it, how it is packed."""

from typing import Any

import msgspec

from holdall.journeys.arrival import arriving


def inspect(path: str) -> dict[str, Any]:
    """The facts of the bundle at `path`, after its signatures and digests were checked.

    Frames are not decoded.
    """
    with arriving(path) as arrival:
        opened = arrival.open()
        release = arrival.release
        frames = opened.index.frames
        return {
            "ref": str(release.ref),
            "release": arrival.digest,
            "signed_by": [key.fingerprint for key in arrival.signed.signers],
            "bundle": arrival.preamble.head.size,
            "size": release.size,
            "files": len(opened.tree.files),
            "contents": len(opened.tree.contents),
            "frames": len(frames),
            "largest_frame": max((frame.raw for frame in frames), default=0),
            "tree": release.tree,
            "created": release.created,
            "expires": release.expires,
            "manifest": msgspec.to_builtins(release.manifest),
        }
