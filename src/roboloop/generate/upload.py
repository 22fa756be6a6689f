"""A copy of a run at a URL, made while it goes on: whatever fsspec can write to.

What is final is copied once: the shards of every chunk and then its result, so that a run whose
machine is lost goes on elsewhere from the copy, and at the end the dataset. A file is there when it
has its size. Nothing is deleted, and nothing is read back but names, sizes and the manifest.
"""

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self

from roboloop import console
from roboloop.data.layout import INFO, SHARD, SHARDS
from roboloop.errors import RoboloopError
from roboloop.run import MANIFEST, TEMPORARY, check_same

SUMS = "SHA256SUMS"
"""At the target, last of all: `sha256sum -c` checks a copy of the dataset against it."""
N_THREADS = 4
_NOT_UPLOADED = frozenset({"chunks", SHARDS, "cache"})
"""Folders that are no part of a finished dataset."""


class Upload:
    """Copies a run's files to a URL; a context manager, and one that does nothing without a URL.

    Args:
        folder: The run's.
        url: Where to, as `s3://bucket/data/7`; a path of this machine will do.
        manifest: The run's, as in its `manifest.json`.

    Raises:
        RoboloopError: The target cannot be reached, or holds something else than this run.
    """

    def __init__(self, folder: Path, url: str | None, manifest: dict[str, Any]) -> None:
        self.url, self._folder = url, folder
        self._fs: Any = None
        self._n_seen, self._problem = 0, ""
        self._pool = ThreadPoolExecutor(N_THREADS)
        if url is not None:
            self._fs, self._root = _connect(url, folder)
            self._there = self._listed()
            self._check(manifest)
            self._now([MANIFEST])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.pause()

    def see(self, reasons: Sequence[str]) -> None:
        """Copy the last chunk, in a thread.

        Args:
            reasons: Why attempts failed, from the first one to the last of the chunk.
        """
        first, self._n_seen = self._n_seen, len(reasons)
        if self._fs is None:
            return
        good = [i for i in range(first, len(reasons)) if not reasons[i]]
        names = [SHARD.format(index=i) for i in good] + [f"chunks/{first:06d}.json"]
        if all((self._folder / name).exists() for name in names):  # else it was finished before
            self._pool.submit(self._try, names)

    def pause(self) -> None:
        """Let copies end that have begun, and drop those that have not."""
        self._pool.shutdown(cancel_futures=True)
        self._pool = ThreadPoolExecutor(N_THREADS)

    def finish(self) -> None:
        """Copy what the target lacks of the finished dataset, and say what is there.

        Raises:
            RoboloopError: The target fails; what is there stays, and the same command goes on.
        """
        if self._fs is None:
            return
        self.pause()
        self._there = self._listed()
        files = [path for path in sorted(self._folder.rglob("*")) if path.is_file()]
        names = [path.relative_to(self._folder) for path in files if TEMPORARY not in path.name]
        whole = [n.as_posix() for n in names if n.parts[0] not in _NOT_UPLOADED]
        last = [name for name in (INFO, MANIFEST) if name in whole]  # what makes it a dataset
        first = [name for name in whole if name not in last]
        with console.Progress("upload", len(whole), "files") as progress:
            sums = []
            for done, line in enumerate(self._pool.map(self._copied, first), 1):
                sums.append(line)
                progress.update(done)
            self._there.pop(MANIFEST, None)  # the one from the start has another content
            sums += [self._copied(name) for name in last]
            progress.update(len(whole))
        # results whose copies were dropped; after the dataset, for their shards are not there
        self._now([name.as_posix() for name in names if name.parts[0] == "chunks"])
        self._guard(self._fs.pipe_file, f"{self._root}/{SUMS}", "".join(sums).encode())
        size = sum((self._folder / name).stat().st_size for name in whole)
        console.summary(uploaded=f"{self.url}   {len(whole)} files, {size / 1e6:.1f} MB")

    def _try(self, names: Sequence[str]) -> None:
        """Copy files while the run goes on; that the target fails is said once, and no end."""
        try:
            self._now(names)
        except RoboloopError as error:
            if not self._problem:
                self._problem = error.problem
                console.warn(f"{error.problem}; goes on, and is tried again at the end")

    def _now(self, names: Sequence[str]) -> None:
        for name in names:
            self._copied(name)

    def _copied(self, name: str) -> str:
        """Copy a file unless it is there; its line of `SHA256SUMS`."""
        path, there = self._folder / name, f"{self._root}/{name}"
        size = path.stat().st_size
        if self._there.get(name) != size:
            self._guard(self._put, path, there)
            found = self._guard(self._fs.info, there)["size"]
            if found != size:
                problem = f"{there} has {found} bytes after the copy, wanted {size}"
                raise RoboloopError(problem, "run the same command again", self.url)
            self._there[name] = size
        with path.open("rb") as stream:
            return f"{hashlib.file_digest(stream, 'sha256').hexdigest()}  {name}\n"

    def _put(self, path: Path, there: str) -> None:
        parent = str(PurePosixPath(there).parent)
        self._fs.makedirs(parent, exist_ok=True)
        self._fs.put_file(str(path), there)

    def _listed(self) -> dict[str, int]:
        """The files at the target, with their sizes."""
        self._fs.invalidate_cache()
        found = self._guard(self._fs.find, self._root, detail=True)
        return {name.removeprefix(f"{self._root}/"): info["size"] for name, info in found.items()}

    def _check(self, manifest: dict[str, Any]) -> None:
        """Refuse a target with something else in it than this run."""
        if not self._there:
            return
        hint = "give another --upload"
        if MANIFEST not in self._there:
            raise RoboloopError("the upload's target holds files that no run made", hint, self.url)
        content = self._guard(self._fs.cat_file, f"{self._root}/{MANIFEST}")
        try:
            check_same(json.loads(content), manifest, self._folder)
        except (ValueError, RoboloopError) as error:
            said = error.problem if isinstance(error, RoboloopError) else str(error)
            problem = f"the upload's target holds another run: {said}"
            raise RoboloopError(problem, hint, self.url) from None

    def _guard(self, function: Any, *args: Any, **options: Any) -> Any:
        """Ask the target; whatever goes wrong there is its problem, not ours."""
        try:
            return function(*args, **options)
        except Exception as error:  # every file system raises its own
            problem = f"the upload's target fails: {type(error).__name__}: {error}"
            hint = "nothing is lost: the same command goes on from what is there"
            raise RoboloopError(problem, hint, self.url) from error


def _connect(url: str, folder: Path) -> tuple[Any, str]:
    """Open a URL's file system; the file system, and the path in it."""
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise RoboloopError("uploads need fsspec", "pip install 'roboloop[fsspec]'") from None
    try:
        fs, root = url_to_fs(url)
    except ImportError as error:  # says what to install
        raise RoboloopError(f"{url.partition(':')[0]} needs a package: {error}") from None
    except Exception as error:  # every file system raises its own
        hint = "such as s3://bucket/folder, gs://bucket/folder or a path"
        raise RoboloopError(f"`{url}` cannot be opened: {error}", hint) from error
    root = root.rstrip("/")
    if root == folder.resolve().as_posix() and "file" in fs.protocol:
        raise RoboloopError("--upload is the same folder as --out", "give another one", folder)
    return fs, root
