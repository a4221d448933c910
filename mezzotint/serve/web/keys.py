"""Keys: who may ask, read from a file, compared in constant time, in whichever place clients put them."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from starlette.datastructures import Headers

from mezzotint.errors import MezzotintError

COOKIE = "mezzotint_session"
_LEAST_CHARACTERS = 16
_MOST_SESSIONS = 1024


@dataclass
class Keys:
    """Names of keys by the SHA-256 of each; none at all: everybody may ask. Sessions are the page's, until the end."""

    digests: Mapping[str, bytes] = field(default_factory=dict)  # name to digest
    sessions: dict[str, str] = field(default_factory=dict)  # token to name

    @classmethod
    def read(cls, path: Path) -> "Keys":
        """A file with a key a line, or `name:key`; empty lines and those that begin with # are left out.

        MezzotintError for a file that cannot be read, keys that are short, and names or keys that come twice.
        """
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise MezzotintError(f"{path} cannot be read as a file of keys ({error})") from None
        digests: dict[str, bytes] = {}
        for number, line in enumerate(lines, start=1):
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            name, colon, key = text.partition(":")
            name, key = (name, key) if colon else (f"key-{number}", text)
            if len(key) < _LEAST_CHARACTERS:
                expected = f"at least {_LEAST_CHARACTERS} characters"
                raise MezzotintError(where=f"{path}, line {number}", what="the key is short", expected=expected)
            if name in digests or _digest(key.encode()) in digests.values():
                raise MezzotintError(where=f"{path}, line {number}", what="the name or the key is there already")
            digests[name] = _digest(key.encode())
        if not digests:
            raise MezzotintError(f"{path} has no key; write one a line")
        return cls(digests)

    @property
    def is_open(self) -> bool:
        """Whether everybody may ask."""
        return not self.digests

    def owner(self, headers: Headers, cookies: Mapping[str, str]) -> str | None:
        """The name of the key that came with a request, "" where none is needed, None where it is wrong or missing."""
        if self.is_open:
            return ""
        session = self.sessions.get(cookies.get(COOKIE, ""))
        return session or next((name for key in _keys_in(headers) if (name := self.name_of(key))), None)

    def name_of(self, key: bytes) -> str | None:
        """Whose a key is; takes as long for every wrong one."""
        digest = _digest(key)
        found = [name for name, known in self.digests.items() if hmac.compare_digest(digest, known)]
        return found[0] if found else None

    def begin_session(self, name: str) -> str:
        """A token for the page's cookie."""
        while len(self.sessions) >= _MOST_SESSIONS:
            self.sessions.pop(next(iter(self.sessions)))
        token = secrets.token_urlsafe(32)
        self.sessions[token] = name
        return token


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _keys_in(headers: Headers) -> list[bytes]:
    """All that could be a key: OpenAI's clients send a bearer, AUTOMATIC1111's a user and password."""
    found = [headers["x-api-key"].encode("latin-1")] if "x-api-key" in headers else []
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        found.append(rest.strip().encode("latin-1"))
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(rest.strip(), validate=True).partition(b":")
        except (ValueError, binascii.Error):
            return found
        found += [password, user]
    return [key for key in found if key]
