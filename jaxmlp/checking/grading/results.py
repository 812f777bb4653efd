"""Grades in files that other programs read: JSON, CSV, JUnit's XML, and Gradescope's JSON."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from jaxmlp.checking.grading.grades import EARNING, STATUSES, Grade
from jaxmlp.checking.homework.lines import symbol_of
from jaxmlp.version import __version__

FORMAT = 1
FEW = ("path", "status", "points", "of", "says", "understood", "seconds")


def as_json(grades: Sequence[Grade], keys: Sequence[str]) -> str:
    """All that is known of every submission, and by what it is known again.

    Args:
        grades: of some files.
        keys: of what each grade depends on.
    """
    record = {
        "format": FORMAT,
        "version": __version__,
        "submissions": [
            vars(grade) | {"key": key} for grade, key in zip(grades, keys, strict=True)
        ],
    }
    return json.dumps(record, ensure_ascii=False, indent=1) + "\n"


def from_json(path: Path) -> dict[str, Grade]:
    """The grades of an earlier run, by their keys; none if there is no such file.

    Raises:
        ValueError: if the file holds something else.
    """
    if not path.exists():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["format"] != FORMAT:
            raise ValueError(f"format {record['format']}")
        found = {}
        for each in record["submissions"]:
            key = each.pop("key")
            grade = Grade(**each | {"left": tuple(each["left"])})
            if grade.status not in STATUSES:
                raise ValueError(f"status {grade.status}")
            found[str(key)] = grade
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} holds no grades to go on from ({type(error).__name__}): give another file"
        ) from None
    return found


def as_csv(grades: Sequence[Grade]) -> str:
    """A row for each submission."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FEW)
    for grade in grades:
        cells = [getattr(grade, name) for name in FEW]
        writer.writerow([_cell(round(c, 3) if isinstance(c, float) else c) for c in cells])
    return text.getvalue()


def _cell(value: Any) -> Any:
    """A text that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value


def as_junit(grades: Sequence[Grade]) -> str:
    """XML as JUnit writes it: wrong is a failure, and what could not be judged an error."""
    suite = ElementTree.Element(
        "testsuite",
        name="jaxmlp check",
        tests=str(len(grades)),
        failures=str(sum(grade.status == "wrong" for grade in grades)),
        errors=str(sum(grade.status not in ("right", "wrong") for grade in grades)),
        time=f"{sum(grade.seconds for grade in grades):.3f}",
    )
    for grade in grades:
        case = ElementTree.SubElement(
            suite, "testcase", classname="homework", name=grade.path, time=f"{grade.seconds:.3f}"
        )
        if grade.status != "right":
            kind = "failure" if grade.status == "wrong" else "error"
            what = ElementTree.SubElement(case, kind, type=grade.status, message=grade.says)
            what.text = grade.report
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def as_gradescope(grade: Grade) -> str:
    """The results of one submission, as an autograder leaves them in results/results.json.

    Fields as in Gradescope's documentation of autograders, "Output Format": a score, an output,
    and tests with scores of their own.
    """
    tests = [
        {
            "name": symbol_of(line),
            "status": "passed" if status in EARNING else "failed",
            "output": {"follows": "right, given the lines before it"}.get(status, status),
        }
        for line, status in (grade.lines or {}).items()
    ]
    record = {
        "score": grade.points,
        "max_score": grade.of,
        "execution_time": round(grade.seconds, 3),
        "output": "\n".join(filter(None, [f"{grade.status}: {grade.says}", grade.report])),
        "stdout_visibility": "hidden",
        "tests": tests,
    }
    return json.dumps(record, ensure_ascii=False, indent=1) + "\n"
