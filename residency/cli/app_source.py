"""An app that was imported in; its own source files, each as a tree with what its names stand for, out.

Its own is what lies in the package of the module that was named, and what was loaded from under the current folder.
What is installed is other people's: it is told from what was loaded, and not read.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

from residency.cli.app_routes import load_app
from residency.errors import UsageError

__all__ = ["Source", "dotted", "imported", "own_modules", "own_sources", "parse_source", "running", "shown"]

_MOST: Final = 5_000  # files
_LARGEST: Final = 1 << 21  # bytes of one
_INSTALLED: Final = frozenset({"site-packages", "dist-packages", "node_modules", ".venv", "venv", "tests", "test"})
_TELLING: Final = (ImportError, SyntaxError, NameError, AttributeError, KeyError, FileNotFoundError, PermissionError)
_OURS: Final = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Source:
    """One file: its name as it is told, its tree, and what its names stand for (`sa` for `sqlalchemy`)."""

    file: str
    tree: ast.Module
    names: Mapping[str, str]


def imported(target: str) -> object:
    """What `target` ("shop.main:app") names. Raises: UsageError, also for whatever its import raises."""
    try:
        return load_app(target)
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001 - it is the app's own
        # Other messages may have a URL or a password in them.
        why = f": {error}" if isinstance(error, _TELLING) else ""
        raise UsageError(f"importing {target} raised {type(error).__name__}{why}{_raised(error)}") from None


def _raised(error: BaseException) -> str:
    """Where the app's own line stands that raised, as ` (shop/main.py:7)`."""
    trace, found = error.__traceback__, ""
    here = Path.cwd()
    while trace is not None:
        path = Path(trace.tb_frame.f_code.co_filename)
        if path.is_relative_to(here) and _own(path, here) and not path.is_relative_to(_OURS):
            found = f" ({shown(path)}:{trace.tb_lineno})"
        trace = trace.tb_next
    return found


def own_sources(target: str) -> tuple[tuple[Source, ...], tuple[str, ...]]:
    """The files of the app that `target` ("shop.main:app") names, and the names of those that could not be read.

    The app is imported already. Tests are left out.
    """
    read, unread = [], []
    for path in sorted(_files(target.partition(":")[0])):
        source = parse_source(path)
        if source is None:
            unread.append(shown(path))
        else:
            read.append(source)
    return tuple(read), tuple(unread)


def own_modules(target: str) -> tuple[ModuleType, ...]:
    """The modules of the app that are loaded."""
    own = _files(target.partition(":")[0])
    return tuple(module for module in list(sys.modules.values()) if _file(module) in own)


def parse_source(path: Path) -> Source | None:
    """One file, None where it cannot be read as Python."""
    try:
        if path.stat().st_size > _LARGEST:
            return None
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return Source(shown(path), tree, _names(tree))


def shown(path: Path) -> str:
    """A file as it is told: from the current folder where it lies under it."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def dotted(node: ast.expr, names: Mapping[str, str]) -> str | None:
    """What an expression such as `sa.create_engine` stands for, as `sqlalchemy.create_engine`; None = not known."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in names:
        return None
    return ".".join([names[node.id], *reversed(parts)])


def _files(module: str) -> set[Path]:
    top = sys.modules.get(module.partition(".")[0])
    folders = [Path(each) for each in getattr(top, "__path__", ())]
    found = {path.resolve() for folder in folders for path in folder.rglob("*.py") if _own(path, folder)}
    here = Path.cwd()
    for loaded in list(sys.modules.values()):
        path = _file(loaded)
        if path is not None and path.is_relative_to(here) and _own(path, here):
            found.add(path)
    named = _file(sys.modules.get(module))
    if named is not None:
        found.add(named)
    return set(sorted(path for path in found if not path.is_relative_to(_OURS))[:_MOST])


def _own(path: Path, folder: Path) -> bool:
    return _INSTALLED.isdisjoint(path.relative_to(folder).parts)


def _file(module: ModuleType | None) -> Path | None:
    name = getattr(module, "__file__", None)
    return Path(name).resolve() if isinstance(name, str) and name.endswith(".py") else None


def _names(tree: ast.Module) -> dict[str, str]:
    """What each name that some import brings stands for; of two in one file the last."""
    found: dict[str, str] = {}
    for node in running(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                found[each.asname or each.name.partition(".")[0]] = (
                    each.name if each.asname else each.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            for each in node.names:
                found[each.asname or each.name] = f"{node.module}.{each.name}"
    return found


def running(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING:`, which never run."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for other in node.orelse:
                yield from (other, *running(other))
            continue
        yield node
        yield from running(node)
