"""All slots' journals in, one signed transparency log out."""

from residency.adapters.sequencer.sequencer import Sequencer, Store

__all__ = ["Sequencer", "Store"]
