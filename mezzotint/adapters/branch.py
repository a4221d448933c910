"""A change as two small layers beside the one that it changes: down to a rank, and up again."""

from dataclasses import dataclass

import numpy as np

from mezzotint.arrays import FloatArray
from mezzotint.errors import MezzotintError

from .change import Change

MOST_RANK = 64
_ENOUGH = 0.9999  # of the energy: no more rank is spent than that takes


@dataclass(frozen=True, kw_only=True)
class Branch:
    """`up` (O, r) and `down` (r, I) or (r, I, kh, kw): their product is the change, or the best of that rank.

    `kept` is the part of the change's energy, in [0, 1], that they have: 1 where the file has them so.
    """

    up: FloatArray
    down: FloatArray
    kept: float

    @property
    def rank(self) -> int:
        """Of the change."""
        return len(self.down)


def branch_of(change: Change, most_rank: int = MOST_RANK) -> Branch:
    """The branch for a change at scale 1, alpha and all.

    LoRA has one as it is. The change of another form is cut to at most `most_rank` by a singular value decomposition,
    which leaves the least error of all that rank (Eckart and Young 1936). Raises MezzotintError for what is no sum.
    """
    if change.is_decomposed or change.bias_kind is not None or not change.changes_weight or len(change.shape) < 2:
        what = "sets magnitudes (DoRA)" if change.is_decomposed else "changes a bias or a norm"
        raise MezzotintError(
            f"{change.factors.file.path}: {change.factors.owner} {what}, which no branch beside a layer can; fuse it: "
            "leave --live away"
        )
    if change.form.pair is not None:
        up, down = change.form.pair(change.factors, change.shape)
        scaled = (up * np.float32(change.factor)).astype(np.float32)
        if not (np.isfinite(scaled).all() and np.isfinite(down).all()):
            change.delta()  # says so
        return Branch(up=scaled, down=down.astype(np.float32), kept=1.0)
    return _truncated(change.delta(), most_rank)


def _truncated(delta: FloatArray, most_rank: int) -> Branch:
    """By the eigenvectors of delta times itself on its shorter side: convolutions have a long one."""
    matrix = delta.reshape(len(delta), -1).astype(np.float64)
    is_tall = matrix.shape[0] > matrix.shape[1]
    energies, vectors = np.linalg.eigh(matrix.T @ matrix if is_tall else matrix @ matrix.T)
    energies, vectors = np.maximum(energies[::-1], 0.0), vectors[:, ::-1]
    total = float(energies.sum())
    if not total:
        return Branch(
            up=np.zeros((len(delta), 1), np.float32), down=np.zeros((1, *delta.shape[1:]), np.float32), kept=1.0
        )
    shares = np.cumsum(energies) / total
    rank = min(int(np.searchsorted(shares, _ENOUGH)) + 1, most_rank, len(energies))
    first = vectors[:, :rank]
    up, down = (matrix @ first, first.T) if is_tall else (first, first.T @ matrix)
    return Branch(
        up=up.astype(np.float32),
        down=down.astype(np.float32).reshape(rank, *delta.shape[1:]),
        kept=float(shares[rank - 1]),
    )
