"""A sentence -> a program by a language model -> a trial; one repair where it does not do."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from roboloop import console
from roboloop.demo.trial import Trial
from roboloop.errors import RoboloopError
from roboloop.run import write_bytes_atomic
from roboloop.scene.graph import SceneGraph
from roboloop.scene.preview import annotated
from roboloop.station import Station
from roboloop.task.answers import ask
from roboloop.task.endpoint import Endpoint
from roboloop.task.program import program_task
from roboloop.task.prompt import conversation, program_in, repair
from roboloop.task.spec import Task

WIDTH = 960
"""Of the picture that goes with the request, and of the plan's, pixels."""


def ask_and_try(
    graph: SceneGraph,
    sentence: str,
    station: Station,
    endpoint: Endpoint,
    answers: Path,
    out: Path,
    attempt: Callable[[Task], Trial],
) -> Trial:
    """Let a model write the program of a sentence, and try it in simulation.

    A program that is refused or fails goes back once, with the reason.

    Args:
        graph: The scene.
        sentence: What is to be done.
        station: Who does it: one arm.
        endpoint: Where the model is.
        answers: Folder of answers, kept or recorded.
        out: Gets the program that is tried last, `program.txt`.
        attempt: Tries a task in the scene.

    Returns:
        The trial of the model's last program, successful or not.

    Raises:
        RoboloopError: The endpoint gives no answer, or the last program is none; nothing is moved
            then.
    """
    picture = BytesIO()
    annotated(graph, WIDTH).save(picture, format="png")
    messages = conversation(graph, sentence, station.robot)
    for last in (False, True):
        answer, file = ask(endpoint, messages, picture.getvalue(), answers)
        try:
            program = program_in(answer)
            task = program_task(graph, sentence, program, station)
        except RoboloopError as error:
            if last:
                problem = f"no program to carry out: {error.problem}"
                raise RoboloopError(problem, "nothing was moved", file) from None
            problem = f"The program is refused: {error.problem} ({error.hint or 'no hint'})."
        else:
            write_bytes_atomic(out / "program.txt", f"{program}\n".encode())
            trial = attempt(task)
            if last or not trial.reason:
                return trial
            problem = f"In simulation the program fails: {trial.reason}."
        console.say(f"repair    {problem}")
        messages += repair(answer, problem)
    raise AssertionError
