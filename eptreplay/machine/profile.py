"""Cost profiles: what each step of the modelled host takes, and where each number is from.

A profile is a TOML file with a ``summary`` and a table for each number of ``FIELDS``::

    [ipi.icr_ns]
    value = 184
    source = "paper, commit or measurement, and how the number follows from it"
    range = [184, 242]

``assumed = "why"`` takes the place of ``source`` where there is none. ``range`` may be left out. Where a field has
choices, ``value`` is one of these texts, and there is no range.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from eptreplay.errors import UsageError, unknown_choice
from eptreplay.machine.apic import APICS

SUFFIX = ".toml"
MOST = 10**9
"""The largest number of most fields: a second, if it is a time."""
MOST_TIMEOUT_NS = 10**12
"""The longest time until the watchdog fires: a quarter of an hour."""
MOST_BYTES = 1 << 20
"""Files that are larger are something else."""

_FOLDER = Path(__file__).with_name("profiles")
_REASONS = ("source", "assumed")
_BESIDES_VALUE = (*_REASONS, "range")
_KINDS = {bool: "a boolean", int: "an integer", float: "a float", str: "a text", list: "an array", dict: "a table"}


class Field(NamedTuple):
    """What every profile has a value for: where it stands in the file, its unit, what it means, what it may be."""

    section: str
    name: str
    unit: str
    meaning: str
    least: int = 0
    most: int = MOST
    choices: tuple[str, ...] = ()
    """If there are any, the value is one of these texts, and no number."""

    @property
    def key(self) -> str:
        """Its place in the file, such as ``ipi.icr_ns``."""
        return f"{self.section}.{self.name}"


FIELDS = (
    Field("topology", "cores_per_socket", "cores", "consecutive cores that make a socket", least=1),
    Field("topology", "threads_per_core", "threads", "consecutive pCPUs that make a core", least=1),
    Field("topology", "pcpus", "pCPUs", "pCPUs online, if more than the recording has; 0: those of the recording"),
    Field("topology", "apic", "mode", "which targets share a message, and how many writes one takes", choices=APICS),
    Field("topology", "shorthand", "flag", "1: a message to all pCPUs but the sender takes one write", most=1),
    Field("lock", "acquire_ns", "ns", "to acquire a lock that is free"),
    Field("lock", "read_ns", "ns", "percpu lock: a reader's store, full barrier and load, instead of acquire_ns"),
    Field("lock", "handoff_core_ns", "ns", "from release to acquisition by a waiter on the same core"),
    Field("lock", "handoff_socket_ns", "ns", "the same, if the waiter is on another core of the socket"),
    Field("lock", "handoff_remote_ns", "ns", "the same, if the waiter is on another socket"),
    Field("lock", "poll_ns", "ns", "percpu lock: a writer's look at the slot of each pCPU online"),
    Field("lock", "weight_core", "weight", "unfair lock: in the race, of a waiter on the releasing core", least=1),
    Field("lock", "weight_socket", "weight", "the same, of a waiter on another core of the socket", least=1),
    Field("lock", "weight_remote", "weight", "the same, of a waiter on another socket", least=1),
    Field("p2m", "set_ns", "ns", "to find and change one entry, the lock being held"),
    Field("p2m", "store_ns", "ns", "each further entry that the same operation stores or builds"),
    Field("p2m", "lookup_ns", "ns", "to find one entry and reference its page, the read lock being held"),
    Field("ipi", "setup_ns", "ns", "from acquiring the call lock to the first write of the interrupt command register"),
    Field("ipi", "announce_ns", "ns", "lockless calls: to enter the sender in the mask of those who call"),
    Field("ipi", "icr_ns", "ns", "each write of the interrupt command register"),
    Field("ipi", "busy_ns", "ns", "xAPIC: from the last write of a message until another one may be written"),
    Field("ipi", "deliver_core_ns", "ns", "from that write to the interrupt on the same core"),
    Field("ipi", "deliver_socket_ns", "ns", "the same, on another core of the socket"),
    Field("ipi", "deliver_remote_ns", "ns", "the same, on another socket"),
    Field("ipi", "ack_core_ns", "ns", "from the end of the handler until a sender on the same core sees it"),
    Field("ipi", "ack_socket_ns", "ns", "the same, if the sender is on another core of the socket"),
    Field("ipi", "ack_remote_ns", "ns", "the same, if the sender is on another socket"),
    Field("ipi", "line_core_ns", "ns", "from one acknowledgement to the next, if the targets are on the same core"),
    Field("ipi", "line_socket_ns", "ns", "the same, if they are on other cores of the socket"),
    Field("ipi", "line_remote_ns", "ns", "the same, if they are on other sockets"),
    Field("ipi", "handler_ns", "ns", "the interrupt handler, without INVEPT and without a flush"),
    Field("ipi", "call_ns", "ns", "lockless calls: each further call that one handler carries out"),
    Field("ipi", "exit_ns", "ns", "the VM exit before the handler, where the interrupt meets a guest"),
    Field("ipi", "entry_ns", "ns", "the VM entry after it, without INVEPT"),
    Field("ipi", "irqoff_ns", "ns", "how long interrupts stay off behind any other VM exit"),
    Field("ipi", "wake_ns", "ns", "to leave a shallow C-state, where the interrupt meets an idle pCPU"),
    Field("ipi", "wake_deep_ns", "ns", "the same, from a deep C-state"),
    Field("ipi", "deep_after_ns", "ns", "how long a pCPU has been idle when its C-state is deep"),
    Field("ipi", "flush_ns", "ns", "to flush the TLB, in a handler or without an interrupt"),
    Field("ipi", "unexplained_ns", "ns", "how much longer a broadcast about a p2m takes, by nothing that is known"),
    Field("ept", "invept_ns", "ns", "the instruction INVEPT"),
    Field("ept", "refill_ns", "ns", "what a guest loses to cold translations, once for each INVEPT before it runs on"),
    Field(
        "watchdog",
        "timeout_ns",
        "ns",
        "a stall as long as this makes the watchdog fire; 0: it is off",
        0,
        MOST_TIMEOUT_NS,
    ),
)
"""All values of a profile, in the order in which they are shown. Names are unique without their section."""


class Number(NamedTuple):
    """A number, or a choice, and where it is from: either ``source`` or ``assumed`` is None."""

    value: int | str
    source: str | None
    assumed: str | None
    range: tuple[int, int] | None
    """Lowest and highest value that are compatible with what is known."""


@dataclass(frozen=True)
class Profile:
    """What each step of a host takes: a number for each of ``FIELDS``, by its name and in that order."""

    name: str
    summary: str
    numbers: Mapping[str, Number]

    def costs(self) -> dict[str, int | str]:
        """Return the bare values by field name, such as ``icr_ns``."""
        return {name: number.value for name, number in self.numbers.items()}


def profile_names() -> list[str]:
    """Return the names of the profiles that ship with eptreplay."""
    return sorted(path.stem for path in _FOLDER.glob(f"*{SUFFIX}"))


def load_profile(name_or_path: str) -> Profile:
    """Return a profile that ships with eptreplay, or that of a file: whatever has a slash in it or ends in ``.toml``.

    The profile of a file is called as the file is, without folder and suffix. Raises UsageError.
    """
    if "/" in name_or_path or name_or_path.endswith(SUFFIX):
        path = Path(name_or_path)
    elif name_or_path in (names := profile_names()):
        path = _FOLDER / f"{name_or_path}{SUFFIX}"
    else:
        raise unknown_choice("profile", name_or_path, [*names, f"FILE{SUFFIX}"])
    if not path.stem.isprintable():
        raise UsageError(f"{path}: expected a name that can be printed: rows of a result are called by it")
    return _profile(str(path), path.stem, _document(path))


def find_profiles(names: Sequence[str]) -> list[Profile]:
    """Return the profiles that the user named, in that order; raises UsageError, also for two of the same name."""
    found: list[Profile] = []
    for name in names:
        profile = load_profile(name)
        if profile.name in {other.name for other in found}:
            raise UsageError(f"--profile {name}: there are two called {profile.name}; each row needs a name of its own")
        found.append(profile)
    return found


def profile_document(profile: Profile) -> dict[str, Any]:
    """Return a profile as an object for JSON: ``{"name", "summary", "numbers": [...]}``."""
    numbers = [
        {"section": field.section, "name": field.name, "unit": field.unit, "meaning": field.meaning}
        | profile.numbers[field.name]._asdict()
        | {"choices": field.choices or None}
        for field in FIELDS
    ]
    return {"name": profile.name, "summary": profile.summary, "numbers": numbers}


def _document(path: Path) -> dict[str, Any]:
    """Parse a file as TOML."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such profile file") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > MOST_BYTES:
        raise UsageError(f"{path}: expected a profile, found a file of more than {MOST_BYTES} bytes")
    try:
        return tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: byte {error.start}: expected UTF-8 text") from None
    except RecursionError:
        raise UsageError(f"{path}: expected TOML, found brackets nested too deeply") from None
    except ValueError as error:  # besides syntax errors, integers of thousands of digits
        raise UsageError(f"{path}: expected TOML: {error}") from None


