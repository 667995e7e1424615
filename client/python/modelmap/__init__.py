"""modelmap - client of modelmapd, the live map of language models.

    with modelmap.Client() as m:
        print(m.near("llama-a", k=5))

The protocol is documented in modelmap-protocol(7); units stand in the docstrings of Client."""

from .client import Client, Matrix, Vectors
from .errors import Busy, Cancelled, Conflict, Denied, Error, Invalid, NoDaemon, NotFound, Protocol, Refused, Timeout, Unsupported
from .tables import Record, Table

__version__ = "0.1.0"

__all__ = [
    "Busy",
    "Cancelled",
    "Client",
    "Conflict",
    "Denied",
    "Error",
    "Invalid",
    "Matrix",
    "NoDaemon",
    "NotFound",
    "Protocol",
    "Record",
    "Refused",
    "Table",
    "Timeout",
    "Unsupported",
    "Vectors",
]
