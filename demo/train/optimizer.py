"""Muon for matrices, AdamW for what is none: biases, norms, embeddings, and the layers at either end of a network.

Muon (Jordan 2024) makes each update of a matrix orthogonal. A convolution counts as the matrix (out, in * k * k); as
torch's Muon takes matrices alone, it works on views of the weights.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

_MOMENTUM = 0.95
_BETAS = (0.9, 0.99)


class MatrixOptimizer:
    """Both optimizers as one, at one learning rate: Muon's updates are scaled to the size of AdamW's."""

    def __init__(
        self, matrices: Iterable[nn.Parameter], others: Iterable[nn.Parameter], newton_schulz_steps: int
    ) -> None:
        self._matrices, self._others = list(matrices), list(others)
        self._views = [_matrix_view(parameter.detach()) for parameter in self._matrices]
        self._muon = torch.optim.Muon(
            self._views,
            weight_decay=0.0,
            momentum=_MOMENTUM,
            ns_steps=newton_schulz_steps,
            adjust_lr_fn="match_rms_adamw",
        )
        self._adamw = torch.optim.AdamW(self._others, betas=_BETAS, weight_decay=0.0, fused=True)

    def step(self, learning_rate: float) -> None:
        """Clip the whole gradient to length 1, change the weights by it, and forget it."""
        parameters = [*self._matrices, *self._others]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer in (self._muon, self._adamw):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
        for parameter, view in zip(self._matrices, self._views, strict=True):
            view.grad = None if parameter.grad is None else _as_matrix(parameter.grad)
        self._muon.step()  # type: ignore[no-untyped-call]  # torch 2.13 states no types
        self._adamw.step()
        for tensor in (*parameters, *self._views):
            tensor.grad = None

    def state_dict(self) -> Sequence[dict[str, Any]]:
        """Of both."""
        return [self._muon.state_dict(), self._adamw.state_dict()]

    def load_state_dict(self, states: Sequence[dict[str, Any]]) -> None:
        """What `state_dict` gave."""
        for optimizer, state in zip((self._muon, self._adamw), states, strict=True):
            optimizer.load_state_dict(state)


def _as_matrix(tensor: torch.Tensor) -> torch.Tensor:
    """(out, everything else) of a matrix or of a convolution, channels last; Muon does not see the columns' order."""
    rows = tensor if tensor.ndim == 2 else tensor.permute(0, 2, 3, 1)
    return rows.reshape(tensor.shape[0], -1)


def _matrix_view(tensor: torch.Tensor) -> torch.Tensor:
    """As `_as_matrix`, in the same memory; ValueError where that cannot be."""
    matrix = _as_matrix(tensor)
    if matrix.data_ptr() != tensor.data_ptr():
        raise ValueError("a convolution's weights must be in channels_last")
    return matrix
