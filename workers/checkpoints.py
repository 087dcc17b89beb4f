"""Where a lane of a stack is, as named arrays in one file per trial, from which another trainer goes on.

The format is that of kept weights (.safetensors): nothing in it can run code.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nfa_kernels.names import NUMERICAL_VERSION
from workers.kept_weights import decoded, encoded

MOST_BYTES = 64 * 2**20
"""Of the files of one block together; those of a larger stack come in parts."""

MOST_LANE_BYTES = 512 * 2**20
"""Of one lane's file; a larger one is not checkpointed."""

MOST_KEPT_BYTES = 512 * 2**20
"""Of the states that lanes of one stack keep at one step together; of more none is kept."""

Named = dict[str, Tensor]
"""Tensors with a leading K."""


class CheckpointError(ValueError):
    """Nothing can go on from these files; from the beginning it can."""


def pack(
    lanes: Sequence[int], step: int, state: Named, most_bytes: int | None = None
) -> tuple[tuple[int, int, bytes], ...]:
    """(lane, step, file) per lane; none if they would be too large.

    Args:
        lanes: their numbers.
        step: rows up to this one have been measured.
        state: tensors with one entry per lane.
        most_bytes: of all together; None for those of a checkpoint.
    """
    if size(state) > (MOST_BYTES if most_bytes is None else most_bytes):
        return ()
    arrays = {name: tensor.cpu().contiguous().numpy() for name, tensor in state.items()}
    about = {"step": str(step), "kernels": str(NUMERICAL_VERSION)}
    return tuple(
        (lane, step, encoded({name: array[place] for name, array in arrays.items()}, about))
        for place, lane in enumerate(lanes)
    )


def pack_in_parts(lanes: Sequence[int], step: int, state: Named) -> Iterator[tuple[tuple[int, int, bytes], ...]]:
    """(lane, step, file) of all lanes, as many at a time as go into one block; packed as they are asked for.

    Args:
        lanes: their numbers.
        step: rows up to this one have been measured.
        state: tensors with one entry per lane; they must not change until the last part was taken.
    """
    each = -(-size(state) // max(1, len(lanes)))
    if each > MOST_LANE_BYTES:
        return
    count = max(1, MOST_BYTES // max(1, each))
    for start in range(0, len(lanes), count):
        part = {name: tensor[start : start + count] for name, tensor in state.items()}
        yield pack(lanes[start : start + count], step, part, max(MOST_BYTES, size(part)))


def size(state: Named) -> int:
    """Bytes of the tensors."""
    return sum(tensor.nbytes for tensor in state.values())


def unpack(files: Sequence[bytes]) -> Named:
    """The state of a stack from its lanes' files.

    Raises:
        CheckpointError: they were made by kernels of another numerical version, or are not of one step and shape.
    """
    read = [decoded(file) for file in files]
    lanes, versions = [arrays for arrays, _ in read], {about.get("kernels") for _, about in read}
    if versions != {str(NUMERICAL_VERSION)}:
        raise CheckpointError(f"made by kernels of another version: received {versions}, these are {NUMERICAL_VERSION}")
    names = set(lanes[0])
    if any(set(lane) != names or any(lane[n].shape != lanes[0][n].shape for n in names) for lane in lanes):
        raise CheckpointError("checkpoints: received files of different steps or shapes, a stack goes on from one step")
    return {name: torch.stack([torch.from_numpy(lane[name]) for lane in lanes]) for name in lanes[0]}


def flattened(state: Any, name: str, lanes: int) -> Named:
    """The tensors and whole numbers of a nested tuple, by their places in it."""
    if isinstance(state, Tensor):
        return {name: state}
    if isinstance(state, tuple):
        parts = (flattened(part, f"{name}.{place}", lanes) for place, part in enumerate(state))
        return {key: tensor for part in parts for key, tensor in part.items()}
    return {name: torch.full((lanes,), state)}


def like(template: Any, name: str, found: Mapping[str, Tensor]) -> Any:
    """A nested tuple shaped as another one, with what `flattened` took apart."""
    if isinstance(template, Tensor):
        return found[name].to(template)
    if isinstance(template, tuple):
        parts = [like(part, f"{name}.{place}", found) for place, part in enumerate(template)]
        return type(template)(*parts) if hasattr(template, "_fields") else tuple(parts)
    return found[name][0].item()
