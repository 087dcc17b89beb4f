"""What a trainer on a GPU says of it: whether it can be used, how much memory there is, and what it is slow at."""

from typing import Any, Final, NamedTuple

FLOAT64_RATIOS: Final = {
    **dict.fromkeys(((6, 0), (7, 0), (8, 0), (9, 0), (10, 0)), 2),
    **dict.fromkeys(((5, 0), (5, 2), (6, 1), (7, 5)), 32),
    **dict.fromkeys(((8, 6), (8, 7), (8, 9), (10, 3), (11, 0), (12, 0), (12, 1)), 64),
    (6, 2): 32,
    (7, 2): 32,
}
"""Compute capability -> how many times as fast float32 is as float64, from NVIDIA's tables of arithmetic throughput;
cards for offices and games have few units for float64."""
SLOW_RATIO: Final = 8
"""From which a card is slow at float64."""


class Card(NamedTuple):
    """A GPU as its trainer sees it."""

    name: str
    capability: tuple[int, int]
    total_bytes: int
    free_bytes: int


def refusal(has_cuda: bool, built_for: str | None) -> str | None:
    """Why a trainer that was given a GPU cannot train on it; None if it can.

    Args:
        has_cuda: what `torch.cuda.is_available()` answers.
        built_for: `torch.version.cuda`, the CUDA that torch was built for; None for its CPU build.
    """
    if has_cuda:
        return None
    if built_for is None:
        return (
            "Ray gave this trainer a GPU, and torch is its CPU build: install the one for CUDA on this node, or start "
            "Ray there with --num-gpus=0"
        )
    return (
        f"Ray gave this trainer a GPU, and torch, built for CUDA {built_for}, finds none: look at nvidia-smi and the "
        "driver's version, or start Ray there with --num-gpus=0"
    )


def float64_ratio(capability: tuple[int, int]) -> int | None:
    """How many times as fast float32 is as float64 on such a card; None where that is not known."""
    return FLOAT64_RATIOS.get(capability)


def slowness(card: Card) -> str | None:
    """What there is to warn of before float64 is trained or measured on a card; None where there is nothing."""
    ratio = float64_ratio(card.capability)
    if ratio is None or ratio < SLOW_RATIO:
        return None
    return (
        f"{card.name} computes float64 at 1/{ratio} of the rate of float32: give trials training.dtype and "
        "measure.dtype float32, or device: cpu"
    )


def usable_bytes(card: Card, share: float) -> int:
    """Memory for a trainer that has a share of a card: no more than is free, which others may use as well."""
    return min(int(card.total_bytes * share), card.free_bytes)


def described(card: Card, share: float) -> dict[str, Any]:
    """What its trainer says of a card, for provenance and `GET /cluster`."""
    about = {"device": card.name, "memory_bytes": usable_bytes(card, share)}
    slow = slowness(card)
    return about | ({"warning": slow} if slow else {})


def this_card() -> Card:
    """The GPU that this process sees; Ray shows a trainer no other than its own."""
    import torch  # noqa: PLC0415  (the dispatcher loads this module and has no use for torch)

    free, total = torch.cuda.mem_get_info()
    return Card(torch.cuda.get_device_name(), torch.cuda.get_device_capability(), total, free)


def free_cached() -> None:
    """Give memory that torch keeps for later back to the card, for whoever shares it."""
    import torch  # noqa: PLC0415

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
