"""The page in Markdown that is made from what `gpu.py` found."""

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from gpu_speed import OURS
from measuring import middle, times_as_long

ERRORS = ("by hand", "jax.grad", "each other", "relative")
FIRST_EPOCH = 1e-4  # relative difference of the first epoch's losses from those of a CPU
LEARNT = 0.9  # validation accuracy on digits, from which on a training has learnt; short ones less


def page(found: dict[str, Any]) -> str:
    """All of it in Markdown, the checks first."""
    about, parts = found["machine"], found["parts"]
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    lines = [
        f"# {about['device']}{', small sizes' if found['small'] else ''}",
        "",
        f"{about['device']}; {about['processor']}, {about['cores']} cores; {versions}; commit "
        f"{found['commit']}; data: {found['data']}. Times are medians (fastest to slowest).",
    ]
    lines += _table(
        "What has to hold",
        ("", "found", "right"),
        ((name, text, _mark(right)) for name, text, right in checks(parts, found["small"])),
    )
    lines += _table(
        "Gradients against float64: the largest error of an entry over what rounding may do there",
        ("products, activation", "gradients", "by hand", "`jax.grad`", "one from the other",
         "error by hand over the largest entry"),
        (
            (name, one["gradients"], *(f"{one[each]:.2g}" for each in ERRORS))
            for name, one in parts.get("gradients", {}).items()
        ),
    )  # fmt: skip
    lines += _failures(found["failed"])
    for name, part in parts.get("epochs", {}).items():
        lines += _epoch(name, part)
    lines += _sweeps(parts.get("sweeps", {}))
    lines += _gradients(parts.get("widths", {}))
    lines += _profile(parts.get("profile", {}))
    spent = "; ".join(f"{name} {seconds:g}" for name, seconds in found["seconds"].items())
    return "\n".join([*lines, "", f"Seconds that each part took: {spent}."]) + "\n"


def checks(parts: dict[str, Any], small: bool) -> Iterator[tuple[str, str, bool]]:
    """What was checked, what came out, and whether it is right."""
    cases = parts.get("gradients", {}).values()
    if cases:
        worst = max(case[name] for case in cases for name in ("by hand", "each other"))
        text = f"{sum(case['gradients'] for case in cases)}; error over what rounding may do "
        text += f"{worst:.2g} at most; a wrong entry is seen"
        seen = all(case["refused"] for case in cases)
        yield "gradients by hand", text if seen else text + " not always", worst <= 1 and seen
    checker = parts.get("checker", {})
    if ours := checker.get("ours"):
        text = f"passes, {ours['cases']} cases, {ours['seconds']} s"
        yield "checker, our gradient", text if ours["passed"] else "refused", ours["passed"]
    if wrong := checker.get("a mask is missing"):
        right = not wrong["passed"] and wrong["kind"] == "mask missing"
        yield "checker, a missing mask", wrong["kind"] or "passes", right
    for name, one in parts.get("training", {}).items():
        if name.startswith("train"):
            learnt, off = one["validation accuracy"], one["first epoch from a CPU's"]
            text = f"accuracy {learnt}; the first epoch's loss differs from a CPU's by {off:.1e}"
            text += "; the same bits twice" if one["the same bits twice"] else "; other bits twice"
            close = off < FIRST_EPOCH or "default" in name  # of TF32 nothing is promised
            yield name, text, (learnt > LEARNT or small) and close
        else:
            largest = f"losses differ by {one['largest difference of a loss']:.1e} at most"
            largest += "" if one["the contract holds"] else ", which is more than in float32"
            yield f"{name}: its contract", largest, one["the contract holds"] or "default" in name
    if counts := parts.get("tests", {}).get("tests"):
        text = ", ".join(f"{n} {what}" for what, n in counts.items() if isinstance(n, int))
        text += "".join(f"; `{name}`" for name in counts["failures"])
        wrong = counts["failures"] or counts.get("failed") or counts.get("error")
        right = not wrong and counts.get("passed", 0) > 0
        yield "tests of the core, as many as run in time", text, right


def _mark(right: bool) -> str:
    return "yes" if right else "**no**"


def _failures(failed: Sequence[dict[str, Any]]) -> list[str]:
    absent = [each for each in failed if each.get("absent")]
    rows = [(each["what"], each["error"]) for each in failed if each not in absent]
    lines = _table("What failed", ("", "why"), rows)
    if absent:
        names = sorted({each["absent"] for each in absent})
        lines += ["", f"Left out, as it is not installed here: {', '.join(names)}."]
    return lines


def _epoch(name: str, part: dict[str, Any]) -> list[str]:
    times = part["seconds"]
    rows = [
        (
            other,
            middle(seconds),
            f"{times_as_long(seconds, times[OURS]):.2f}" if OURS in times else "",
        )
        for other, seconds in times.items()
    ]
    columns = ("", "milliseconds", "times as long as ours")
    return _table(f"An epoch of {name}, batches of {part['batch']}", columns, rows)


def _sweeps(parts: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for name, part in parts.items():
        if "seconds" in part:
            rows = [(what, _micro(seconds)) for what, seconds in part["seconds"].items()]
            title = f"Sweeps of {name}: microseconds for a trial and epoch"
            lines += _table(title, ("", "median (fastest to slowest)"), rows)
        else:
            lines += ["", f"{name}: {part['bytes'] / 1e6:.2f} MB a trial, of which its state is "
                      f"{part['state'] / 1e6:.2f} MB."]  # fmt: skip
    return lines


def _micro(seconds: Sequence[float]) -> str:
    found = [1e6 * of(seconds) for of in (statistics.median, min, max)]
    return "{:,.4g} ({:,.4g} to {:,.4g})".format(*found)


def _gradients(parts: dict[str, Any]) -> list[str]:
    rows = []
    for width, cases in parts.items():
        for case in cases:
            ratio = times_as_long(case["seconds"]["jax.grad"], case["seconds"]["by hand"])
            memory = [case["bytes"][name] / 2**20 for name in ("by hand", "jax.grad")]
            row = (width, case["n"], middle(case["seconds"]["by hand"]), f"{ratio:.2f}")
            rows.append((*row, "{:.3g}, {:.3g}".format(*memory)))
    columns = ("width", "examples", "by hand, ms", "`jax.grad`, times as long", "MiB of both")
    return _table("One gradient of two hidden layers", columns, rows)


def _profile(parts: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for name, one in parts.items():
        share = one["gaps"] / max(one["gaps"] + one["busy"], 1e-12)
        longest = ((f"`{what}`", f"{1e3 * each:.3g}") for what, each in one["longest"].items())
        lines += _table(f"What an epoch of {name} spends its time on", ("", "ms"), longest)
        lines += [
            "",
            f"{one['kernels']} kernels in {one['steps']} steps, busy for {1e3 * one['busy']:.3g} "
            f"ms; gaps between them {1e3 * one['gaps']:.3g} ms ({share:.0%}), a median one "
            f"{1e6 * one['median gap']:.2g} µs; {1e3 * one['wall']:.3g} ms by the clock.",
        ]
    return lines


def _table(title: str, columns: Sequence[str], rows: Any) -> list[str]:
    """A part of the page, if it has any rows."""
    cells = [f"| {' | '.join(map(str, row))} |" for row in rows]
    head = ["", f"## {title}", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    return head + cells if cells else []
