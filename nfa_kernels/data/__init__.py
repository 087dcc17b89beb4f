"""Training data of one trial: kind -> function(seed, **settings) -> Data, float64 (tokens: int64), on the CPU."""

from collections.abc import Callable

from nfa_kernels.data.clusters import clusters
from nfa_kernels.data.conv_teacher import conv_teacher
from nfa_kernels.data.dataset import Data
from nfa_kernels.data.digits import digits
from nfa_kernels.data.index_models import multi_index, single_index
from nfa_kernels.data.linear_teacher import linear_teacher
from nfa_kernels.data.modular_addition import modular_addition
from nfa_kernels.data.sparse_parity import sparse_parity
from nfa_kernels.data.tables import breast_cancer, diabetes, iris, wine
from nfa_kernels.data.uploaded import uploaded

DATA: dict[str, Callable[..., Data]] = {
    "linear_teacher": linear_teacher,
    "clusters": clusters,
    "single_index": single_index,
    "multi_index": multi_index,
    "sparse_parity": sparse_parity,
    "conv_teacher": conv_teacher,
    "modular_addition": modular_addition,
    "digits": digits,
    "iris": iris,
    "wine": wine,
    "breast_cancer": breast_cancer,
    "diabetes": diabetes,
    "uploaded": uploaded,
}


def make_data(kind: str, seed: int, **settings: object) -> Data:
    """Data of one trial by the kind's name.

    Raises:
        ValueError: unknown kind, or settings that do not fit together.
    """
    if kind not in DATA:
        raise ValueError(f"kind: received {kind!r}, allowed are {', '.join(DATA)}")
    return DATA[kind](seed, **settings)
