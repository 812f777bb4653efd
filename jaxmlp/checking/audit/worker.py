"""In a process of its own: audits functions, one after another, as it is told on standard input."""

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from jaxmlp.checking.audit.discovery import Target
from jaxmlp.checking.audit.samplers import Sample, sample
from jaxmlp.checking.audit.settings import Says, read
from jaxmlp.checking.rules.check import examine_rule
from jaxmlp.importing import first_line


def audited(target: Target, says: Says) -> dict[str, Any]:
    """One row of the table."""
    start = time.perf_counter()
    row: dict[str, Any] = {"module": target.module, "name": target.name, "findings": []}
    if says.skip:
        return row | {"uncovered": says.skip, "seconds": 0.0}
    try:
        function = target.load()
        given = Sample(function, says.arguments, {}) if says.arguments else sample(function)
        if isinstance(given, str):
            return row | {"uncovered": given, "seconds": time.perf_counter() - start}
        report = examine_rule(
            given.function,
            *given.arguments,
            domain=given.domain | says.domain,
            intended=says.intended,
        )
    except BaseException as error:
        row["uncovered"] = f"{type(error).__name__}: {first_line(error)}"
        return row | {"seconds": time.perf_counter() - start}
    for found in report.findings:
        row["findings"].append(
            {
                "kind": found.kind,
                "fails": found.fails and found.kind not in says.known,
                "argument": found.argument,
                "about": found.point.about,
                "point": [float(each) for each in found.point.row],
                "mode": found.mode,
                "dtype": found.dtype,
                "received": repr(found.received),
                "expected": repr(found.expected),
                "says": str(found),
            }
        )
    return row | {
        "rules": report.rules,
        "points": report.points,
        "refused": report.refused,
        "remarks": report.remarks,
        "seconds": time.perf_counter() - start,
    }


def main() -> None:
    """Answer every line, a target as JSON, with one line: its row."""
    settings = read(Path(sys.argv[1])) if len(sys.argv) > 1 else {}
    answers, sys.stdout = sys.stdout, sys.stderr  # what an audited package prints is no answer
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        target = Target(*json.loads(line))
        row = audited(target, settings.get(str(target), Says()))
        print(json.dumps(row), file=answers, flush=True)


if __name__ == "__main__":
    main()
