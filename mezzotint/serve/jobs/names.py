"""Names of jobs: nobody can guess one, and the server knows those that it gave without keeping them."""

import hashlib
import hmac
import secrets

_DIGITS = 16  # of each half


class JobNames:
    """A name is a random half, and a seal of it and of its owner, which the next server's secret does not make."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)

    def new(self, owner: str) -> str:
        """32 hexadecimal digits."""
        drawn = secrets.token_hex(_DIGITS // 2)
        return drawn + self._seal(drawn, owner)

    def gave(self, name: str, owner: str) -> bool:
        """Whether `name` was given to a job of this owner."""
        seal = self._seal(name[:_DIGITS], owner)
        return hmac.compare_digest(name[_DIGITS:].encode("utf-8", "replace"), seal.encode())

    def _seal(self, drawn: str, owner: str) -> str:
        said = f"{drawn}\n{owner}".encode("utf-8", "replace")
        return hashlib.blake2b(said, digest_size=_DIGITS // 2, key=self._secret).hexdigest()
