"""How a question names a measured layer: by its number from 1, or by its name."""

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, StringConstraints

from service.grid.network_settings import MAX_LAYER
from service.grid.trial_settings import LAYER_NAME

Layer = int | str
"""A measured layer by its number from 1, or by its name."""

_NUMBER: Final = r"[1-9][0-9]{0,2}|1000"
PATTERN: Final = rf"^(?:{_NUMBER}|{LAYER_NAME.pattern})$"


def read_layer(text: str | int) -> Layer:
    """The layer that is written in a query: a number where it is one.

    Raises:
        ValueError: neither a number from 1 nor a name.
    """
    if not re.fullmatch(PATTERN, str(text)):
        raise ValueError(f"a layer is its number, from 1 to {MAX_LAYER}, or its name, as conv1 or attention1.query")
    return int(text) if str(text).isdecimal() else str(text)


_Written = Annotated[str, StringConstraints(pattern=PATTERN)]
LayerText = Annotated[Layer, BeforeValidator(read_layer, json_schema_input_type=_Written)]
"""A layer as a query has it."""
