"""Two mistakes that explain together what none explains alone."""

import itertools
from collections.abc import Mapping, Sequence

from jaxmlp.checking.diagnosis.evidence import Evidence
from jaxmlp.checking.diagnosis.explanation import FACTORED, Explanation
from jaxmlp.checking.diagnosis.records import Known
from jaxmlp.checking.diagnosis.search import spots_of, tried_at
from jaxmlp.checking.programs.recording import Place
from jaxmlp.checking.programs.tape import Change, Spot

FEW = 4  # cases that are enough to see how much a mistake explains
BEAM, ATTEMPTS = 12, 3_000  # mistakes that are tried together with others, and pairs of them


def explained_by_two(
    evidence: Sequence[Evidence], names: dict[Place, str], known: Known
) -> Explanation | None:
    """The first two mistakes found that together explain everything."""
    tape = evidence[0].tape
    tried = [
        (spot, mistake)
        for place in tape.jacobians
        for spot in spots_of(tape, place)
        for mistake in (
            *FACTORED,
            *(known.mistakes.get(names.get(place, ""), ()) if spot.argument is None else ()),
            *tried_at(tape, spot, names),
        )
    ]
    few = [each for each in evidence if each.finite][:FEW]

    def score(faults: Mapping[Spot, Change]) -> int:
        return sum(each.leaves_that_fit(each.predicted(faults)) for each in few)

    base = score({})
    scored = [(score({spot: each.change}), spot, each) for spot, each in tried]
    better = sorted((each for each in scored if each[0] > base), key=lambda each: -each[0])
    pairs = itertools.product(better[:BEAM], scored)
    for (_, one, first), (_, two, second) in itertools.islice(pairs, ATTEMPTS):
        faults = {one: first.change, two: second.change}
        if one != two and all(each.fits(each.predicted(faults)) for each in evidence):
            kind = " and ".join(dict.fromkeys((first.kind, second.kind)))
            says = f"{first.says}; and {second.says}"
            return Explanation((one, two), kind, says, 0, lambda _, faults=faults: faults)
    return None
