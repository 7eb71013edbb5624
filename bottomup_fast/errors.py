"""The one exception a user's input can raise."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input: the message is one line that names the argument or file and says why."""
