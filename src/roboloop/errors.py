"""The one exception that users see."""

import difflib
from collections.abc import Iterable


class RoboloopError(Exception):
    """A problem with the input, said so that the user can mend it.

    The command line prints it to stderr without a traceback and exits with 2.

    Args:
        problem: What is wrong, with names and values.
        hint: What would work, or None.
        path: The file or folder it is about, printed last, or None.
    """

    def __init__(self, problem: str, hint: str | None = None, path: object = None) -> None:
        self.problem, self.hint, self.path = problem, hint, path
        lines = [problem]
        if hint:
            lines.append(f"hint: {hint}")
        if path is not None:
            lines.append(str(path))
        super().__init__("\n".join(lines))


def unknown_name(kind: str, name: str, known: Iterable[str]) -> RoboloopError:
    """Build the error for a name that a registry does not have, with the closest match."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean `{close[0]}`?" if close else f"known: {', '.join(known)}"
    return RoboloopError(f"unknown {kind} `{name}`", hint)
