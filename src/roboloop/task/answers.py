"""A language model's answers: checked field by field, and kept on disk by what was asked."""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from roboloop.errors import RoboloopError
from roboloop.record import from_plain
from roboloop.run import read_json, write_json
from roboloop.task.endpoint import CHUNK, Endpoint, post, quoted

FORMAT = 1


@dataclass(frozen=True)
class Message:
    """One message of a conversation."""

    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True)
class Answer:
    """What a model said, and to what: the content of `KEY.json`."""

    format: int
    model: str
    messages: tuple[Message, ...]
    image_sha256: str
    text: str


def ask(
    endpoint: Endpoint, messages: Sequence[Message], image: bytes, kept: Path
) -> tuple[str, Path]:
    """Get a model's answer: a kept one where the same has been asked before.

    Args:
        endpoint: Whom to ask.
        messages: The conversation so far.
        image: A PNG that goes with the user's first message.
        kept: Folder of answers; a folder of recorded ones needs no server.

    Returns:
        The answer, and the file that keeps it.

    Raises:
        RoboloopError: The endpoint gives no answer, or what it gives is none.
    """
    endpoint.check()
    sha256 = hashlib.sha256(image).hexdigest()
    told = [endpoint.model, *([m.role, m.text] for m in messages), sha256]
    file = kept / f"{hashlib.sha256(json.dumps(told).encode()).hexdigest()}.json"
    if file.exists():
        return _read(file).text, file
    text = _content(post(endpoint, _request(endpoint.model, messages, image)), endpoint)
    write_json(file, Answer(FORMAT, endpoint.model, tuple(messages), sha256, text))
    return text, file


def _read(file: Path) -> Answer:
    record = read_json(file)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise RoboloopError(f"not an answer of format {FORMAT}", path=file)
    return from_plain(Answer, record)


def _request(model: str, messages: Sequence[Message], image: bytes) -> bytes:
    plain: list[dict[str, Any]] = [{"role": m.role, "content": m.text} for m in messages]
    asked = next(m for m in plain if m["role"] == "user")
    url = f"data:image/png;base64,{base64.b64encode(image).decode()}"
    picture = {"type": "image_url", "image_url": {"url": url}}
    asked["content"] = [{"type": "text", "text": asked["content"]}, picture]
    return json.dumps({"model": model, "messages": plain}).encode()


def _content(body: bytes, endpoint: Endpoint) -> str:
    """The text in what an endpoint sends.

    Raises:
        RoboloopError: A field is missing or of another type, or the text was cut off.
    """
    key = endpoint.key
    said = quoted(body[:CHUNK].decode("utf-8", "replace"), key)
    try:
        found: Any = json.loads(body.decode())
    except (ValueError, RecursionError):
        problem = f"the endpoint does not answer with JSON: {said}"
        raise RoboloopError(problem, path=endpoint.url) from None
    choice = _field(found, ["choices", 0], dict)
    if isinstance(choice, dict) and choice.get("finish_reason") == "length":
        raise RoboloopError("the model's answer is cut off at its limit", path=endpoint.url)
    text = _field(choice, ["message", "content"], str)
    if not isinstance(text, str):
        raise RoboloopError(
            f"the endpoint's answer has no text at choices[0].message.content: {said}",
            "is it an OpenAI-compatible chat endpoint?",
            endpoint.url,
        )
    text = text.encode("utf-8", "replace").decode()  # half a surrogate pair is no text
    return text.replace(key, "***") if key else text


def _field(found: Any, names: list[str | int], kind: type) -> Any:
    """What lies at a path, or None where there is nothing of that kind."""
    for name in names:
        try:
            found = found[name]
        except (KeyError, IndexError, TypeError):
            return None
    return found if isinstance(found, kind) else None
