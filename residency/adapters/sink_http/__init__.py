"""The base URLs of an HTTP API in, a sink of services out: requests below these, to addresses that were looked at."""

from residency.adapters.sink_http.endpoint import Endpoint
from residency.adapters.sink_http.sink import BOUNDS, HttpSink

__all__ = ["BOUNDS", "Endpoint", "HttpSink"]
