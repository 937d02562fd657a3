"""The executable specification of the modelled host: ``docs/background/machine.md`` in plain Python, rule by rule.

For readers who know Xen, and for comparison with the fast engine. ``rows`` is what goes in, ``tables`` what comes out.
``host`` is the state. ``turns`` says which steps, of those in ``program``, ``broadcast`` and ``target``, may change it
next, and ``clock`` says when. Commits and functions are Xen's.
"""

from eptreplay.model.clock import Stuck, replay
from eptreplay.model.rows import Costs, Domain, Recording, Row
from eptreplay.model.tables import Ack, Broadcast, Hold, Invept, Result

__all__ = ["Ack", "Broadcast", "Costs", "Domain", "Hold", "Invept", "Recording", "Result", "Row", "Stuck", "replay"]
