"""Policy files on disk: a deployment's path in; a compiled Policy that remembers the bytes it came from, out.

The path is of a deployment's YAML, whose laws and registers are looked up from there, or of a bundle that holds them
all. Where this process is given keys (`RESIDENCY_POLICY_KEYS`), only a bundle that is signed by them is taken: whom to
trust is said outside of what is to be trusted.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from residency.adapters.policy_files.disk import available_laws, law_folder, names_in, read_file, read_keys, stamp_of
from residency.errors import PolicyError, Problem, VerificationError
from residency.policy.archive import digest_of
from residency.policy.bundle import MAX_BUNDLE, Bundle, is_bundle, parse_bundle
from residency.policy.compiler import Policy, compile_policy
from residency.policy.parsed import DeploymentDoc, LawDoc, RegisterDoc
from residency.policy.parser import parse_deployment, parse_law, parse_register
from residency.policy.signatures import PolicyKey, verify_signatures
from residency.policy.trust import MAX_NOTE, SIGNATURE, verify_register
from residency.policy.validator import choose_laws

__all__ = ["KEYS_VARIABLE", "Loaded", "PolicyFiles", "load"]

KEYS_VARIABLE: Final = "RESIDENCY_POLICY_KEYS"
"""The environment variable that names the file of keys whose policies this process takes."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A policy, the keys that signed the bundle it came in, and the version of each register that is signed apart, by
    the name of its file. `contents` are digests of what has a version of its own: of the bundle as "", of those
    registers by their files. `bundle` are the bytes that it came in, b"" = in files of its own; `stands_in` = it was
    kept from before, for what lies there does not hold."""

    policy: Policy
    signed_by: tuple[PolicyKey, ...] = ()
    registers: tuple[tuple[str, int], ...] = ()
    contents: tuple[tuple[str, str], ...] = ()
    bundle: bytes = field(default=b"", repr=False)
    stands_in: bool = False

    @property
    def version(self) -> int:
        """The version of the bundle; 0 = not counted, or no bundle."""
        return self.policy.version

    def __str__(self) -> str:
        words = [f"version {self.version}"] if self.version else []
        words += [f"signed by {', '.join(map(str, self.signed_by))}"] if self.signed_by else []
        words += [f"register {file} version {version}" for file, version in self.registers]
        return ", ".join([f"digest {self.policy.digest[:16]}", *words])


def load(path: str | Path, env: Mapping[str, str] | None = None, *, keys: str | Path | None = None) -> Policy:
    """Load a deployment with its laws and registers, or a bundle of them.

    `env` answers `${VAR}` (None = this process's environment). `keys` is the file of the keys that a bundle must be
    signed by; None = what this process's `RESIDENCY_POLICY_KEYS` names, and where it is not set nothing need be signed.
    Relative paths in the deployment start from the folder of the file.

    Raises:
        PolicyError: with every problem found; what cannot be read or is not signed is a problem too.
    """
    return PolicyFiles(path, env, keys=keys).read().policy


class PolicyFiles:
    """One policy on disk, that may be read again and again; and what of the disk it depends on.

    `unsigned` = take what is not signed, whatever this process's environment says: for tools that make bundles.
    """

    def __init__(
        self,
        path: str | Path,
        env: Mapping[str, str] | None = None,
        *,
        keys: str | Path | None = None,
        unsigned: bool = False,
    ) -> None:
        self.path = Path(path)
        self._env: Mapping[str, str] = os.environ if env is None else env
        # From the process alone: `env` belongs to the deployment's variables, and those to who writes the deployment.
        named = os.environ.get(KEYS_VARIABLE) if keys is None else keys
        self._keys = None if named is None or unsigned else Path(named)
        self._files: dict[Path, Hashable] = {}
        self._folders: dict[Path, Hashable] = {}
        self._beside = self.path

    def kept_at(self, path: Path) -> PolicyFiles:
        """A bundle of this policy that lies at `path`, to be read as if it lay here: what it names starts from the same
        folder, and it must be signed by the same keys."""
        kept = PolicyFiles(path, self._env, keys=self._keys, unsigned=self._keys is None)
        kept._beside = self._beside
        return kept

    def read(self) -> Loaded:
        """Read, verify and compile what is there now.

        Raises:
            PolicyError: as `load`; its cause is a VerificationError where a bundle is damaged or not signed as asked.
        """
        self._files, self._folders = {}, {}
        self._trusted = None if self._keys is None else read_keys(self._seen(self._keys))
        self._versions: dict[str, int] = {}
        self._contents: dict[str, str] = {}
        begin = f"; `residency init {self.path}` writes one to begin with"
        data = read_file(self._seen(self.path), limit=MAX_BUNDLE, absent=begin)
        try:
            if is_bundle(data):
                bundle = parse_bundle(data)
                signed_by = self._signed_by(bundle)
                self._contents[""] = bundle.digest
                policy = self._of_bundle(bundle)
                versions, contents = tuple(self._versions.items()), tuple(self._contents.items())
                return Loaded(policy, signed_by, versions, contents, data)
            if self._keys is not None:
                raise VerificationError(
                    "only a signed bundle is taken here, and this is none: see `residency bundle pack --help`"
                )
        except VerificationError as error:
            raise PolicyError((Problem(str(self.path), 1, 1, str(error)),)) from error
        return Loaded(self._of_files(data))

    def stamp(self) -> Hashable:
        """What the file system says now of all that the last `read` looked at. Never raises."""
        files = {path: stamp_of(path) for path in self._files}
        return tuple(files.items()), tuple((folder, names_in(folder)) for folder in self._folders)

    def stamp_read(self) -> Hashable:
        """What `stamp` would have said just before each part was read: equal to it if nothing was touched since."""
        return tuple(self._files.items()), tuple(self._folders.items())

    def _seen(self, path: Path) -> Path:
        self._files[path] = stamp_of(path)
        return path

    # -- a deployment and what it names --------------------------------------------------------------------------

    def _of_files(self, data: bytes) -> Policy:
        deployment = parse_deployment(data, str(self.path), self._env)
        base = self._beside.resolve().parent
        problems: list[Problem] = []
        sources = [(f"deployment/{deployment.name}", data)]
        laws = self._laws(deployment, base, problems, sources)
        registers = self._registers(deployment, base, problems, sources)
        if problems:
            raise PolicyError(tuple(problems))
        return _compiled(deployment, laws, registers, sources, base)

    def _laws(
        self, deployment: DeploymentDoc, base: Path, problems: list[Problem], sources: list[tuple[str, bytes]]
    ) -> list[LawDoc]:
        folders = []
        self._folders[law_folder()] = names_in(law_folder())
        for index, text in enumerate(deployment.laws_from):
            folder = base / text
            self._folders[folder] = names_in(folder)
            if folder.is_dir():
                folders.append(folder)
            else:
                at = ("laws_from", index)
                shown = deployment.source.as_written(at, text)
                problems.append(deployment.source.problem(at, f"no such folder: {shown}"))
        files = available_laws(tuple(folders))
        laws = []
        try:
            chosen = choose_laws(deployment, files)
        except PolicyError as error:
            problems += error.problems
            return []
        for name in chosen:
            try:
                data = read_file(self._seen(files[name]))
                laws.append(parse_law(data, str(files[name]), name))
                sources.append((f"law/{name}", data))
            except PolicyError as error:
                problems += error.problems
        return laws

    def _registers(
        self, deployment: DeploymentDoc, base: Path, problems: list[Problem], sources: list[tuple[str, bytes]]
    ) -> list[RegisterDoc]:
        registers: dict[str, RegisterDoc] = {}
        for index, text in enumerate(deployment.registers):
            path = self._seen(base / text)
            if not path.is_file():
                at = ("registers", index)
                shown = deployment.source.as_written(at, text)
                problems.append(deployment.source.problem(at, f"no such file: {shown}"))
                continue
            try:
                data = read_file(path)
                self._verify_register(path, data)
                register = parse_register(data, str(path))
            except PolicyError as error:
                problems += error.problems
                continue
            other = registers.setdefault(register.name, register)
            if other is not register:
                # Filed under their names, one of the two would be lost.
                what = f"register `{register.name}` is also {other.source.file}"
                problems.append(register.source.problem(("name",), what))
            sources.append((f"register/{register.name}", data))
        return list(registers.values())

    def _verify_register(self, path: Path, data: bytes) -> None:
        """Raises: VerificationError where keys are asked for, and a register outside a bundle is not signed by one."""
        if self._trusted is None:
            return
        if not self._trusted.registers:
            raise VerificationError(
                f"the bundle does not hold the register {path.name}, and no key that is trusted here may sign one"
            )
        if path.name in self._versions:
            raise VerificationError(f"two registers that are signed apart lie in files called {path.name}")
        signature = self._seen(path.with_name(path.name + SIGNATURE))
        if not signature.is_file():
            raise VerificationError(f"the register {path.name} is not signed: {signature.name} is missing")
        note = read_file(signature, limit=MAX_NOTE)
        try:
            self._versions[path.name] = verify_register(path.name, data, note, self._trusted.registers)
        except VerificationError as error:
            raise VerificationError(f"the register {path.name}: {error}") from None
        self._contents[path.name] = hashlib.sha256(data).hexdigest()

    # -- a bundle --------------------------------------------------------------------------------------------------

    def _signed_by(self, bundle: Bundle) -> tuple[PolicyKey, ...]:
        """Who signed a bundle. Raises: VerificationError where they may not, or not for the registers that it holds."""
        trusted = self._trusted
        if trusted is None:
            return ()
        signed_by = verify_signatures(bundle.text, bundle.signatures, trusted.policies)
        if trusted.registers and any(name.startswith("register/") for name, _ in bundle.sources):
            others = verify_signatures(bundle.text, bundle.signatures, trusted.registers)
            return tuple(dict.fromkeys((*signed_by, *others)))
        return signed_by

    def _of_bundle(self, bundle: Bundle) -> Policy:
        problems: list[Problem] = []
        deployment: DeploymentDoc | None = None
        laws, registers = [], []
        for name, data in bundle.sources:
            kind, _, own = name.partition("/")
            file = f"{self.path}/{name}"
            try:
                if kind == "deployment":
                    deployment = parse_deployment(data, file, self._env)
                elif kind == "law":
                    laws.append(parse_law(data, file, own))
                else:
                    registers.append(parse_register(data, file))
            except PolicyError as error:
                problems += error.problems
        if problems or deployment is None:  # a bundle holds one deployment
            raise PolicyError(tuple(problems))
        base, sources = self._beside.resolve().parent, list(bundle.sources)
        if not registers and deployment.registers and self._trusted is not None:  # they lie apart, and are signed so
            registers = self._registers(deployment, base, problems, sources)
            if problems:
                raise PolicyError(tuple(problems))
        _check_whole(bundle, deployment, registers)
        return _compiled(deployment, laws, registers, sources, base, bundle.version)


def _compiled(
    deployment: DeploymentDoc,
    laws: list[LawDoc],
    registers: list[RegisterDoc],
    sources: list[tuple[str, bytes]],
    base: Path,
    version: int = 0,
) -> Policy:
    # The digest does not depend on the order in which files were found, so what it stands for may not either.
    registers.sort(key=lambda register: register.name)
    return compile_policy(
        deployment, laws, registers, digest_of(sources), base=str(base), sources=tuple(sorted(sources)), version=version
    )


def _check_whole(bundle: Bundle, deployment: DeploymentDoc, registers: list[RegisterDoc]) -> None:
    """Raises VerificationError where the files are not those that packing this deployment gives."""
    if deployment.name != bundle.name:
        raise VerificationError(f"the bundle is called `{bundle.name}` and its deployment `{deployment.name}`")
    laws = {name.partition("/")[2] for name, _ in bundle.sources if name.startswith("law/")}
    left = sorted(laws - set(choose_laws(deployment, laws)))
    if left:
        raise VerificationError(f"the bundle holds a law that its deployment does not choose: {left[0]}")
    packed = {name.partition("/")[2] for name, _ in bundle.sources if name.startswith("register/")}
    named = {register.name for register in registers}
    if (packed and packed != named) or len(named) != len(deployment.registers):
        # A register that got lost takes its stop orders along.
        raise VerificationError("the bundle does not hold the registers that its deployment lists")
