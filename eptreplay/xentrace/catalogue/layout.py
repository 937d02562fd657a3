"""How the payload of one trace event is laid out, and the notation that the catalogue uses for it.

A layout is written as one line, fields in payload order, separated by blanks::

    gfn:u64 mfn:u64 p2mt domid:u16 order:u16
    runtime[ns]
    pad0? pad1?

``name``          one 32-bit word, unsigned
``name:TYPE``     ``u8 u16 u32 u64`` or ``i32 i64``; 64-bit fields take two words, low word first;
                  8- and 16-bit fields share a word, low bits first, and must fill it
``name[UNIT]``    the unit, shown in the documentation
``name?``         an optional trailing word: this one and all behind it may be absent
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

_BITS = {"u8": 8, "u16": 16, "u32": 32, "i32": 32, "u64": 64, "i64": 64}
_FIELD = re.compile(r"(?P<name>[a-z][a-z0-9_]*)(:(?P<type>[ui]\d+))?(\[(?P<unit>[^\]]+)\])?(?P<optional>\?)?$")
MAX_WORDS = 7


@dataclass(frozen=True)
class Field:
    """One named value in a payload: ``bits`` wide, starting ``shift`` bits into word ``word``."""

    name: str
    type: str
    unit: str | None
    optional: bool
    word: int
    shift: int

    @property
    def bits(self) -> int:
        """Width in bits."""
        return _BITS[self.type]

    def extract(self, words: Sequence[int]) -> int:
        """Return this field's value out of the payload words."""
        raw = words[self.word]
        if self.bits == 64:
            raw |= words[self.word + 1] << 32
        value = (raw >> self.shift) & ((1 << self.bits) - 1)
        if self.type.startswith("i") and value >> (self.bits - 1):
            value -= 1 << self.bits
        return value

    def insert(self, words: list[int], value: int) -> None:
        """Put ``value`` into the payload words; raises ValueError if it does not fit."""
        low = -(1 << (self.bits - 1)) if self.type.startswith("i") else 0
        if not low <= value < 1 << self.bits:
            raise ValueError(f"{self.name}: {value} does not fit into {self.type}")
        raw = value & ((1 << self.bits) - 1)
        words[self.word] |= (raw << self.shift) & 0xFFFFFFFF
        if self.bits == 64:
            words[self.word + 1] |= raw >> 32


@dataclass(frozen=True)
class Layout:
    """The payload of an event as Xen writes it since release ``since`` (a string such as ``4.18``)."""

    since: str
    text: str

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """All fields in payload order."""
        return _parse(self.text)

    @property
    def max_words(self) -> int:
        """Payload words when every optional field is present."""
        return _words(self.fields)

    @property
    def min_words(self) -> int:
        """Payload words when no optional field is present."""
        return _words([f for f in self.fields if not f.optional])

    def pack(self, values: Mapping[str, int]) -> tuple[int, ...]:
        """Return the payload words for the named values; absent fields are zero, absent optional fields end it."""
        present = [f for f in self.fields if not f.optional or f.name in values]
        unknown = values.keys() - {f.name for f in self.fields}
        if unknown:
            raise ValueError(f"no field {', '.join(sorted(unknown))} in layout '{self.text}'")
        words = [0] * _words(present)
        for field in present:
            field.insert(words, values.get(field.name, 0))
        return tuple(words)

    def unpack(self, words: Sequence[int]) -> dict[str, int]:
        """Return the named values found in the payload words; optional fields that are absent are left out."""
        return {f.name: f.extract(words) for f in self.fields if _end(f) <= len(words)}


def _end(field: Field) -> int:
    return field.word + (2 if field.bits == 64 else 1)


def _words(fields: Sequence[Field]) -> int:
    return max((_end(f) for f in fields), default=0)


def _parse(text: str) -> tuple[Field, ...]:
    fields: list[Field] = []
    word, shift = 0, 0
    for item in text.split():
        match = _FIELD.match(item)
        if match is None or (match["type"] or "u32") not in _BITS:
            raise ValueError(f"layout '{text}': cannot read '{item}'")
        field = Field(match["name"], match["type"] or "u32", match["unit"], bool(match["optional"]), word, shift)
        if field.bits >= 32 and shift:
            raise ValueError(f"layout '{text}': '{item}' does not start on a word")
        if fields and fields[-1].optional and not field.optional:
            raise ValueError(f"layout '{text}': '{item}' follows an optional field")
        fields.append(field)
        shift += field.bits
        if shift >= 32:
            if shift % 32:
                raise ValueError(f"layout '{text}': '{item}' crosses a word")
            word, shift = word + shift // 32, 0
    if shift:
        raise ValueError(f"layout '{text}': the last word is not filled")
    if word > MAX_WORDS:
        raise ValueError(f"layout '{text}': {word} words, a record carries at most {MAX_WORDS}")
    if len({f.name for f in fields}) != len(fields):
        raise ValueError(f"layout '{text}': a field name occurs twice")
    return tuple(fields)