def _profile(where: str, name: str, document: dict[str, Any]) -> Profile:
    sections = list(dict.fromkeys(field.section for field in FIELDS))
    _check_keys(where, "", document, ["summary", *sections])
    tables = {}
    for section in sections:
        tables[section] = _table(where, section, document[section])
        _check_keys(where, section, tables[section], [field.name for field in FIELDS if field.section == section])
    numbers = {field.name: _number(where, field, tables[field.section][field.name]) for field in FIELDS}
    return Profile(name, _text(where, "summary", document["summary"]), numbers)


def _number(where: str, field: Field, entry: object) -> Number:
    table = _table(where, field.key, entry, "a table with value and either source or assumed")
    _check_keys(where, field.key, table, ["value"], _REASONS if field.choices else _BESIDES_VALUE)
    value = _value(where, f"{field.key}.value", field, table["value"])
    reasons = {name: _text(where, f"{field.key}.{name}", table[name]) for name in _REASONS if name in table}
    if len(reasons) != 1:
        found = "both" if reasons else "neither"
        raise UsageError(f"{where}: {field.key}: expected either source or assumed, found {found}")
    span = _range(where, field, value, table["range"]) if "range" in table and isinstance(value, int) else None
    return Number(value, reasons.get("source"), reasons.get("assumed"), span)


