"""What every machine module finds in code, and the addresses it may believe.

Knows nothing of instructions or of ELF files.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class References(NamedTuple):
    """Address fields found in code, by ascending file position.

    A kind is how a field is encoded; its meaning is private to the machine module.
    """

    positions: NDArray[np.int64]
    targets: NDArray[np.int64]
    kinds: NDArray[np.uint8]


class Bounds(NamedTuple):
    """Addresses of the loaded image, [low, high), and of its executable sections."""

    low: int
    high: int
    code_low: int
    code_high: int
