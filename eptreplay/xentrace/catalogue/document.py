"""The event catalogue as one JSON document, from which the reference page is made as well."""

from __future__ import annotations

from typing import Any

from eptreplay.xentrace.catalogue import EVENTS, class_of


def catalogue_document() -> dict[str, Any]:
    """Return ``{"schema": 1, "events": [...]}``: per event id, name, class, layouts, meaning, trace point."""
    return {
        "schema": 1,
        "events": [
            {
                "id": f"0x{event.id:07x}",
                "name": event.name,
                "class": class_of(event.id),
                "timed": event.timed,
                "ept": event.ept,
                "since": event.since,
                "until": event.until,
                "about": event.about,
                "where": event.where or None,
                "when": event.when or None,
                "layouts": [
                    {
                        "since": layout.since,
                        "payload": layout.text,
                        "words": [layout.min_words, layout.max_words],
                        "fields": [
                            {
                                "name": f.name,
                                "type": f.type,
                                "unit": f.unit,
                                "word": f.word,
                                "shift": f.shift,
                                "optional": f.optional,
                            }
                            for f in layout.fields
                        ],
                    }
                    for layout in event.layouts
                ],
            }
            for event in EVENTS
        ],
    }
