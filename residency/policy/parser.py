"""Text of one policy file in; LawDoc, DeploymentDoc, RegisterDoc or CaseFile out, or a PolicyError with every problem.

`${VAR}` is expanded in deployment files, from a mapping given in; what it expands to is shown nowhere.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, TypeVar

from pydantic import ValidationError

from residency.errors import PolicyError, Problem
from residency.policy import build
from residency.policy.build_law import law
from residency.policy.casefile import CaseFile, case_references, casefile
from residency.policy.documents import DOCUMENTS, DeploymentFile, LawFile, RegisterFile, Strict, TestFile
from residency.policy.parsed import DeploymentDoc, LawDoc, RegisterDoc, Source
from residency.policy.problems import MOST, nearest, shown, translate
from residency.policy.references import deployment_references, register_references
from residency.policy.references_audit import audit_problems
from residency.policy.references_law import law_references
from residency.policy.references_places import place_problems
from residency.policy.yamldoc import MISSING, Path, Value, YamlDoc, parse_yaml

__all__ = ["parse_deployment", "parse_document", "parse_law", "parse_register", "parse_tests"]

_Kind = TypeVar("_Kind", bound=Strict)
_VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")
_VARIABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def parse_law(data: bytes, file: str, name: str) -> LawDoc:
    """Parse a law file; `name` is how deployments call it ("vn/decree-333-2026").

    Raises:
        PolicyError: with every problem of the file.
    """
    model, doc = _parse(data, file, "law", {})
    return law(_as(model, LawFile), name, _source(doc), hashlib.sha256(data).hexdigest())


def parse_deployment(data: bytes, file: str, env: Mapping[str, str]) -> DeploymentDoc:
    """Parse a deployment file, with `${VAR}` expanded from `env`.

    Raises:
        PolicyError: with every problem of the file.
    """
    written: dict[Path, str] = {}
    model, doc = _parse(data, file, "deployment", env, written)
    return build.deployment(_as(model, DeploymentFile), Source(doc.file, doc.values, written))


def parse_register(data: bytes, file: str) -> RegisterDoc:
    """Parse a register file.

    Raises:
        PolicyError: with every problem of the file.
    """
    model, doc = _parse(data, file, "register", {})
    return build.register(_as(model, RegisterFile), _source(doc))


def parse_tests(data: bytes, file: str) -> CaseFile:
    """Parse a file of policy tests.

    Raises:
        PolicyError: with every problem of the file.
    """
    model, doc = _parse(data, file, "test", {})
    return casefile(_as(model, TestFile), _source(doc))


def parse_document(
    data: bytes, file: str, env: Mapping[str, str], name: str
) -> LawDoc | DeploymentDoc | RegisterDoc | CaseFile:
    """Parse a file of whichever kind it says it is. `name` is used where it is a law.

    Raises:
        PolicyError: with every problem of the file.
    """
    value = parse_yaml(data, file).value
    kind = value.get("kind") if isinstance(value, dict) else None
    if kind == "law":
        return parse_law(data, file, name)
    if kind == "register":
        return parse_register(data, file)
    if kind == "test":
        return parse_tests(data, file)
    return parse_deployment(data, file, env)


def _as(model: Strict, kind: type[_Kind]) -> _Kind:
    if not isinstance(model, kind):
        raise TypeError(f"expected {kind.__name__}")
    return model


def _source(doc: YamlDoc) -> Source:
    return Source(doc.file, doc.values)


def _parse(
    data: bytes, file: str, kind: str, env: Mapping[str, str], written: dict[Path, str] | None = None
) -> tuple[Strict, YamlDoc]:
    """`written` is filled with the text of each expanded path."""
    doc = parse_yaml(data, file)
    problems = list(doc.problems)
    if isinstance(doc.value, dict):
        written = {} if written is None else written
        problems += _heading(doc, kind)
        value = _expand(doc, doc.value, (), env, written, problems) if kind == "deployment" else doc.value
        # A file of another kind would only give noise under this kind's rules.
        if doc.value.get("kind") == kind and doc.value.get("residency") == 1:
            problems += _references(doc, kind)
            if kind == "deployment":
                expanded = replace(doc, value=value)  # what a URL or an instance names, and not its variable
                problems += (*audit_problems(expanded, written), *place_problems(expanded))
            try:
                model = DOCUMENTS[kind].model_validate(value)
            except ValidationError as error:
                problems += translate(error, kind, doc, written)
            else:
                if not problems:
                    return model, doc
    elif not problems:
        problems.append(doc.problem((), f"a policy file is a mapping, got {shown(doc, (), {})}"))
    # `from None`: pydantic's error carries the input, and with it expanded secrets.
    raise PolicyError(_told(problems)) from None


def _told(problems: list[Problem]) -> tuple[Problem, ...]:
    """Each problem once, in file order; a file that is wrong all over says so, and not more than anybody reads."""
    # Of a value that is not there, that it is not what was expected says nothing more.
    missing = {(p.line, p.column) for p in problems if p.message.startswith(MISSING)}
    once = {p for p in problems if (p.line, p.column) not in missing or not p.message.endswith(", got null")}
    found = sorted(once, key=lambda p: (p.line, p.column, p.message))
    if len(found) > MOST:
        last = found[MOST]
        found[MOST:] = [Problem(last.file, last.line, last.column, f"and more: the first {MOST} problems are told")]
    return tuple(found)


def _heading(doc: YamlDoc, kind: str) -> list[Problem]:
    value = doc.value if isinstance(doc.value, dict) else {}
    problems = []
    if "residency" not in value:
        problems.append(doc.problem((), "missing key `residency`: a policy file starts with `residency: 1`"))
    elif value["residency"] != 1 or value["residency"] is True:
        text = shown(doc, ("residency",), {})
        problems.append(doc.problem(("residency",), f"residency: this version reads language 1, got {text}"))
    if "kind" not in value:
        problems.append(doc.problem((), "missing key `kind`: expected law, deployment, register or test"))
    elif value["kind"] != kind:
        word = value["kind"]
        hint = "" if isinstance(word, str) and word in DOCUMENTS else nearest(word, DOCUMENTS)
        problems.append(doc.problem(("kind",), f"kind: expected {kind}, got {shown(doc, ('kind',), {})}{hint}"))
    return problems


def _references(doc: YamlDoc, kind: str) -> list[Problem]:
    match kind:
        case "deployment":
            return deployment_references(doc)
        case "law":
            return law_references(doc)
        case "test":
            return case_references(doc)
        case _:
            return register_references(doc)


def _expand(
    doc: YamlDoc, value: Value, path: Path, env: Mapping[str, str], written: dict[Path, str], problems: list[Problem]
) -> Value:
    """A copy of `value` with variables expanded; `written` remembers the text of each expanded path."""
    if isinstance(value, dict):
        return {k: _expand(doc, v, (*path, k), env, written, problems) for k, v in value.items()}
    if isinstance(value, list):
        return [_expand(doc, v, (*path, i), env, written, problems) for i, v in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value
    written[path] = value
    if value.count("${") != len(_VARIABLE.findall(value)):
        problems.append(doc.problem(path, "`${` without its `}`"))
        return value

    def put(match: re.Match[str]) -> str:
        name = match.group(1)
        if _VARIABLE_NAME.fullmatch(name) is None:
            problems.append(doc.problem(path, f"`${{{name}}}` names no variable: expected letters, digits and `_`"))
        elif name not in env:
            problems.append(doc.problem(path, f"the environment variable {name} is not set"))
        else:
            return env[name]
        return match.group(0)

    return _VARIABLE.sub(put, value)
