"""`jaxmlp audit`: check the derivative rules of an installed package."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from jaxmlp.bounds import check_integer
from jaxmlp.checking.audit import table
from jaxmlp.checking.audit.cache import Kept
from jaxmlp.checking.audit.discovery import Target, targets
from jaxmlp.checking.audit.processes import rows
from jaxmlp.checking.audit.settings import Says, read
from jaxmlp.compilation import cache_folder
from jaxmlp.files import check_writable, write_text


@dataclass(frozen=True)
class Audit:
    """Check the derivative rules of an installed package, and of its public functions.

    Exit code 0 if nothing is wrong, 1 on findings, 2 if it could not be run.

    Attributes:
        target: PACKAGE, PACKAGE.module, or PACKAGE.module:function.
        report: write the table to this file: .md, .html or .json.
        settings: a file audit.toml: arguments, domains, intended rules and known findings of
            functions, in tables such as ["mylib.special:erfinv"].
        time_limit: seconds for each function.
        processes: how many work at once; by default one for each core.
        cache: take what an earlier audit found of a function, if neither the package, nor jaxmlp,
            nor anything that is installed beside them has changed.
    """

    target: Annotated[str, tyro.conf.Positional]
    report: Path | None = None
    settings: Path | None = None
    time_limit: float = 120.0
    processes: int | None = None
    cache: bool = True

    def run(self) -> int:
        """Check, print, write; the exit code."""
        if not 0 < self.time_limit < 1e6:
            raise ValueError(f"time_limit is {self.time_limit}: give seconds above 0")
        if self.processes is not None:
            check_integer("processes", self.processes, least=1)
        if self.report:
            if self.report.suffix not in table.WRITERS:
                options = ", ".join(table.WRITERS)
                raise ValueError(f"report is {str(self.report)!r}: its name ends with {options}")
            check_writable(self.report)
        found = self._audited(read(self.settings) if self.settings else {})
        for row in table.new(found):
            print(f"✗ {row['module']}:{row['name']}")
            for each in row["findings"]:
                if each["fails"]:
                    print(f"  {each['says']}")
        print(table.summary(self.target, found))
        if os.environ.get("GITHUB_ACTIONS") == "true":
            print("\n".join(table.annotations(found)))
        if self.report:
            write_text(self.report, table.WRITERS[self.report.suffix](self.target, found))
            print(f"report written to {self.report}")
        return 1 if table.new(found) else 0

    def _audited(self, settings: Mapping[str, Says]) -> list[dict]:
        """The rows of all functions; progress is shown."""
        every = targets(self.target)
        package = self.target.partition(":")[0].partition(".")[0]
        kept = Kept(cache_folder() / "audits", package) if self.cache else None
        says = {target: settings.get(str(target), Says()) for target in every}
        known = {target: kept.row(target, says[target]) for target in every} if kept else {}
        found = [row for row in known.values() if row]
        left = [target for target in every if not known.get(target)]
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
        cores = self.processes or len(os.sched_getaffinity(0))
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task(f"auditing {self.target}", total=len(left))
            for row in rows(left, self.settings, self.time_limit, cores):
                found.append(row)
                if kept:
                    target = Target(row["module"], row["name"])
                    kept.keep(target, says[target], row)
                progress.update(task, advance=1, description=f"audited {row['name']}")
        return found
