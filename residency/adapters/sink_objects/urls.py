"""A sink's URL in; the client of its bucket out.

    s3://[KEY:SECRET@]BUCKET[/PREFIX]?region=REGION[&endpoint=https://HOST][&style=virtual][&timeout=SECONDS]
    gs://BUCKET[/PREFIX][?service_account=FILE][&endpoint=https://HOST][&timeout=SECONDS]
    az://[ACCOUNT[:KEY]@]CONTAINER[/PREFIX][?endpoint=https://HOST][&timeout=SECONDS]

Credentials come from the URL or, where it has none, from the environment as each cloud's clients have them. *Where* a
bucket lies comes from the URL alone: the client would also take an endpoint or a region from the environment, for all
sinks at once and against what their URLs say, so every such setting is given.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from residency.errors import UsageError

__all__ = ["SCHEMES", "Place", "open_bucket", "parse_object_url"]

SCHEMES: Final = ("s3", "gs", "az")
_SHAPE: Final = re.compile(
    r"(?:(?P<user>[^:@/?#]+)(?::(?P<secret>[^@?#]+))?@)?(?P<bucket>[^/@:?#]*)(?:/(?P<prefix>.*))?"
)
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
_REGION: Final = re.compile(r"[a-z0-9-]{1,40}")
_ACCOUNT: Final = re.compile(r"[a-z0-9]{3,24}")
_OPTIONS: Final = {
    "s3": ("endpoint", "region", "style", "timeout"),
    "gs": ("endpoint", "service_account", "timeout"),
    "az": ("endpoint", "timeout"),
}
_PREFIX_LIMIT: Final = 120  # bytes; with a key's 900 and a slash it stays within the 1,024 of S3 and GCS
_TIMEOUT: Final = 30.0
_LONGEST: Final = timedelta(hours=12)  # for a body that comes or goes piece by piece; a stall ends it long before


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sink's values lie. `user` and `secret` are credentials; `timeout` is in seconds."""

    scheme: str
    bucket: str
    prefix: str
    endpoint: str | None
    user: str | None
    secret: str | None
    options: dict[str, str]
    timeout: float

    @property
    def in_clear(self) -> bool:
        """Whether what goes there and back is not encrypted and can be read by others than this machine."""
        parts = urlsplit(self.endpoint or "https:")
        if parts.scheme != "http":
            return False
        try:
            return not ip_address(parts.hostname or "").is_loopback
        except ValueError:
            return parts.hostname != "localhost"

    def __repr__(self) -> str:
        return f"Place({self.scheme})"  # nothing of a URL in a traceback that shows locals


def parse_object_url(url: str) -> Place:
    """What `url` says. Raises: UsageError, which names the part that is wrong and nothing of what it is."""
    scheme, _, rest = url.partition("://")
    if scheme not in SCHEMES:
        raise UsageError("expected s3://, gs:// or az://")
    rest, _, query = rest.partition("?")
    found = _SHAPE.fullmatch(rest)
    if found is None:
        raise UsageError(f"expected {scheme}://[USER:SECRET@]BUCKET[/PREFIX][?OPTIONS], the user without `/` and `@`")
    user, secret = (None if part is None else unquote(part) for part in found.group("user", "secret"))
    if _BUCKET.fullmatch(found["bucket"]) is None:
        raise UsageError("a bucket's name is 3 to 63 characters of a-z, 0-9, dot and hyphen")
    prefix = (found["prefix"] or "").strip("/")
    if len(prefix.encode()) > _PREFIX_LIMIT or any(part in ("", ".", "..") for part in prefix.split("/") if prefix):
        raise UsageError(f"a prefix has at most {_PREFIX_LIMIT} bytes and no empty, `.` or `..` segment")
    options = _options(scheme, query)
    timeout = _seconds(options.pop("timeout", None))
    endpoint = _endpoint(options.pop("endpoint", None))
    if scheme == "s3" and (user is None) != (secret is None):
        raise UsageError("credentials of S3 are two: s3://KEY:SECRET@BUCKET")
    if scheme == "gs" and user is not None:
        raise UsageError("credentials of Google Cloud Storage are a file: ?service_account=FILE")
    if scheme == "s3" and "region" not in options:
        raise UsageError("say the bucket's region: ?region=REGION")
    return Place(scheme, found["bucket"], prefix, endpoint, user, secret, options, timeout)