def _value(where: str, key: str, field: Field, value: object) -> int | str:
    if not field.choices:
        return _integer(where, key, value, field)
    if not isinstance(value, str):
        raise UsageError(f"{where}: {key}: expected a text, found {_kind(value)}")
    if value not in field.choices:
        raise unknown_choice(f"{where}: {key}", _printable(value), field.choices)
    return value


def _range(where: str, field: Field, value: int, entry: object) -> tuple[int, int]:
    key = f"{field.key}.range"
    if not isinstance(entry, list) or len(entry) != 2:
        found = f"{len(entry)} entries" if isinstance(entry, list) else _kind(entry)
        raise UsageError(f"{where}: {key}: expected [lowest, highest], found {found}")
    low, high = (_integer(where, key, bound, field) for bound in entry)
    if not low <= value <= high:
        raise UsageError(f"{where}: {key}: expected a range around the value {value}, found [{low}, {high}]")
    return low, high


def _check_keys(
    where: str, at: str, table: Mapping[str, Any], needed: Sequence[str], optional: Sequence[str] = ()
) -> None:
    """Raise UsageError unless the table at a key has all that it needs, and nothing that nobody reads."""
    known = [*needed, *optional]
    for key in table:
        if key not in known:
            raise unknown_choice(f"{where}: {f'{at}: ' if at else ''}key", _printable(key), known)
    for key in needed:
        if key not in table:
            raise UsageError(f"{where}: {f'{at}.' if at else ''}{key}: missing")


def _table(where: str, key: str, value: object, expected: str = "a table") -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{where}: {key}: expected {expected}, found {_kind(value)}")
    return value


def _integer(where: str, key: str, value: object, field: Field) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise UsageError(f"{where}: {key}: expected an integer, found {_kind(value)}")
    if not field.least <= value <= field.most:
        found = "less" if value < field.least else "more"  # not the number: it may have any length
        raise UsageError(f"{where}: {key}: expected an integer from {field.least} to {field.most}, found {found}")
    return value


def _text(where: str, key: str, value: object) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{where}: {key}: expected a text, found {_kind(value)}")
    text = " ".join(value.split())  # may be written in several lines
    if not text or not text.isprintable():
        raise UsageError(f"{where}: {key}: expected a text that can be printed, found {'another' if text else 'none'}")
    return text


def _printable(text: str) -> str:
    return text if text.isprintable() else ascii(text)


def _kind(value: object) -> str:
    return _KINDS.get(type(value), "a date or time")
