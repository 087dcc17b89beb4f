"""A CUDA device that is not there: real numbers on the CPU that answer `cuda:0` when asked where they are.

    with AbsentGPU() as gpu:
        moved = array.to(gpu.device)

Whole programs run on it to the CPU's own numbers, branches that depend on numbers included, which no fake tensor can
follow. An operation between it and the CPU is refused as CUDA refuses it. What a device costs is counted: launches, and
the times that the program waits for it, which are copies to the CPU (`.item()`, `bool()`, `.tolist()` among them) or
from it, unless pinned memory is sent, and operations whose shape depends on numbers. It cannot show whether a kernel of
CUDA exists, its speed, or its rounding.
"""

import ctypes
import functools
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

DEVICE, CPU = torch.device("cuda:0"), torch.device("cpu")
_WAITING = frozenset(("_local_scalar_dense", "nonzero", "equal", "masked_select", "_unique2", "unique_dim", "bincount"))
"""Operations that answer the program, or whose shape depends on numbers."""
_INDEXED = frozenset(("index", "index_put_", "index_put", "_index_put_impl_"))
_FREE = frozenset(
    (
        *("view", "_unsafe_view", "_reshape_alias", "as_strided", "expand", "permute", "transpose", "t", "alias"),
        *("select", "slice", "split", "split_with_sizes", "unbind", "squeeze", "unsqueeze", "unfold", "diagonal"),
        *("detach", "lift_fresh", "empty", "empty_strided", "empty_like", "new_empty", "new_empty_strided"),
        *("_local_scalar_dense", "resize_"),
    )
)
"""Operations that launch nothing."""


class OtherDevice(RuntimeError):
    """An operation between the device and the CPU."""


class _There(Tensor):
    """A tensor on the device; its numbers are `here`.

    To torch's own C++ it lies on `meta`, where the engine of derivatives asks for no driver; Python hears of `cuda:0`.
    """

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> "_There":
        shape = torch.empty_strided(here.shape, here.stride(), dtype=here.dtype, device="meta")
        made = Tensor._make_subclass(cls, shape, False)
        made.here = here
        return made

    @property
    def device(self) -> torch.device:  # ty: ignore[incompatible-property-override]
        return DEVICE

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # ty: ignore
        raise RuntimeError(f"{func} on the device, outside of `with AbsentGPU()`")

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def item(self) -> Any:
        return self.cpu().item()


