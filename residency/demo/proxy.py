"""A small forwarding proxy on loopback: connections of simulated clients in, the same to the server out.

It stands where a load balancer stands. A real one appends the address of its TCP peer to `X-Forwarded-For`; on one
machine every peer is 127.0.0.1, so this one takes the address it shall say from the private header `x-demo-source`,
which it strips. Whatever `X-Forwarded-For` the client itself sent is kept in front, as real proxies do, forged or not.
That header is the demo's only pretence: a proxy that let strangers choose their address would be a hole.

One request per connection; after the head, bytes are passed as they come, so WebSockets need nothing of their own.
"""

from __future__ import annotations

import asyncio
import contextlib

__all__ = ["SOURCE_HEADER", "Proxy", "rewrite_head"]

SOURCE_HEADER = "x-demo-source"
_HEAD_LIMIT = 65_536
_BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def rewrite_head(head: bytes, peer: str) -> bytes:
    """A request's head as this proxy forwards it; `peer` is said where no simulated source is named.

    All X-Forwarded-For lines become one with the source appended. A request that is no upgrade is marked as the
    connection's last.
    """
    request_line, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    kept, forwarded = [request_line], []
    source = peer.encode()
    upgrade = False
    for line in lines:
        name, _, value = line.partition(b":")
        key = name.strip().lower()
        if key == SOURCE_HEADER.encode():
            source = value.strip()
        elif key == b"x-forwarded-for":
            forwarded.append(value.strip())
        elif key == b"connection" and b"upgrade" not in value.lower():
            continue
        else:
            upgrade = upgrade or key == b"upgrade"
            kept.append(line)
    kept.append(b"X-Forwarded-For: " + b", ".join([*forwarded, source]))
    if not upgrade:
        kept.append(b"Connection: close")
    return b"\r\n".join(kept) + b"\r\n\r\n"


class Proxy:
    """`async with Proxy(server_port) as proxy:` serves on 127.0.0.1 at `proxy.port` until left."""

    def __init__(self, upstream: int, port: int = 0) -> None:
        self.upstream = upstream
        self.port = port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=_HEAD_LIMIT)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
            for writer in tuple(self._open):
                writer.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._server.wait_closed(), 2)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        upstream: asyncio.StreamWriter | None = None
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            try:
                back, upstream = await asyncio.open_connection("127.0.0.1", self.upstream)
            except OSError:
                writer.write(_BAD_GATEWAY)
                await writer.drain()
                return
            upstream.write(rewrite_head(head, writer.get_extra_info("peername")[0]))
            await upstream.drain()
            upward = asyncio.create_task(_pass(reader, upstream))
            await _pass(back, writer)  # the server's side decides when an exchange is over
            upward.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await upward
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            with contextlib.suppress(OSError):
                writer.write(_BAD_REQUEST)
        except OSError:
            pass  # one side hung up; both are closed below
        finally:
            for end in (writer, upstream):
                if end is not None:
                    end.close()
            self._open.discard(writer)


async def _pass(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()
