"""The edge: plain ASGI middleware and refusals as problem details."""