class AbsentGPU(TorchDispatchMode):
    """While it is entered, `cuda:0` is a device."""

    device = DEVICE

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # nothing here is compiled; to say so torch would load its compiler
        return False

    def __init__(self) -> None:
        super().__init__()
        _guard()
        self.launches: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self.held = self.most_held = 0
        """Bytes of the device's memory that are in use, and were at most."""
        self._storages: dict[int, int] = {}
        self._entered, self._without_driver = 0, patch("torch.cuda._lazy_init", lambda: None)

    def reset(self) -> None:
        """Count anew."""
        self.launches.clear()
        self.waits.clear()
        self.most_held = self.held

    def __enter__(self) -> "AbsentGPU":
        self._entered += 1
        if self._entered == 1:
            # as FakeTensorMode does: nobody is to look for the driver
            self._lifts = torch._C._only_lift_cpu_tensors()
            torch._C._set_only_lift_cpu_tensors(True)
            self._without_driver.start()
        super().__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:  # ty: ignore[incompatible-method-override]
        super().__exit__(*raised)
        self._entered -= 1
        if not self._entered:
            torch._C._set_only_lift_cpu_tensors(self._lifts)
            self._without_driver.stop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = dict(kwargs or {}), func.overloadpacket.__name__
        there = [one for one in _tensors((*args, *kwargs.values())) if isinstance(one, _There)]
        if "pin" in name:  # into memory that a device reads by itself
            return args[0].clone() if name.endswith("pin_memory") else False
        if (there or name == "to") and _is_made_of_others(func):
            with self:
                return func.decompose(*args, **kwargs)
        is_there = bool(there)
        if kwargs.get("device") is not None:
            is_there, kwargs["device"] = torch.device(kwargs["device"]).type in (DEVICE.type, "meta"), CPU
        if name == "_to_copy" and is_there and there and kwargs.get("dtype") in (None, args[0].dtype):
            with self:
                return args[0].detach()
        _check(func, name, args, kwargs)
        self._count(name, args, kwargs, is_there, bool(there))
        answer = func(*_here(args), **{key: _here(one) for key, one in kwargs.items()})
        given: dict[int, Tensor] = {id(one.here): one for one in there}
        return tree_map(lambda one: self._moved(given, one), answer) if is_there else answer

    def _count(self, name: str, args: Any, kwargs: Any, is_there: bool, was_there: bool) -> None:
        if name in ("_to_copy", "copy_"):
            source = args[1] if name == "copy_" else args[0]
            target_is_there = isinstance(args[0], _There) if name == "copy_" else is_there
            if isinstance(source, _There) and not target_is_there:
                self.waits["copy to the CPU"] += 1
            elif target_is_there and not isinstance(source, _There) and source.ndim:
                self.launches["copy from the CPU"] += 1
                if not kwargs.get("non_blocking", len(args) > 2 and args[2]):
                    self.waits["copy from the CPU"] += 1
        if not was_there:
            return
        has_mask = name in _INDEXED and any(one.dtype == torch.bool for one in _tensors(args[1:2]))
        if has_mask or name in _WAITING:
            self.waits["mask" if has_mask else name] += 1
        if name not in _FREE:
            self.launches[name] += 1

    def _moved(self, given: dict[int, Tensor], answer: Any) -> Any:
        """What an operation on the device has answered, as what is there."""
        if not isinstance(answer, Tensor):
            return answer
        if id(answer) in given:
            return given[id(answer)]
        storage = answer.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._storages:
            self._storages[key] = size
            self.held += size
            self.most_held = max(self.most_held, self.held)
            weakref.finalize(storage, self._freed, key)
        return _There(answer)

    def _freed(self, key: int) -> None:
        self.held -= self._storages.pop(key, 0)


def _check(func: Any, name: str, args: Any, kwargs: Any) -> None:
    """Refuse what CUDA refuses; numbers alone and copies may mix, and so may indices from the CPU."""
    if name in ("_to_copy", "copy_"):
        return
    tensors = [*_tensors((*args, *kwargs.values()))]
    if any(one.device.type == "meta" for one in tensors):
        raise OtherDevice(f"{func}: with indices that torch made of a sequence, which is waited for: give a tensor")
    if name in _INDEXED and isinstance(args[0], _There):
        tensors = [*_tensors((args[0], *args[2:]))]
    if any(isinstance(one, _There) for one in tensors):
        here = [tuple(one.shape) for one in tensors if not isinstance(one, _There) and one.ndim]
        if here:
            raise OtherDevice(f"{func}: on the device and on the CPU, {', '.join(map(str, here))}")


def _tensors(arguments: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors among arguments, also in lists of them."""
    for one in arguments:
        if isinstance(one, Tensor):
            yield one
        elif isinstance(one, (list, tuple)):
            yield from _tensors(one)


def _here(argument: Any) -> Any:
    """An argument with the numbers of the tensors on the device."""
    if isinstance(argument, _There):
        return argument.here
    return type(argument)(map(_here, argument)) if isinstance(argument, (list, tuple)) else argument


@functools.cache
def _is_made_of_others(func: Any) -> bool:
    """Whether torch composes an operation of others, also where it passes it on whole, as in inference mode."""
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"))


def _guard() -> None:
    """Let builds of torch without CUDA speak of its devices, as they do of `meta`: a guard that guards nothing."""
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    guards = (ctypes.c_void_p * 20).in_dll(library, "_ZN3c104impl26device_guard_impl_registryE")
    cuda, meta = 1, 14
    if not guards[cuda]:
        guards[cuda] = guards[meta]
    elif torch.cuda.device_count() == 0:
        # a build for CUDA without a card: torch's own guard that guards nothing
        torch._C._ensureCUDADeviceGuardSet()
