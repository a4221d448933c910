"""The rule for fields that are not done here: neutral values are taken, any other would change the image."""

from collections.abc import Mapping
from typing import Any

from mezzotint.errors import MezzotintError


def refuse_what_changes_the_image(
    given: Mapping[str, Any], neutral: Mapping[str, tuple[object, ...]], prefix: str
) -> None:
    """Raise MezzotintError that names the first field with a value that is not one of its neutral ones."""
    for name, allowed in neutral.items():
        if name in given and not any(_equal(given[name], value) for value in allowed):
            raise MezzotintError(
                what=f"{prefix}{name}",
                got=given[name],
                expected=str(allowed[0]),
                advice="it is not there, and would change the image",
            )


def refuse_scripts(raw: Mapping[str, Any]) -> None:
    """Raise MezzotintError for extensions and styles that were asked to do something; an empty call does nothing."""
    scripts = raw.get("alwayson_scripts")
    calls = scripts.items() if isinstance(scripts, Mapping) else ()
    active = [name for name, call in calls if call not in ({}, None, [], {"args": []})]
    if active:
        raise MezzotintError(what="alwayson_scripts", got=active[0], expected="none", advice="scripts are not there")
    styles = raw.get("styles")
    named = [style for style in styles if style not in (None, "", "None")] if isinstance(styles, list) else []
    if named:
        raise MezzotintError(what="styles", got=named[0], expected="none", advice="write the style into the prompt")


def _equal(given: object, value: object) -> bool:
    """JSON's numbers, without taking false for 0."""
    return given == value and isinstance(given, bool) == isinstance(value, bool)
