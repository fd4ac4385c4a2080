"""From the journals of a country's detail to its store: a thread in every worker, of which one works."""

from residency.adapters.detail_filer.clocks import moments
from residency.adapters.detail_filer.filer import DetailFiler

__all__ = ["DetailFiler", "moments"]