def open_bucket(place: Place, *, streaming: bool) -> Any:
    """obstore's client of the bucket. It asks nobody yet. `streaming` = only a stall ends a request, not its length.

    Raises: UsageError where settings of the environment cannot be used, or obstore is not installed.
    """
    try:
        from obstore.exceptions import BaseError
        from obstore.store import AzureStore, GCSStore, S3Store
    except ImportError:
        raise UsageError("objects in buckets need the extra `s3`: pip install 'residency[s3]'") from None
    seconds = timedelta(seconds=place.timeout)
    common: dict[str, Any] = {
        "prefix": place.prefix or None,
        "client_options": {
            "allow_http": place.endpoint is not None and place.endpoint.startswith("http://"),
            "connect_timeout": min(seconds, timedelta(seconds=5)),
            "read_timeout": seconds,
            "timeout": _LONGEST if streaming else seconds,
            # A proxy of the environment would see each value before its bucket does. Where one is named here the client
            # asks the environment for none, and every host is left out of this one.
            "proxy_url": "http://127.0.0.1:9",
            "proxy_excludes": "*,0.0.0.0/0,::/0",
        },
        "retry_config": {"max_retries": 3, "retry_timeout": seconds},
    }
    try:
        if place.scheme == "s3":
            return S3Store(place.bucket, **_s3(place), **common)
        if place.scheme == "gs":
            return GCSStore(place.bucket, **_gs(place), **common)
        return AzureStore(place.bucket, **_az(place), **common)
    except BaseError:
        raise UsageError("credentials or settings of the environment cannot be read as such") from None


def _s3(place: Place) -> dict[str, Any]:
    region = place.options["region"]
    endpoint = place.endpoint or f"https://s3.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
    virtual = place.options.get("style") == "virtual"
    if virtual:
        scheme, _, host = endpoint.partition("://")
        endpoint = f"{scheme}://{place.bucket}.{host}"
    config: dict[str, Any] = {
        "region": region,
        "endpoint": endpoint,
        "aws_endpoint_url_s3": endpoint,  # else AWS_ENDPOINT_URL_S3 goes before `endpoint`
        "virtual_hosted_style_request": virtual,
        "s3_express": False,
        "skip_signature": False,
        "disable_bulk_delete": True,
    }
    if place.user is not None:
        # A session token of the environment belongs to other credentials.
        config |= {"access_key_id": place.user, "secret_access_key": place.secret, "session_token": ""}
    return config


def _gs(place: Place) -> dict[str, Any]:
    config: dict[str, Any] = {
        "base_url": place.endpoint or "https://storage.googleapis.com",
        "skip_signature": False,
    }
    if "service_account" in place.options:
        config["service_account"] = place.options["service_account"]
    return config


def _az(place: Place) -> dict[str, Any]:
    account = place.user or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", "")
    if _ACCOUNT.fullmatch(account) is None:
        raise UsageError("say the storage account: az://ACCOUNT@CONTAINER or AZURE_STORAGE_ACCOUNT_NAME")
    config: dict[str, Any] = {
        "account_name": account,
        "endpoint": place.endpoint or f"https://{account}.blob.core.windows.net",
        "use_emulator": False,
        "use_fabric_endpoint": False,
        "skip_signature": False,
    }
    if place.secret is not None:
        config["account_key"] = place.secret
    return config


def _options(scheme: str, query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise UsageError("what stands behind `?` is not NAME=VALUE&NAME=VALUE") from None
    options = dict(pairs)
    known = _OPTIONS[scheme]
    if len(options) < len(pairs) or not options.keys() <= set(known):
        raise UsageError(f"{scheme}:// takes each of {', '.join(known)} once, and nothing else")
    if "region" in options and _REGION.fullmatch(options["region"]) is None:
        raise UsageError("a region is written like ap-southeast-1")
    if options.get("style", "path") not in ("path", "virtual"):
        raise UsageError("style is `path` or `virtual`")
    return options


def _seconds(text: str | None) -> float:
    if text is None:
        return _TIMEOUT
    if re.fullmatch(r"\d{1,4}(?:\.\d{1,3})?", text) is None or not 0.1 <= float(text) <= 3600:
        raise UsageError("timeout is a number of seconds from 0.1 to 3600")
    return float(text)


def _endpoint(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
        parts = urlsplit("")
    if not valid or parts.username is not None or parts.query or parts.fragment:
        raise UsageError("endpoint is https://HOST[:PORT][/PATH], or http:// where nobody else listens")
    return text.rstrip("/")
