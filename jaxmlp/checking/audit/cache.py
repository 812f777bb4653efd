"""Rows of earlier audits, kept as long as nothing has changed that they could depend on."""

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

from jaxmlp.checking.audit.discovery import Target
from jaxmlp.checking.audit.processes import ENDED, STOPPED
from jaxmlp.checking.audit.settings import Says
from jaxmlp.files import write_text


class Kept:
    """The rows of one package, as it is now, checked by this jaxmlp in this environment."""

    def __init__(self, folder: Path, package: str) -> None:
        """Find the rows in a folder; what is kept there of the package as it was is deleted.

        Args:
            folder: with the rows of all packages.
            package: its name.
        """
        self.folder = folder / f"{package}-{_fingerprint(package)}"
        for other in folder.glob(f"{package}-*"):
            if other != self.folder:
                shutil.rmtree(other, ignore_errors=True)

    def row(self, target: Target, says: Says) -> dict[str, Any] | None:
        """What is known of a function; None if that is nothing."""
        try:
            return json.loads(self._path(target, says).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def keep(self, target: Target, says: Says, row: dict[str, Any]) -> None:
        """Keep a row, unless it only says that time was up, or the process ended."""
        if not row.get("uncovered", "").startswith((STOPPED, ENDED)):
            with contextlib.suppress(OSError, ValueError):  # it would only have saved time
                self.folder.mkdir(parents=True, exist_ok=True)
                write_text(self._path(target, says), json.dumps(row))

    def _path(self, target: Target, says: Says) -> Path:
        name = hashlib.sha256(f"{target} {says}".encode()).hexdigest()[:32]
        return self.folder / f"{name}.json"


def _fingerprint(package: str) -> str:
    """Of the sources of a package and of jaxmlp, and of the versions of all that is installed."""
    found = hashlib.sha256()
    for name in (package, "jaxmlp"):
        spec = importlib.util.find_spec(name)
        places = [Path(each) for each in (spec and spec.submodule_search_locations) or ()]
        if spec and spec.origin and not places:
            places = [Path(spec.origin)]
        for place in places:
            for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
                found.update(str(file.relative_to(place)).encode() + file.read_bytes())
    for each in sorted(f"{d.name} {d.version}" for d in importlib.metadata.distributions()):
        found.update(each.encode())
    return found.hexdigest()[:32]
