"""Hashes by which the same is known again, and damage noticed."""

import hashlib

import torch
from torch import Tensor

LENGTH = 32  # hexadecimal digits: 128 bits


def digest(*parts: bytes | memoryview | str) -> str:
    """Hash parts in order, each with its length, so that no two sequences look alike."""
    sha = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        sha.update(f"{len(data)}:".encode())
        sha.update(data)
    return sha.hexdigest()[:LENGTH]


def of_tensors(*tensors: Tensor) -> str:
    """Hash tensors: shapes, types and every bit."""
    return digest(*(part for tensor in tensors for part in bits(tensor)))


def bits(tensor: Tensor) -> tuple[str, memoryview]:
    """Return what a tensor's hash is of: its type and shape, and its bytes."""
    if tensor.is_meta or tensor.is_nested:
        return f"{tensor.dtype}{tensor.layout}", memoryview(b"")
    dense = tensor.detach().to_dense() if tensor.layout != torch.strided else tensor.detach()
    kept = dense.resolve_conj().resolve_neg().cpu().contiguous()
    return f"{kept.dtype}{tuple(kept.shape)}", kept.reshape(-1).view(torch.uint8).numpy().data
