"""JSON from outside: read and checked, or refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import pydantic_core
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from bottomup_fast.errors import InputError

Content = TypeVar("Content")


class Record(BaseModel):
    """Base of what is read from JSON: what is not needed is passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True)


def read_json(path: Path) -> Any:
    """Content of a JSON file.

    Raises:
        InputError: missing, truncated or not JSON.
    """
    try:
        return pydantic_core.from_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not valid JSON ({reason})") from error


def check(adapter: TypeAdapter[Content], content: Any, path: Path) -> Content:
    """Content in the form that is expected of it.

    Raises:
        InputError: another form, by the dotted name of the first thing that is wrong.
    """
    try:
        return adapter.validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "content"
        raise InputError(f"{path}: {place}: {first['msg']}") from error
