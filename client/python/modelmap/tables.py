"""Answers as Python objects: a Record is a dict, a Table a list of Records with columns; both print as tables, in a
terminal and in a notebook. Keys are those of modelmap-protocol(7); a key that this package does not know is there too."""

from __future__ import annotations

import html
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, overload

_SHOWN = 60  # rows that are printed; the rest is counted


def _text(v: Any) -> str:
    if v is None:
        return ""
    if isinstance(v, bool):
        return "yes" if v else "no"
    if isinstance(v, float):
        return "%.6g" % v
    if isinstance(v, (list, tuple)):
        return ", ".join(_text(x) for x in v[:8]) + (", ..." if len(v) > 8 else "")
    if isinstance(v, dict):
        return ", ".join("%s %s" % (k, _text(x)) for k, x in v.items())
    # Names come from directories: nothing of them may steer a terminal.
    return "".join(c if c.isprintable() else "?" for c in str(v))


def _is_number(v: Any) -> bool:
    return isinstance(v, (int, float)) and not isinstance(v, bool)


def _html(columns: Sequence[str], rows: Iterable[Sequence[Any]], caption: str = "") -> str:
    out = ["<table>"]
    if caption:
        out.append("<caption>%s</caption>" % html.escape(caption))
    if any(columns):
        out.append("<thead><tr>%s</tr></thead>" % "".join("<th>%s</th>" % html.escape(c) for c in columns))
    out.append("<tbody>")
    for row in rows:
        cells = (
            '<td style="text-align:%s">%s</td>' % ("right" if _is_number(v) else "left", html.escape(_text(v)))
            for v in row
        )
        out.append("<tr>%s</tr>" % "".join(cells))
    out.append("</tbody></table>")
    return "".join(out)


class Record(Dict[str, Any]):
    """One object of the protocol: a dict that prints as two columns."""

    def __repr__(self) -> str:
        width = max([len(k) for k in self] or [0])
        return "\n".join("%-*s  %s" % (width, k, _text(v)) for k, v in self.items())

    def _repr_html_(self) -> str:
        return _html(("", ""), self.items())


class Table(Sequence[Record]):
    """Rows of one kind. `columns` are the keys that are shown; every row has all of its keys. `info` is what the answer
    said beside its rows (epoch, clip, ...). A row is found by number, or by the value of its first column: t["qwen2-a"]."""

    def __init__(self, rows: Iterable[Mapping[str, Any]], columns: Sequence[str], info: Optional[Mapping[str, Any]] = None) -> None:
        self.rows: List[Record] = [Record(r) for r in rows]
        self.columns: List[str] = list(columns)
        self.info: Record = Record(info or {})

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, at: int) -> Record: ...

    @overload
    def __getitem__(self, at: str) -> Record: ...

    @overload
    def __getitem__(self, at: slice) -> Table: ...

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return Table(self.rows[at], self.columns, self.info)
        if isinstance(at, str):
            for r in self.rows:
                if r.get(self.columns[0]) == at:
                    return r
            raise KeyError(at)
        return self.rows[at]

    def column(self, key: str) -> List[Any]:
        """The values of one key, None where a row has none."""
        return [r.get(key) for r in self.rows]

    def to_pandas(self) -> Any:
        """A pandas.DataFrame of all keys; needs pandas."""
        import pandas

        return pandas.DataFrame([dict(r) for r in self.rows])

    def _cells(self) -> List[List[Any]]:
        return [[r.get(c) for c in self.columns] for r in self.rows[:_SHOWN]]

    def __repr__(self) -> str:
        cells = [self.columns] + [[_text(v) for v in row] for row in self._cells()]
        width = [max(len(row[i]) for row in cells) for i in range(len(self.columns))]
        number = [all(_is_number(v) or v is None for v in self.column(c)) for c in self.columns]
        lines = [
            "  ".join(v.rjust(w) if n else v.ljust(w) for v, w, n in zip(row, width, number)).rstrip() for row in cells
        ]
        if len(self.rows) > _SHOWN:
            lines.append("... %d more" % (len(self.rows) - _SHOWN))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        more = "%d of %d rows" % (_SHOWN, len(self.rows)) if len(self.rows) > _SHOWN else ""
        return _html(self.columns, self._cells(), more)
