"""Handwritten digits, 8 x 8 pixels: 1,797 samples of 64 inputs in [0, 1], ten one-hot outputs.

They ship inside scikit-learn's wheel, so nothing is downloaded. Which samples train and which are held out is drawn
from the stream `data`.
Source: Alpaydin and Kaynak 1998, doi:10.24432/C50P49, its test part.
"""

import torch

from nfa_kernels.data.dataset import Data, split
from nfa_kernels.data.shipped import held_out, shipped
from nfa_kernels.names import LAYOUTS, TABLES
from nfa_kernels.random_streams import stream

TOTAL = TABLES["digits"].samples


def digits(
    seed: int, samples: int = 200, test_samples: int = 0, test_fraction: float | None = None, layout: str = "flat"
) -> Data:
    """Training and test samples without repetition: rows of 64 pixels, or with layout "image" (N, 1, 8, 8).

    Args:
        seed: of the trial, or what is fixed for all of them.
        samples: to train on, out of those that are not held out.
        test_samples: held out.
        test_fraction: of all 1,797, held out instead.
        layout: flat or image.
    Raises:
        ValueError: no samples, more than there are, an unknown layout, or scikit-learn is not installed.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout: received {layout!r}, allowed are {', '.join(LAYOUTS)}")
    tests = held_out(TOTAL, test_samples, test_fraction)
    if samples < 1 or samples + tests > TOTAL:
        raise ValueError(f"samples, test_samples: received {samples} + {tests}, allowed are 1 .. {TOTAL} together")
    x, y = shipped("digits")
    order = torch.randperm(TOTAL, generator=stream("data", seed))
    pixels = x / 16 if layout == "flat" else x.view(-1, 1, 8, 8) / 16
    return split(pixels, y, order, samples, tests)
