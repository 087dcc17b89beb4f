"""One random stream per purpose and seed, so that a trial's numbers depend on nothing else.

Neither the stack a trial is trained in, nor the device, nor the order of drawing, nor any setting enters a stream:
trials of one seed share data and initial weights, which makes comparisons between settings paired.

Version 2 of the streams fills the whole state of torch's Mersenne twister, 19,937 bits, from the purpose and all bits
of the seed. Version 1 went through `manual_seed`, which keeps 32 bits: seeds 111999 and 123227 had the same inputs.
"""

import hashlib
import sys
import threading
from typing import Final

import torch
from torch import Tensor

from nfa_kernels.names import STREAM_VERSION

_STATE_BYTES: Final = 5056
_WORDS_AT: Final = 24
_WORDS: Final = 624
"""Of torch's CPU generator: seed and counters, then the twister's words, 8 bytes each. Source: CPUGeneratorImpl.cpp."""


def stream(purpose: str, seed: int) -> torch.Generator:
    """A CPU generator for one purpose, such as "data" or "init/2", of one seed >= 0."""
    text = f"nfa/{STREAM_VERSION}/{purpose}/{seed}".encode()
    digest = bytearray(hashlib.shake_256(text).digest(4 * _WORDS))
    _state.words.copy_(torch.frombuffer(digest, dtype=torch.int32))
    # it need not be seeded: all of its state is set, the seed it tells of too
    generator = torch.Generator(device="cpu")
    generator.set_state(_state.whole)
    return generator


class _State(threading.local):
    """The state (bytes,) of a generator with seed 0, made once in each thread, whose words each stream replaces."""

    def __init__(self) -> None:
        with torch.inference_mode(False):
            self.whole = torch.Generator(device="cpu").manual_seed(0).get_state()
            if len(self.whole) != _STATE_BYTES:
                raise RuntimeError(f"torch {torch.__version__} keeps another generator state: {len(self.whole)} bytes")
            words = self.whole[_WORDS_AT : _WORDS_AT + 8 * _WORDS].view(torch.int32)
            # an unsigned word in the lower half of each of 8 bytes; the upper half stays 0
            self.words = words[0 if sys.byteorder == "little" else 1 :: 2]


_state: Final = _State()


_ONE: Final = torch.ones((), dtype=torch.float64)


def normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Standard normal numbers, float64, on the CPU."""
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def haar_columns(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Orthonormal columns, Haar distributed: (rows, columns), columns <= rows.

    Source: Mezzadri 2007, Notices AMS 54(5): the QR factor of a Gaussian matrix with the signs of R fixed.
    """
    if columns > rows:
        raise ValueError(f"columns: received {columns}, at most rows = {rows} orthonormal columns exist")
    orthogonal, upper = torch.linalg.qr(normal((rows, columns), generator))
    return orthogonal * _ONE.copysign(upper.diagonal())
