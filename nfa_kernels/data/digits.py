"""Handwritten digits, 8 x 8 pixels: 1,797 samples of 64 inputs in [0, 1], ten one-hot outputs.

They ship inside scikit-learn's wheel, so nothing is downloaded. Which samples train and which are held out is drawn
from the stream `data`.
Source: Alpaydin and Kaynak 1998, doi:10.24432/C50P49, its test part.
"""

import torch

from nfa_kernels.data.dataset import Data
from nfa_kernels.random_streams import stream

TOTAL = 1797


def digits(seed: int, samples: int = 200, test_samples: int = 0) -> Data:
    """Training and test samples without repetition.

    Raises:
        ValueError: no samples, more than there are, or scikit-learn is not installed.
    """
    if samples < 1 or samples + test_samples > TOTAL:
        told = f"{samples} + {test_samples}"
        raise ValueError(f"samples, test_samples: received {told}, allowed are 1 .. {TOTAL} together")
    try:
        # an optional extra, which only this kind of data needs
        from sklearn.datasets import load_digits  # noqa: PLC0415
    except ImportError as error:
        raise ValueError("digits needs scikit-learn where trainers run: pip install 'nfa-service[data]'") from error
    loaded = load_digits()
    order = torch.randperm(TOTAL, generator=stream("data", seed))
    x = torch.from_numpy(loaded.data)[order] / 16
    y = torch.nn.functional.one_hot(torch.from_numpy(loaded.target)[order], 10).to(torch.float64)
    end = samples + test_samples
    return Data(x[:samples], y[:samples], x[samples:end], y[samples:end])
