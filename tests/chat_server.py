"""A chat endpoint in a thread, which gives the answers that it is told to give, in turn."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, bytes] | tuple[int, bytes, dict[str, str]]


class ChatServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, answers: tuple[Reply, ...]) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[str, Any, bytes]] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, ChatServer)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.requests.append((self.path, self.headers, body))
        status, content, *headers = server.answers.pop(0) if server.answers else (599, b"no more")
        self.send_response(status)
        for name, value in (headers[0] if headers else {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with suppress(ConnectionError):  # who hangs up on a long answer may
            self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def serve(*answers: Reply) -> Iterator[ChatServer]:
    """Run a server that gives these answers."""
    with ChatServer(answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def text_answer(text: str, **choice: object) -> Reply:
    """The answer of a model that says `text`."""
    plain = {"choices": [{"message": {"role": "assistant", "content": text}, **choice}]}
    return 200, json.dumps(plain).encode()
