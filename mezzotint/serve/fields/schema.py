"""A frozen dataclass as JSON Schema (draft 2020-12): what `read_fields` takes, for other programs to check against."""

from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, cast, get_args, get_origin

from .bounds import bounds_of
from .read import hints_of, required_names, split_optional

_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def schema_of(kind: type, *, takes_unknown: bool = False) -> dict[str, Any]:
    """An object with the fields of the dataclass `kind`; others are refused unless `takes_unknown`."""
    hints = hints_of(kind)
    properties = {entry.name: _property(hints[entry.name], entry, takes_unknown) for entry in fields(cast(Any, kind))}
    schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": takes_unknown}
    needed = required_names(kind)
    return {**schema, "required": needed} if needed else schema


def _property(hint: Any, entry: Field[Any], takes_unknown: bool) -> dict[str, Any]:
    bounds = bounds_of(entry.metadata)
    kind, takes_none = split_optional(hint)
    schema = _type(kind, takes_unknown)
    least, most = bounds.least, bounds.most
    limits = {"minimum": least, "maximum": most, "enum": None if bounds.choices is None else [*bounds.choices]}
    schema |= {name: value for name, value in limits.items() if value is not None}
    if bounds.longest is not None:
        schema["maxItems" if schema.get("type") == "array" else "maxLength"] = bounds.longest
    if takes_none and "type" in schema:
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    if bounds.about:
        schema["description"] = bounds.about
    if entry.default is not MISSING and isinstance(entry.default, bool | int | float | str):
        schema["default"] = entry.default
    return schema


def _type(kind: Any, takes_unknown: bool) -> dict[str, Any]:
    if kind is Any:
        return {}
    if is_dataclass(kind):
        return schema_of(cast(type, kind), takes_unknown=takes_unknown)
    if get_origin(kind) is tuple:
        return {"type": "array", "items": _type(get_args(kind)[0], takes_unknown)}
    return {"type": _TYPES[kind]}
