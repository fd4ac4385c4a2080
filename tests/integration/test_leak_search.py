"""The search for leaks finds one that is planted at each exit and in each encoding; else it proves nothing."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import sqlite3
import threading
import zlib
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.leaks import MARK, NETWORK, Wire, canary, search, search_path

SECRET = canary(7)
ENCODED = {
    "plain": SECRET.encode(),
    "lower case": SECRET.lower().encode(),
    "UTF-16 LE": f"name={SECRET}".encode("utf-16-le"),
    "UTF-16 BE": SECRET.encode("utf-16-be"),
    "percent": "".join(f"%{byte:02x}" for byte in SECRET.encode()).encode(),
    "JSON escapes": "".join(f"\\u{ord(c):04X}" for c in SECRET).encode(),
    "Python escapes": "".join(f"\\x{ord(c):02x}" for c in SECRET).encode(),
    "hex": SECRET.encode().hex().upper().encode(),
    "base64 of it": base64.b64encode(SECRET.encode()),
    "base64 of it in JSON": base64.b64encode(json.dumps({"n": SECRET}).encode()),
    "base64 one further": base64.b64encode(b"x" + SECRET.encode()),
    "base64 two further": base64.b64encode(b"xy" + SECRET.encode()),
    "base64 for URLs": base64.urlsafe_b64encode(b"\xff\xfe" + SECRET.encode()),
    "gzip": gzip.compress(b"a" * 1000 + SECRET.encode()),
    "zlib": zlib.compress(b"header " + SECRET.encode()),
    "gzip in base64": b'{"body":"' + base64.b64encode(gzip.compress(SECRET.encode())) + b'"}',
    "base64 in gzip": gzip.compress(base64.b64encode(SECRET.encode())),
    "gzip in gzip": gzip.compress(gzip.compress(SECRET.encode())),
    "gzip that was cut off": gzip.compress(SECRET.encode() * 50)[:-9],
}


@pytest.mark.parametrize("how", ENCODED)
def test_a_canary_is_found_in_each_encoding(how: str) -> None:
    data = b"\0noise before" * 9 + ENCODED[how] + b"and behind\xff" * 9
    assert list(search(data, "here"))


def test_what_is_no_canary_is_not_found() -> None:
    near = MARK[:-1].encode() + b"!" + MARK[::-1].encode() + gzip.compress(b"nothing") + base64.b64encode(b"x" * 90)
    assert list(search(near, "here")) == []
    assert quote(SECRET) == SECRET, "percent encoding leaves it as it is, so both forms count"


def test_what_was_deleted_from_a_database_is_found_in_its_free_pages_and_its_log(tmp_path: Path) -> None:
    path = tmp_path / "abroad.db"
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA secure_delete = OFF")
    db.execute("CREATE TABLE person (name TEXT)")
    db.execute("INSERT INTO person VALUES (?)", (SECRET,))
    db.execute("DELETE FROM person")
    found, size = search_path(tmp_path)
    assert any(each.where.endswith("-wal") for each in found)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    assert any(each.where.endswith("abroad.db") for each in search_path(tmp_path)[0])
    assert size > 8192


def test_a_canary_in_a_files_name_is_found(tmp_path: Path) -> None:
    (tmp_path / f"log-{SECRET}.txt").write_text("nothing in it")
    assert [each.where.startswith("name of") for each in search_path(tmp_path)[0]] == [True]


@pytest.mark.needs("packets")
def test_what_crosses_the_wire_is_found_cut_anywhere_and_by_where_it_went() -> None:
    def receive(server: socket.socket) -> None:
        peer, _ = server.accept()
        with peer:
            while peer.recv(65536):
                pass

    home, foreign = f"{NETWORK}.12", f"{NETWORK}.13"  # nobody else on this machine speaks there
    with Wire(NETWORK) as wire:
        for address, text in ((home, SECRET), (foreign, "nobody's data")):
            with socket.create_server((address, 0)) as server:
                thread = threading.Thread(target=receive, args=(server,))
                thread.start()
                with socket.create_connection(server.getsockname()) as client:
                    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    client.sendall(bytes(300_000))
                    for letter in text.encode():
                        client.sendall(bytes([letter]))
                thread.join()
        at_home, read = wire.search(home)
        abroad, other = wire.search(foreign)
        assert wire.dropped == 0
    assert at_home
    assert abroad == []
    assert min(read, other) > 300_000
    assert len(wire.connections(foreign)) == 1


@pytest.mark.needs("packets")
def test_a_port_that_is_used_again_is_another_stream() -> None:
    address = f"{NETWORK}.14"
    with Wire(NETWORK) as wire, socket.create_server((address, 0)) as server:
        port = 0
        for text in (SECRET[:9], SECRET[9:], SECRET):
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # no TIME-WAIT
                client.bind((address, port))
                port = client.getsockname()[1]
                client.connect(server.getsockname())
                peer, _ = server.accept()
                with peer:
                    client.sendall(text.encode())
                    assert peer.recv(64)
        found, size = wire.search(address)
    assert size == 2 * len(SECRET), "no gap between sequence numbers of two connections is filled"
    assert len({each.offset for each in found}) == 1
