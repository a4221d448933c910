"""What a key of a component's config may say: see the tables of options, which are made of these."""

from typing import Final, TypeAlias

Values: TypeAlias = tuple[object, ...]

ANY: Final[Values | None] = None  # the module alone knows of it
NONE: Final[Values] = (None,)
OFF: Final[Values] = (None, False)
