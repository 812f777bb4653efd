"""What a table was made by: a data set or a task, checked against what the table says."""

from typing import Any

from jaxmlp.data import Dataset
from jaxmlp.sweeps.networks import NetworkTraining
from jaxmlp.sweeps.reading import check_data, trials_at, view
from jaxmlp.sweeps.run import Training
from jaxmlp.sweeps.space import Space
from jaxmlp.sweeps.states import leaves_of
from jaxmlp.sweeps.task_training import TaskTraining
from jaxmlp.sweeps.tasks import Task, TaskSchema, hyper_of, task_of


def training_of(table: Any, space: Space, trained: Any, hyper: Any = None) -> Training:
    """How the trials of a table were trained.

    Args:
        table: of `sweep`.
        space: of the table.
        trained: the data set, the task, or the function of (key, hyper).
        hyper: of a task that takes its fields as a record: that which was swept.

    Raises:
        ValueError: if the table is of another one.
    """
    if isinstance(space.schema, TaskSchema):
        return task_training_of(table, space, trained, hyper)
    if not isinstance(trained, Dataset):
        raise ValueError(
            f"the table is of networks, not of a {type(trained).__name__}: give the jaxmlp.Dataset "
            "that was swept"
        )
    check_data(table, trained)
    return NetworkTraining(trained)


def task_training_of(table: Any, space: Space, task: Any, hyper: Any) -> TaskTraining:
    """The same of a table of a task."""
    if not isinstance(task, Task) and not callable(task):
        raise ValueError(
            f"the table is of a task, not of a {type(task).__name__}: give the task that was swept"
        )
    record = isinstance(space.schema, TaskSchema) and space.schema.record
    if record and hyper is None:
        raise ValueError("the task takes its fields as a record: give hyper=, as it was swept")
    like = hyper_of(hyper).like
    trials = [each._replace(hyper=each.hyper._replace(like=like)) for each in space.trials]
    training = TaskTraining(task if isinstance(task, Task) else task_of(task), trials)
    if training.fingerprint() != table.attrs.get("data"):
        raise ValueError(
            "the table is of another task, or of other data: give the one that was swept, and the "
            "arrays that it had"
        )
    return training


def state_at(table: Any, point: Any, task: Any, *, hyper: Any = None) -> Any:
    """The state of a trial of a task after its last epoch, as the task made it.

    Args:
        table: of `sweep`.
        point: a coordinate for every dimension but the epoch.
        task: that was swept.
        hyper: the record of fields that was swept with it, if there was one.

    Raises:
        ValueError: if the point is none of the table's, it does not hold the state, or the table is
            of another task.
    """
    space, whole, places, table = view(table)
    if not isinstance(whole.schema, TaskSchema):
        raise ValueError("the table is of networks, not of a task: use params_at")
    (trial,) = trials_at(space, point, [axis.name for axis in space.axes])
    training = task_training_of(table, whole, task, hyper)
    return training.state(space.trials[trial], leaves_of(table, int(places[trial])))
