"""Independent units of work on a Ray cluster, results in order; see `jobs.map_jobs`.

All nodes have roboloop installed and see the same folders: units write what they make themselves.
"""

import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from roboloop.errors import RoboloopError

Item = TypeVar("Item")
Result = TypeVar("Result")

LOCAL = "local"
"""In place of an address: a cluster on this machine, for as long as the work lasts."""
ANSWERS_WITHIN_S = 5.0
MAX_LOSSES = 3
"""Times that the process or node of a unit may die before it is an error."""
AHEAD = 2
"""Units handed out per core before their results are asked for."""


def map_on_cluster(
    fn: Callable[[Item], Result], items: Sequence[Item], address: str, workers: int
) -> Iterator[Result]:
    """Yield `fn(item)` for every item, in order; a unit whose node is lost runs again elsewhere.

    Args:
        fn: What to do; it must bear being run twice.
        items: Of what.
        address: `host:port` of the cluster's head, `auto` for the one that runs here, or `local`.
        workers: Processes of a `local` cluster.

    Raises:
        RoboloopError: Ray is not installed, the cluster does not answer, or units keep dying.
    """
    try:
        import ray
    except ImportError:
        raise RoboloopError("clusters need Ray", "pip install 'roboloop[ray]'") from None
    _connect(ray, address, workers)
    running: deque[Any] = deque()

    @ray.remote(num_cpus=1, max_retries=MAX_LOSSES)
    def unit(item: Item) -> Result:
        return fn(item)

    try:
        ahead = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
        for item in items:
            running.append(unit.remote(item))
            if len(running) >= ahead:
                yield _result(ray, running.popleft())
        while running:
            yield _result(ray, running.popleft())
    finally:
        for each in running:
            ray.cancel(each)
        ray.shutdown()


def _connect(ray: Any, address: str, workers: int) -> None:
    """Start a cluster or join one."""
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if address == LOCAL:
        try:
            ray.init(num_cpus=workers, include_dashboard=False, **options)
        except Exception as error:  # Ray raises nothing more exact
            raise RoboloopError(f"Ray did not start: {error}", "is this machine busy?") from error
        return
    hint = (
        "`ray start --head` there prints the address; a cluster with a token wants "
        f"RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH; `{LOCAL}` needs neither"
    )
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if address != "auto":
            socket.create_connection((host, int(port)), ANSWERS_WITHIN_S).close()
        ray.init(address=address, **options)
    except ValueError:
        raise RoboloopError(f"`{address}` is not an address such as 10.0.0.1:6379", hint) from None
    except (OSError, RuntimeError) as error:  # RuntimeError: something else listens there
        raise RoboloopError(f"no Ray cluster answers at {address}: {error}", hint) from None


def _result(ray: Any, future: Any) -> Any:
    """Wait for a unit; its error is what it raised there."""
    try:
        return ray.get(future)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise RoboloopError(
            f"a unit of work was lost {MAX_LOSSES + 1} times: {type(error).__name__}",
            "out of memory? nodes that come and go?",
        ) from error
