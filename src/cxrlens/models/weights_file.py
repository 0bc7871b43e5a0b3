"""Weights in files of other programs: read without running code, and freed of the names of what wrapped the network."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cxrlens.errors import UsageError

_HOLDERS = ("state_dict", "model_state_dict", "model", "network", "net")
"""Keys under which training programs keep the state dict in a checkpoint, looked up in this order."""

_COMPILED = "_orig_mod"
_AVERAGED = "n_averaged"  # the counter of torch.optim.swa_utils.AveragedModel, beside the weights


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict of a .safetensors file, of a .pt or .pth file, or of a checkpoint that holds one.

    Nothing but tensors and plain containers is unpickled, so that a file cannot run code.

    Raises:
        UsageError: when there is no such file, or it holds no state dict.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such weights file; `weights` takes 'imagenet', 'none' or a file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error)
        if "GLOBAL" in reason or "Unsupported" in reason:
            raise UsageError(
                f"{path}: is no readable weights file (it holds Python objects, such as a whole module, and loading "
                "those may run code); save the network's state_dict() and give that"
            ) from error
        raise _unreadable(path, error) from error
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise _unreadable(path, error) from error
    held = (content[key] for key in _HOLDERS if key in content) if isinstance(content, Mapping) else ()
    state = next(filter(_is_state, (content, *held)), None)
    if state is None:
        raise UsageError(f"{path}: holds no state dict of tensors; save the network's state_dict() and give that")
    return dict(state)


def _unreadable(path: Path, error: Exception) -> UsageError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UsageError(f"{path}: is no readable weights file ({reason}); is it complete?")


def _is_state(content: Any) -> bool:
    return (
        isinstance(content, Mapping)
        and bool(content)
        and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items())
    )


def without_wrappers(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without the names of the modules that the network was wrapped in when it was saved.

    ``module.`` of DataParallel, ``_orig_mod.`` of a compiled module, ``model.`` or ``network.`` of a training module:
    whatever stands before every name is taken away, until a name is one of the network's.

    Args:
        own: the network's state dict.
    """
    bare = {".".join(part for part in key.split(".") if part != _COMPILED): value for key, value in state.items()}
    if _AVERAGED not in own:
        bare.pop(_AVERAGED, None)
    while bare and not own.keys() & bare.keys():
        parts = [key.partition(".") for key in bare]
        if len({first for first, _, _ in parts}) > 1 or not all(rest for _, _, rest in parts):
            break
        bare = {rest: value for (_, _, rest), value in zip(parts, bare.values(), strict=True)}
    return bare


def unfit(state: Mapping[str, Tensor], own: Mapping[str, Tensor], optional: frozenset[str] = frozenset()) -> list[str]:
    """What keeps a state dict from being a network's, a phrase for each tensor; none where it fits.

    Args:
        own: the network's state dict.
        optional: names that may be missing or of another shape.
    """
    found = []
    for key in {**own, **state}:
        if key in optional:
            continue
        if key not in state:
            near = next((other for other in state if other.endswith(f".{key}")), None)
            found.append(f"{key} is missing" + (f", {near} is there" if near else ""))
        elif key not in own:
            found.append(f"{key} is too many")
        elif state[key].shape != own[key].shape:
            found.append(f"{key} has the shape {list(state[key].shape)}, not {list(own[key].shape)}")
        elif own[key].is_floating_point() and not state[key].is_floating_point():
            found.append(f"{key} holds {str(state[key].dtype).removeprefix('torch.')} numbers")
    return found


def not_finite(state: Mapping[str, Tensor]) -> list[str]:
    """The names of tensors that hold values which are no numbers (NaN) or infinite."""
    return [key for key, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
