"""Generators of the reference: Markdown out of the event catalogue, the tables' schema and the command line.

What is generated cannot fall behind the package. None of this needs Sphinx, so that tests can read the same text.
Generators that are about one subject of their own have a module beside this one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

from _ext import golden, paths, profiles, recording, results, rules, strategies
from _ext.columns import columns_table
from _ext.markdown import list_table
from eptreplay.commands import app
from eptreplay.trace.lacks import INVISIBLE, LACKS
from eptreplay.trace.p2m import FIELDS, KINDS, MEMORY_EVENTS, NO_TABLE
from eptreplay.trace.schema import TABLES
from eptreplay.xentrace.catalogue import CLASSES, dom0op, extension, gen, hvm, hw, mem, pv, sched, shadow
from eptreplay.xentrace.catalogue.document import catalogue_document
from eptreplay.xentrace.catalogue.event import FIRST_RELEASE
from eptreplay.xentrace.damage import REASONS

EVENT_GROUPS: dict[str, ModuleType] = {
    "General": gen,
    "Scheduling": sched,
    "Domain life cycle": dom0op,
    "Hardware-assisted guests": hvm,
    "Memory": mem,
    "Extension events": extension,
    "Paravirtualised guests": pv,
    "Shadow paging": shadow,
    "Hardware": hw,
}
"""Heading of each group of events, and the catalogue's module that holds it; its docstring introduces the group."""

Parameter = TyperArgument | TyperOption

TIMED = {True: "yes", False: "no", None: "either"}


def _introduction(module: ModuleType) -> str:
    """Return a module's docstring without its first line, which the heading stands for."""
    _, _, rest = (module.__doc__ or "").partition("\n\n")
    return rest.strip()


def _mask(name: str) -> str:
    return f"0x{CLASSES[name] << 16 | 0xF000:08x}"


def events() -> str:
    """Return every event of the catalogue, grouped as the catalogue's modules are."""
    documents = {event["id"]: event for event in catalogue_document()["events"]}
    parts = []
    for heading, module in EVENT_GROUPS.items():
        own = [documents[f"0x{event.id:07x}"] for event in module.EVENTS]
        name = own[0]["class"]
        label = f"({heading.lower().replace(' ', '-')})="
        parts += [f"{label}\n## {heading}", f"Class `{name}`, event mask `{_mask(name)}`.", _introduction(module)]
        rows = sorted((_event_row(event) for event in own), key=lambda row: row[0])
        parts.append(list_table(("id", "event", "TSC", "ept", "payload"), rows, (12, 40, 8, 6, 44)))
    return "\n\n".join(part for part in parts if part)


def _event_row(event: dict[str, Any]) -> tuple[str, str, str, str, str]:
    remarks = []
    if event["since"] != FIRST_RELEASE:
        remarks.append(f"from Xen {event['since']} on")
    if event["until"]:
        remarks.append(f"no more since {event['until']}")
    about = f"{event['about']} ({', '.join(remarks)})" if remarks else event["about"]
    several = len(event["layouts"]) > 1
    payload = [
        (f"{layout['since']}: " if several else "") + (f"`{layout['payload']}`" if layout["payload"] else "none")
        for layout in event["layouts"]
    ]
    kept = "yes" if event["ept"] else ""
    return f"`{event['id']}`", f"`{event['name']}`\n\n{about}", TIMED[event["timed"]], kept, "\n\n".join(payload)


def table(name: str) -> str:
    """Return the columns of one table of the dataset."""
    return columns_table(TABLES[name])


def kinds() -> str:
    """Return the values of the column ``kind`` of the table ``p2m``, the event behind each and the columns it fills."""
    rows = []
    for event in MEMORY_EVENTS:
        kind = KINDS.get(event.name, event.name.lower())
        whose = (
            "null: the domain in the record owns the frame" if event.name in NO_TABLE else "the domain in the record"
        )
        names = dict.fromkeys(field.name for layout in event.layouts for field in layout.fields)
        filled = {FIELDS[name]: name for name in names if FIELDS.get(name) not in (None, "p2m_dom")}
        columns = [f"`{column}`" + (f" ({name})" if name != column else "") for column, name in filled.items()]
        dom = "the domain that ran" if event.name == "HVM_NPF" else whose
        rows.append((f"`{kind}`", f"`{event.name}`", dom, ", ".join(columns)))
    return list_table(("kind", "event", "`p2m_dom`", "other columns"), rows, (22, 36, 30, 40))


