"""Where a configuration comes from: defaults, then a file, then the environment, then flags; the later wins.

A variable is named after its field, MEZZOTINT_SERVE_IDLE_EXIT_S for `idle.exit_s`, and holds JSON or plain text.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Final, cast

from mezzotint.errors import MezzotintError

from ..fields.read import hints_of, read_fields
from ..fields.schema import schema_of
from .service import ServiceConfig

PREFIX: Final = "MEZZOTINT_SERVE_"
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Sourced:
    """A configuration, and for each field that is not a default where it comes from: "idle.exit_s" to a text."""

    config: ServiceConfig
    origins: Mapping[str, str]

    def printed(self) -> dict[str, Any]:
        """Every field with its value and where it comes from."""
        return {
            name: {"value": value, "from": self.origins.get(name, "default")}
            for name, value in _flat(self.config).items()
        }


def read_config(file: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any]) -> Sourced:
    """The configuration of these sources; `flags` are by dotted field name, None for those not given.

    MezzotintError for a file that cannot be read, and for fields that are unknown or out of range, wherever they stand.
    """
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    if file is not None:
        data = _read_file(file)
        read_fields(ServiceConfig, data, where=str(file))
        merged = _copied(data)
        origins |= dict.fromkeys(_names(data), str(file))
    for name, (variable, value) in _of_environment(environment).items():
        _put(merged, name, value)
        origins[name] = variable
    for name, value in flags.items():
        if value is not None:
            _put(merged, name, value)
            origins[name] = "flag"
    return Sourced(read_fields(ServiceConfig, merged, where="the configuration"), origins)


def config_schema() -> dict[str, Any]:
    """The JSON Schema of service.json."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mezzotint serve",
        **schema_of(ServiceConfig),
    }


def _read_file(path: Path) -> Any:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise MezzotintError(where=path, what="the file is large", expected=f"at most {_MOST_BYTES} bytes")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise MezzotintError(f"{path} cannot be read as JSON ({error})") from None


def _of_environment(environment: Mapping[str, str]) -> dict[str, tuple[str, Any]]:
    known = {PREFIX + name.upper().replace(".", "_"): name for name in field_names(ServiceConfig)}
    found: dict[str, tuple[str, Any]] = {}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX):
            continue
        if variable not in known:
            raise MezzotintError(f"there is no setting {variable!r:.60}; see mezzotint serve --schema")
        found[known[variable]] = (variable, _value(text))
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def field_names(kind: type) -> list[str]:
    """Dotted names of all fields, those of inner dataclasses behind their own."""
    names: list[str] = []
    for entry in fields(cast(Any, kind)):
        inner = hints_of(kind)[entry.name]
        names += (
            [f"{entry.name}.{name}" for name in field_names(cast(type, inner))] if is_dataclass(inner) else [entry.name]
        )
    return names


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for entry in fields(value):
        inner = getattr(value, entry.name)
        is_group = is_dataclass(inner)
        flat |= _flat(inner, f"{prefix}{entry.name}.") if is_group else {f"{prefix}{entry.name}": inner}
    return flat


def _names(data: Mapping[str, Any], prefix: str = "") -> list[str]:
    names: list[str] = []
    for name, value in data.items():
        names += _names(value, f"{prefix}{name}.") if isinstance(value, dict) else [f"{prefix}{name}"]
    return names


def _copied(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: dict(value) if isinstance(value, dict) else value for name, value in data.items()}


def _put(data: dict[str, Any], name: str, value: Any) -> None:
    group, dot, inner = name.partition(".")
    if dot:
        data.setdefault(group, {})[inner] = value
    else:
        data[name] = value
