"""All slots' journals in, one signed transparency log out; and whether it still gets there."""

from residency.adapters.sequencer.on_disk import Store
from residency.adapters.sequencer.overdue import OVERDUE_AFTER, Overdue
from residency.adapters.sequencer.sequencer import Sequencer

__all__ = ["OVERDUE_AFTER", "Overdue", "Sequencer", "Store"]
