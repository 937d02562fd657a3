"""Section 4 of the semantics as tables: what each write path writes, holds and broadcasts.

Columns are functions of the parameters, written from the table and not from the paths.
"""

from tests.workload.section4.log_dirty import LOG_DIRTY
from tests.workload.section4.marks import MARKS
from tests.workload.section4.memory import MEMORY
from tests.workload.section4.on_demand import ON_DEMAND
from tests.workload.section4.others import GRANTS_AND_DEVICES, MEMORY_EVENTS, SEVERAL_P2MS
from tests.workload.section4.row import Columns, Row

ROWS = (*MEMORY, *MARKS, *LOG_DIRTY, *ON_DEMAND, *GRANTS_AND_DEVICES, *MEMORY_EVENTS, *SEVERAL_P2MS)

__all__ = ["ROWS", "Columns", "Row"]
