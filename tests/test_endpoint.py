"""The endpoint: what is sent, what is kept, and servers that are down, slow, wrong or hostile."""

import base64
import json
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest

from chat_server import serve, text_answer
from roboloop.errors import RoboloopError
from roboloop.task.answers import Message, ask
from roboloop.task.endpoint import Endpoint

SECRET = "sk-very-secret"
ASKED = (Message("system", "be brief"), Message("user", "put the bowl on the plate"))
PNG = b"\x89PNG..."


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("no_proxy", "*")


def endpoint(url: str, **settings) -> Endpoint:
    return Endpoint(url, "some-model", **{"timeout_s": 5.0, "pause_s": 0.01, **settings})


def refused(answers, tmp_path, **settings) -> str:
    """The error about a server with these answers; nothing is kept, no secret told."""
    with serve(*answers) as server, pytest.raises(RoboloopError) as error:
        ask(endpoint(server.url, **settings), ASKED, PNG, tmp_path)
    assert not list(tmp_path.iterdir())
    assert SECRET not in str(error.value)
    assert server.url in str(error.value)
    return str(error.value)


def test_a_question_goes_out_with_picture_and_key(tmp_path):
    with serve(text_answer("hello")) as server:
        text, file = ask(endpoint(f"{server.url}/"), ASKED, PNG, tmp_path)
    assert text == "hello" and file.parent == tmp_path
    ((path, headers, body),) = server.requests
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {SECRET}"
    plain = json.loads(body)
    assert plain["model"] == "some-model"
    assert plain["messages"][0] == {"role": "system", "content": "be brief"}
    words, picture = plain["messages"][1]["content"]
    assert words["text"] == ASKED[1].text
    assert base64.b64decode(picture["image_url"]["url"].partition("base64,")[2]) == PNG


def test_answers_are_kept_by_what_was_asked(tmp_path):
    with serve(text_answer("one"), text_answer("two"), text_answer("three")) as server:
        at = endpoint(server.url)
        assert ask(at, ASKED, PNG, tmp_path)[0] == "one"
        assert ask(at, ASKED, PNG, tmp_path)[0] == "one"
        assert ask(at, ASKED, b"other picture", tmp_path)[0] == "two"
        assert ask(replace(at, model="other"), ASKED, PNG, tmp_path)[0] == "three"
    assert len(server.requests) == 3
    assert ask(at, ASKED, PNG, tmp_path)[0] == "one"  # the server is gone
    assert SECRET not in "".join(file.read_text() for file in tmp_path.iterdir())


def test_without_a_key_none_is_sent(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with serve(text_answer("hello")) as server:
        ask(endpoint(server.url), ASKED, PNG, tmp_path)
    assert "Authorization" not in server.requests[0][1]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_in_trouble_is_asked_again(status, tmp_path):
    with serve((status, b"busy"), (status, b"busy"), text_answer("hello")) as server:
        assert ask(endpoint(server.url), ASKED, PNG, tmp_path)[0] == "hello"
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([(500, b"out of order")] * 3, "refuses with HTTP 500: out of order, 3 times"),
        ([(401, f"no such key {SECRET}".encode())], "HTTP 401: no such key ***\nhint: is the key"),
        ([(404, b"no \x1b[2Jmodel")], "HTTP 404: no ?[2Jmodel"),
        ([(307, b"", {"Location": "http://elsewhere.invalid/"})], "redirects elsewhere (HTTP 307)"),
        ([(302, b"", {"Location": "http://elsewhere.invalid/"})], "redirects elsewhere (HTTP 302)"),
        ([(200, b"<html>welcome</html>")], "does not answer with JSON: <html>welcome</html>"),
        ([(200, b"\xff\xfe")], "does not answer with JSON"),
        ([(200, b"")], "does not answer with JSON: (nothing)"),
        ([(200, b"[" * 100_000)], "does not answer with JSON: [[["),
        ([(200, b'{"error": "no credit"}')], 'message.content: {"error": "no'),
        ([(200, b'{"choices": []}')], "no text at"),
        ([(200, b'{"choices": [{"message": "hello"}]}')], "no text at"),
        ([(200, b'{"choices": [{"message": {"content": null}}]}')], "no text at"),
        ([(200, b'{"choices": [{"message": {"content": NaN}}]}')], "no text at"),
        ([text_answer("half", finish_reason="length")], "is cut off at its limit"),
        ([(200, b"x" * 10_000_000)], "answers with more than 262,144 bytes"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_refused(answers, message, tmp_path):
    assert message in refused(answers, tmp_path)


def test_an_answer_that_tells_the_key_is_not_kept_as_it_is(tmp_path):
    with serve(text_answer(f"your key is {SECRET} \ud800")) as server:
        text, file = ask(endpoint(server.url), ASKED, PNG, tmp_path)
    assert text == "your key is *** ?"
    assert SECRET not in file.read_text()


@contextmanager
def trickle():
    """A server that sends a byte of its answer now and then."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run():
            client, _ = listener.accept()
            with client:
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                while not over.wait(0.02):
                    client.sendall(b" ")

        thread = threading.Thread(target=run)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        over.set()
        thread.join()


def test_a_slow_server_is_given_up(tmp_path):
    start = time.monotonic()
    with trickle() as url, pytest.raises(RoboloopError, match=r"not answer within 0.3 s"):
        ask(endpoint(url, timeout_s=0.3), ASKED, PNG, tmp_path)
    assert time.monotonic() - start < 3


def test_a_server_that_is_down_is_named(tmp_path):
    with serve() as server:
        url = server.url
    with pytest.raises(RoboloopError, match="cannot be reached: .*, 3 times") as error:
        ask(endpoint(url), ASKED, PNG, tmp_path)
    assert url in str(error.value)


@pytest.mark.parametrize(
    ("url", "settings", "message"),
    [
        ("file:///etc/passwd", {}, "no http or https address"),
        ("ftp://host/v1", {}, "no http or https address"),
        ("localhost:8000", {}, "no http or https address"),
        ("http://[::1", {}, "no http or https address"),
        ("http://host:99999/v1", {}, "no http or https address"),
        ("http://host/\nv1", {}, "no http or https address"),
        ("http://host/v1?key=x", {}, "no http or https address"),
        ("http://me:pass@host/v1", {}, "has a user name in it"),
        (f"http://{'a' * 70}.invalid/v1", {}, "cannot be reached"),
        ("http://host/v1", {"timeout_s": 0.0}, "timeout_s is 0"),
        ("http://host/v1", {"timeout_s": float("nan")}, "timeout_s is nan"),
        ("http://host/v1", {"max_bytes": 0}, "max_bytes is 0"),
        ("http://host/v1", {"retries": -1}, "retries is -1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(url, settings, message, tmp_path):
    with pytest.raises(RoboloopError, match=message):
        ask(endpoint(url, **settings), ASKED, PNG, tmp_path)


def test_a_key_that_no_header_can_carry_is_not_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", f"{SECRET}\nX: y")
    with pytest.raises(RoboloopError, match="characters that no key has") as error:
        ask(endpoint("http://127.0.0.1:1/v1"), ASKED, PNG, tmp_path)
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("content", ["{}", "[]", "{", '{"format": 1, "model": 3}'])
def test_kept_answers_are_read_strictly(content, tmp_path):
    with serve(text_answer("one")) as server:
        _, file = ask(endpoint(server.url), ASKED, PNG, tmp_path)
    file.write_text(content)
    with pytest.raises(RoboloopError, match="format|JSON|missing"):
        ask(endpoint(server.url), ASKED, PNG, tmp_path)
