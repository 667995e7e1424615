"""What can go wrong, as types. The text of a refusal is the daemon's own line, its code the daemon's own word."""

from __future__ import annotations

from typing import Dict, Type


class Error(Exception):
    """Anything that this package raises on purpose."""


class NoDaemon(Error):
    """Nobody answers at the endpoint, or the daemon went away."""


class Timeout(Error):
    """The daemon is there and did not answer in time."""


class Protocol(Error):
    """What came is no message of this protocol."""


class Refused(Error):
    """The daemon said no. `code` is its word for it, str() its line for people."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class NotFound(Refused):
    """No model, run, epoch or benchmark of that name."""


class Invalid(Refused):
    """An argument is unknown, missing, of the wrong type or out of range."""


class Denied(Refused):
    """The endpoint or the key does not allow that."""


class Busy(Refused):
    """Too much is under way; try again later."""


class Conflict(Refused):
    """Not possible in the state that things are in."""


class Unsupported(Refused):
    """This daemon has no such command, or speaks another version."""


class Cancelled(Refused):
    """The daemon is stopping."""


_BY_CODE: Dict[str, Type[Refused]] = {
    "not_found": NotFound,
    "invalid": Invalid,
    "format": Invalid,
    "denied": Denied,
    "busy": Busy,
    "conflict": Conflict,
    "unsupported": Unsupported,
    "cancelled": Cancelled,
}


def refusal(code: str, text: str) -> Refused:
    """The error for a code of the protocol; an unknown one is a plain Refused."""
    return _BY_CODE.get(code, Refused)(code, text)