def damage_reasons() -> str:
    """Return the values of the column ``reason`` of the table ``damage``."""
    rows = [(f"`{name}`", about) for name, about in REASONS.values()]
    return list_table(("reason", "what is wrong at that byte"), rows, (20, 80))


def lacks() -> str:
    """Return what a recording may lack: the word that ``info`` prints, the events looked for, and the consequence."""
    rows = []
    for lack in LACKS:
        names = [name for name in lack.events if not name.startswith("RUNSTATE_")]
        events_text = ", ".join(f"`{name}`" for name in names) or "runstate changes"
        rows.append((f"`{lack.name}`", events_text, lack.consequence))
    return list_table(("word", "none of", "what `info` says"), rows, (12, 34, 60))


def invisible() -> str:
    """Return the kinds of p2m writes that stock recordings do not show, by vendor."""
    rows = [(f"`{vendor}`" if vendor else "unknown", "\n\n".join(lines)) for vendor, lines in INVISIBLE.items()]
    return list_table(("vendor", "invisible"), rows, (12, 80))


def verbs() -> Mapping[str, TyperCommand]:
    """Return the verbs of the command line by name."""
    group = get_command(app)
    if not isinstance(group, TyperGroup):
        raise TypeError("the command line is expected to be a group of verbs")
    return {name: command for name, command in group.commands.items() if isinstance(command, TyperCommand)}


def verb(name: str) -> str:
    """Return what a verb does, its usage, its arguments and its options."""
    command = verbs()[name]
    parameters = [parameter for parameter in command.params if isinstance(parameter, Parameter)]
    usage = " ".join(_usage(parameter) for parameter in parameters)
    rows = [(_names(parameter), _help(parameter)) for parameter in parameters]
    options = list_table(("argument or option", "meaning"), rows, (34, 66))
    return "\n\n".join([str(command.help), f"```text\neptreplay {name} {usage}\n```", options])


def _is_argument(parameter: Parameter) -> bool:
    return not parameter.opts[0].startswith("-")


def _usage(parameter: Parameter) -> str:
    if _is_argument(parameter):
        text = str(parameter.metavar)
    else:
        text = parameter.opts[0] + (f" {parameter.metavar}" if parameter.metavar else "")
    return text if parameter.required else f"[{text}]"


def _names(parameter: Parameter) -> str:
    if _is_argument(parameter):
        return f"`{parameter.metavar}`"
    names = ", ".join(f"`{name}`" for name in parameter.opts)
    return f"{names} `{parameter.metavar}`" if parameter.metavar else names


def _help(parameter: Parameter) -> str:
    if parameter.required:
        return f"{parameter.help} (required)"
    is_default = parameter.default not in (None, False)
    return f"{parameter.help} [default: {parameter.default}]" if is_default else str(parameter.help)


GENERATORS: dict[str, Callable[..., str]] = {
    "events": events,
    "table": table,
    "kinds": kinds,
    "damage-reasons": damage_reasons,
    "lacks": lacks,
    "invisible": invisible,
    "verb": verb,
    "strategies": strategies.shipped,
    "side-by-side": strategies.side_by_side,
    "candidates": strategies.candidates,
    "presets": strategies.presets,
    "switches": strategies.switches,
    "asked": strategies.asked,
    "request": strategies.request,
    "decisions": strategies.decisions,
    "profile-fields": profiles.fields,
    "profile": profiles.numbers,
    "result": results.table,
    "gaps": results.gaps,
    "operations": results.operations,
    "evidence": results.evidence,
    "causes": results.causes,
    "p2m-types": results.p2m_types,
    "masks": recording.masks,
    "trace-points": recording.trace_points,
    "extension-numbers": recording.numbers,
    "accesses": recording.accesses,
    "cause-sites": recording.cause_sites,
    "letters": rules.letters,
    "rules": rules.rules,
    "paths": paths.paths,
    "recorded-operations": golden.operations,
    "recorded-runs": golden.runs,
    "recorded-broadcasts": golden.broadcasts,
}
"""Generators by the name that pages use."""
