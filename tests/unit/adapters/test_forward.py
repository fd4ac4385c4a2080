"""Headers of one connection stay there. What goes over sockets: tests/integration/test_hand_over.py."""

from __future__ import annotations

from residency.adapters.forward import end_to_end


def test_headers_of_one_connection_are_left_out_and_those_that_it_names() -> None:
    headers = [
        (b"Connection", b"close, X-Own , Upgrade"),
        (b"X-OWN", b"1"),
        (b"Upgrade", b"h2c"),
        (b"TE", b"trailers"),
        (b"Trailer", b"x"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Keep-Alive", b"5"),
        (b"Proxy-Authorization", b"secret"),
        (b"Content-Length", b"3"),
        (b"Accept", b"*/*"),
    ]
    assert end_to_end(headers) == [(b"content-length", b"3"), (b"accept", b"*/*")]
