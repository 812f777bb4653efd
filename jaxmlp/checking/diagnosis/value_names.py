"""What the user calls the values of a loss."""

import re
from collections.abc import Mapping, Sequence

from jaxmlp.checking.diagnosis.records import MOVES
from jaxmlp.checking.programs.recording import NAME, Place
from jaxmlp.checking.programs.tape import Tape


def value_names(
    tape: Tape, leaves: Sequence[str], others: Sequence[str], renamed: Mapping[str, str]
) -> dict[Place, str]:
    """What the user calls the values of a loss: the arguments by path, others as assigned.

    Args:
        tape: of the loss.
        leaves: of the parameters, by path.
        others: of the batch, by path.
        renamed: other names for some of them.
    """
    names: dict[Place, str] = dict(zip(tape.leaf_places, leaves, strict=True))
    names |= {("batch", i): name for i, name in enumerate(others)}
    last = {op.source: op.place for op in tape.operations if op.source.file}
    for line, place in last.items():
        if found := re.match(r"([A-Za-z_]\w*)\s*=[^=]", line.text):
            names[place] = found[1]
    made = tape.places
    for op in tape.operations:
        if op.name == NAME:  # which gives a name to the value that it is given
            names[op.place] = op.equation.params["name"]
            names.setdefault(made[op.inputs[0]], names[op.place])
        elif op.name in MOVES and len(op.inputs) == 1 and op.place not in names:
            (number,) = op.inputs.values()
            if made[number] in names:
                names[op.place] = names[made[number]]
    return {place: renamed.get(name, name) for place, name in names.items()}
