"""Ways by which a value could reach somebody before its bucket does: found open once, and shut."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.services import SG_HOST, VN_HOST, raw

ANSWER = b'HTTP/1.1 200 OK\r\netag: "x"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n'
CANARY = "canary-of-an"
# A process of its own, for the client looks at the environment once.
PUT = """
import asyncio, sys
from residency.adapters.sink_objects.urls import open_bucket, parse_object_url
bucket = open_bucket(parse_object_url(sys.argv[1]), streaming=sys.argv[2] == "streaming")
asyncio.run(bucket.put_async("users/an", sys.argv[3].encode()))
"""


@pytest.mark.parametrize("scheme", ["s3://k:s@bucket?region=x&", "gs://bucket?", "az://account:a2V5@bucket?"])
@pytest.mark.parametrize("host", [VN_HOST, "localhost"])
def test_a_value_goes_to_its_bucket_and_to_no_proxy_of_the_environment(scheme: str, host: str) -> None:
    at = VN_HOST if host == VN_HOST else "127.0.0.1"
    with raw(at, ANSWER) as bucket, raw(SG_HOST, ANSWER) as proxy:
        through = f"http://{SG_HOST}:{proxy.port}"
        names = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy", "AWS_PROXY_URL", "PROXY_URL")
        env = {**os.environ, **dict.fromkeys(names, through), "NO_PROXY": "", "GOOGLE_SKIP_SIGNATURE": "true"}
        url = f"{scheme}endpoint=http://{host}:{bucket.port}&timeout=5"
        subprocess.run([sys.executable, "-c", PUT, url, "whole", CANARY], env=env, capture_output=True, check=False)
        assert proxy.connections == 0
        if not scheme.startswith("gs"):  # which asks for a token first, of nobody here
            assert CANARY.encode() in bucket.heard
