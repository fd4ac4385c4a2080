"""What a decision was made by, as bytes under their digest, and back: the files of a policy, and the facts of an epoch.

An entry of the log names both digests, so that who has the log and the archive can decide each case again, years later
and without the machine it was decided on (`policy.replay`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Final, get_args, get_origin, get_type_hints

from residency.errors import PolicyError, Problem, VerificationError
from residency.model import FactSet
from residency.policy.compiler import Policy, compile_policy
from residency.policy.parser import parse_deployment, parse_law, parse_register
from residency.policy.yamldoc import Path, Value, parse_yaml

__all__ = [
    "archived",
    "digest_of",
    "facts_digest",
    "facts_path",
    "format_archive",
    "format_facts",
    "parse_archive",
    "parse_facts",
    "policy_path",
    "variables",
]

_VERSION: Final = 1
_PLACEHOLDER: Final = "memory:"
# Where a variable's value connects or finds something, and decides nothing.
_INDIFFERENT: Final = frozenset({"audit", "hand_over", "keys", "locators", "metrics", "pins", "signals"})


def policy_path(digest: str) -> str:
    """Where the archive of a policy lies, below the audit folder."""
    return f"policies/{digest}.json"


def facts_path(digest: str) -> str:
    """Where the facts of that digest lie, below the audit folder."""
    return f"facts/{digest}.json"


def archived(policy: Policy, facts: FactSet) -> tuple[tuple[str, bytes], ...]:
    """(path, bytes) of what must lie below the audit folder before the first decision by `policy` and on `facts`.

    A policy that was made without files has nothing to archive, and nobody can decide its cases again.
    """
    own = ((policy_path(policy.digest), format_archive(policy.sources)),) if policy.sources else ()
    return (*own, (facts_path(facts_digest(facts)), format_facts(facts)))


def digest_of(sources: Iterable[tuple[str, bytes]]) -> str:
    """The SHA-256 (hex) over the canonical list of (kind, name, SHA-256 of the bytes); `sources` as ("kind/name",
    bytes)."""
    listed = sorted([*name.split("/", 1), hashlib.sha256(data).hexdigest()] for name, data in sources)
    return hashlib.sha256(json.dumps(listed, separators=(",", ":"), ensure_ascii=True).encode()).hexdigest()


def format_archive(sources: Iterable[tuple[str, bytes]]) -> bytes:
    """The one byte form of a policy's files, which are UTF-8, under their names."""
    document = {"sources": [[name, data.decode()] for name, data in sorted(sources)], "v": _VERSION}
    return _canonical(document)


def parse_archive(data: bytes, digest: str, env: Mapping[str, str]) -> Policy:
    """The policy that `data` holds the files of, once they are those that `digest` names.

    A `${VAR}` that only says how to connect needs no value; of any other `env` must have the one it had then.

    Raises: VerificationError where the bytes are not what the digest names, PolicyError where they are no policy now.
    """
    sources = _sources(data)
    if digest_of(sources) != digest:
        raise VerificationError("the archived files are not those that the digest names")
    deployment, laws, registers = None, [], []
    for name, content in sources:
        kind, _, own = name.partition("/")
        file = f"{digest[:12]}/{name}"
        match kind:
            case "deployment":
                deployment = parse_deployment(content, file, variables(content, file, env))
            case "law":
                laws.append(parse_law(content, file, own))
            case "register":
                registers.append(parse_register(content, file))
            case _:
                raise PolicyError((Problem(file, 1, 1, f"this version knows no policy file of kind `{kind}`"),))
    if deployment is None:
        raise VerificationError("the archive holds no deployment")
    return compile_policy(deployment, laws, registers, digest, sources=tuple(sources))


def _sources(data: bytes) -> list[tuple[str, bytes]]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise VerificationError("the archive is not JSON") from None
    if not isinstance(document, dict) or document.get("v") != _VERSION:
        raise VerificationError("the archive is not of version 1")
    listed = document.get("sources")
    pairs = listed if isinstance(listed, list) else []
    if not pairs or not all(isinstance(p, list) and len(p) == 2 and all(type(t) is str for t in p) for p in pairs):
        raise VerificationError("the archive does not list files by name")
    return [(name, text.encode("utf-8", "surrogatepass")) for name, text in pairs]


def variables(data: bytes, file: str, env: Mapping[str, str]) -> Mapping[str, str]:
    """`env`, and a stand-in for each other variable of a deployment file that decides nothing where it stands.

    Enough to decide by the file, and not to connect by it.
    """
    decisive, indifferent = set[str](), set[str]()
    for path, text in _texts(parse_yaml(data, file).value, ()):
        names = {part.partition("}")[0] for part in text.split("${")[1:]}
        (indifferent if path[-1] == "url" or path[0] in _INDIFFERENT else decisive).update(names)
    return dict.fromkeys(indifferent - decisive, _PLACEHOLDER) | dict(env)


def _texts(value: Value, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts(inner, (*path, index))
    elif isinstance(value, str) and "${" in value and path:
        yield path, value


def facts_digest(facts: FactSet) -> str:
    """The SHA-256 (hex) of `format_facts`: equal facts have one digest, whatever their epochs."""
    return hashlib.sha256(format_facts(facts)).hexdigest()


def format_facts(facts: FactSet) -> bytes:
    """The one byte form of what is true of the operator, its epoch aside."""
    return _canonical({"facts": _plain(replace(facts, epoch=0)), "v": _VERSION})


def parse_facts(data: bytes, digest: str, epoch: int = 0) -> FactSet:
    """The facts that `format_facts` wrote, under `epoch`. Raises: VerificationError."""
    if hashlib.sha256(data).hexdigest() != digest:
        raise VerificationError("the archived facts are not those that the digest names")
    try:
        facts = _build(FactSet, json.loads(data)["facts"])
    except (KeyError, TypeError, ValueError, RecursionError):
        raise VerificationError("the archived facts cannot be read") from None
    if not isinstance(facts, FactSet) or format_facts(facts) != data:
        raise VerificationError("the archived facts are not in the form that this version writes")
    return replace(facts, epoch=epoch)


def _canonical(document: object) -> bytes:
    return (json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")) + "\n").encode()


def _plain(value: Any) -> Any:
    """A frozen value as JSON: records by their fields' names, sets sorted. Fields at their default are left out, so
    that a field which a later version adds does not change the digest of facts that say nothing of it."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(v) for f in fields(value) if (v := getattr(value, f.name)) != f.default}
    if isinstance(value, frozenset):
        return sorted(_plain(v) for v in value)
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return value.value if isinstance(value, Enum) else value


def _build(kind: Any, value: Any) -> Any:
    """The value of type `kind` that `_plain` made `value` of. Raises: TypeError, ValueError, KeyError."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is UnionType:
        if value is None:
            return None
        return _build(next(each for each in inner if each is not NoneType), value)
    if origin is tuple:
        if len(inner) == 2 and inner[1] is ...:
            return tuple(_build(inner[0], each) for each in value)
        return tuple(_build(each, v) for each, v in zip(inner, value, strict=True))
    if origin is frozenset:
        return frozenset(_build(inner[0], each) for each in value)
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{name: _build(hints[name], each) for name, each in value.items()})
    if type(value) not in (str, int, bool):
        raise TypeError("neither text nor number")
    return kind(value)
