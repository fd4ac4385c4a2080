"""`residency audit mirror`: a log folder and a second place in; what lies there, or the log there too, out."""

from __future__ import annotations

import json
import re
from typing import Annotated, Final

import typer
from rich.console import Console

from residency.adapters.log_files import LogFiles
from residency.adapters.mirror import Mirror
from residency.cli.audit.shared import Folder, Json, Key, fail, unreached
from residency.cli.log_folder import verifier_key
from residency.errors import IntegrityError, Unavailable, UsageError
from residency.policy.build_law import term
from residency.policy.words import DURATION
from residency.wiring.mirror import place_at, required_lock

__all__ = ["mirror"]

_WAIT: Final = 5.0


def mirror(
    folder: Folder,
    url: Annotated[str, typer.Argument(metavar="URL", help="Where to: s3://BUCKET/PREFIX or file:///PATH.")],
    locked: Annotated[
        str | None,
        typer.Option("--locked", metavar="TERM", help="Refuse a bucket that locks for less, as in '24 months'."),
    ] = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Ship a log, and the archive of policies beside it, to a second place once, as `audit.mirror` of a deployment does
    all the time.

    Only what is new is put, and only under this log's signature; a place that holds more, or another log, is left as it
    is. Credentials: AWS_ACCESS_KEY_ID and its kind. Exit 0 = the place holds the whole log, 1 = it does not, 2 = wrong
    use, or a place that cannot be reached.

    Example: residency audit mirror ./demo-data/audit/log s3://audit-logs/chat-api --locked '24 months'
    """
    if locked is not None and re.fullmatch(DURATION, locked) is None:
        raise typer.BadParameter("a term such as '24 months' or '90 days'", param_hint="--locked")
    if locked is not None and not url.startswith("s3://"):
        raise typer.BadParameter("a folder cannot lock what lies in it: that takes s3://", param_hint="--locked")
    try:
        place = place_at(url)
    except UsageError as error:
        raise typer.BadParameter(str(error), param_hint="URL") from None
    try:
        # The lock lies where a running process has its own, so that one of the two waits.
        shipping = Mirror(
            LogFiles(folder),
            place,
            key=verifier_key(folder, key),
            lock=folder.absolute().parent / "mirror.lock",
            required=None if locked is None else required_lock(term(locked)),
            archive=LogFiles(folder.absolute().parent),
        )
        try:
            with Console(stderr=True).status("shipping the log"):
                shipped = shipping.ship(wait=_WAIT)
        finally:
            shipping.release()
    except IntegrityError as error:
        fail(str(error), as_json)
    except Unavailable as error:
        unreached(str(error), as_json)
    except OSError as error:
        fail(f"the log cannot be read, or its mirror.lock not be made (errno {error.errno})", as_json)
    if shipped is None:
        fail("another process ships this log just now (it has mirror.lock)", as_json)
    if as_json:
        print(json.dumps({"holds": True, "size": shipped.size, "before": shipped.before, "files": shipped.files}))
        return
    new = shipped.size - shipped.before
    what = f"{new:,} entries more, in {shipped.files:,} files" if shipped.files else "nothing was new"
    Console().print(f"The mirror holds all {shipped.size:,} entries ({what}).", highlight=False)
