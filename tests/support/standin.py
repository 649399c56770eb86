"""A small HTTP server that stands where Google's APIs stand, for tests alone.

It is honest about what it is: it keeps what it is sent, reads every body of Vertex AI's into the real aiplatform_v1
types (a field that they lack is refused), and refuses what Google's documentation says is refused. It does not know
what the real service does beyond that: quotas, permissions by role, what a machine costs. A run is told as a script of
states, or is executed by kfp.local on the local stack.

One address for all: http://127.0.0.1:PORT/<service>/..., and /v1/... for clients that can name no service.
"""

import json
import re
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

type Json = dict[str, Any]


class Refused(Exception):  # noqa: N818, it is an answer
    """An error as Google's APIs tell it."""

    def __init__(self, code: int, status: str, message: str) -> None:
        super().__init__(message)
        self.body = {"error": {"code": code, "status": status, "message": message}}
        self.code = code


def invalid(message: str) -> Refused:
    return Refused(400, "INVALID_ARGUMENT", message)


@dataclass(frozen=True)
class Request:
    """A request, its path already split by the route's pattern."""

    method: str
    service: str
    path: str
    query: Mapping[str, list[str]]
    body: bytes
    headers: Mapping[str, str]
    parts: tuple[str, ...] = ()

    @property
    def json(self) -> Json:
        content: Json = json.loads(self.body or b"{}")
        return content

    def one(self, name: str) -> str:
        return self.query.get(name, [""])[0]


type Handler = Callable[[Request], Json | bytes]


@dataclass
class Fault:
    """What goes wrong with the next requests whose method and path match.

    Attributes:
        kind: an HTTP status to answer instead of doing anything; or `lost`: it is done, and no answer is sent.
        times: how often; then all is well again.
    """

    method: str
    path: str
    kind: int | str
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)


class StandIn:
    """The server and what it has been sent."""

    def __init__(self) -> None:
        self.routes: list[tuple[str, str, re.Pattern[str], Handler]] = []
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.tokens: set[str] = set()
        self.issued = 0
        self.lock = threading.RLock()
        self.route("POST", "sts", "v1/token", self._token)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator["StandIn"]:
        self._thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def route(self, method: str, service: str, pattern: str, handler: Handler) -> None:
        """Answer requests to a service whose path is `pattern`, a regular expression."""
        self.routes.append((method, service, re.compile(pattern), handler))

    def fail(self, method: str, path: str, kind: int | str, times: int = 1, **headers: str) -> None:
        """Let the next matching requests go wrong."""
        self.faults.append(Fault(method, path, kind, times, headers))

    def expire(self) -> None:
        """All tokens that were given are no longer good."""
        self.tokens.clear()

    def sent(self, method: str, path: str) -> list[Request]:
        """The requests so far whose method and path match."""
        return [r for r in self.requests if r.method == method and re.search(path, r.path)]

    def credentials(self, folder: Path) -> Path:
        """Credentials whose tokens come from here: google-auth reads them as it reads those of a CI's identity.

        Not a service account's key: of those google-auth asks Google itself which regions they may be used in.
        """
        (folder / "subject").write_text("somebody")
        content = {
            "type": "external_account",
            "audience": "//stand-in",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": f"{self.address}/sts/v1/token",
            "credential_source": {"file": str(folder / "subject")},
        }
        path = folder / "credentials.json"
        path.write_text(json.dumps(content))
        return path

    def _token(self, _: Request) -> Json:
        self.issued += 1
        token = f"token-{self.issued}"
        self.tokens.add(token)
        kind = "urn:ietf:params:oauth:token-type:access_token"
        return {"access_token": token, "issued_token_type": kind, "expires_in": 3600, "token_type": "Bearer"}

    def answer(self, request: Request) -> tuple[int, bytes] | None:
        """Status and content; None where the answer is lost."""
        with self.lock:
            self.requests.append(request)
            fault = next(
                (f for f in self.faults if f.times and f.method == request.method and re.search(f.path, request.path)),
                None,
            )
            if fault:
                fault.times -= 1
                if isinstance(fault.kind, int):
                    return fault.kind, json.dumps(
                        {"error": {"code": fault.kind, "message": "as the test asked"}}
                    ).encode()
            try:
                found = self._do(request)
            except Refused as refused:
                return refused.code, json.dumps(refused.body).encode()
        if fault:
            return None
        return 200, found if isinstance(found, bytes) else json.dumps(found).encode()

    def _do(self, request: Request) -> Json | bytes:
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if request.service != "sts" and bearer not in self.tokens:
            raise Refused(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        for method, service, pattern, handler in self.routes:
            fits = method == request.method and re.fullmatch(service, request.service)
            if fits and (found := pattern.fullmatch(request.path)):
                parts = tuple(urllib.parse.unquote(part) for part in found.groups() if part is not None)
                return handler(Request(**{**request.__dict__, "parts": parts}))
        raise Refused(404, "NOT_FOUND", f"no such method here: {request.method} {request.service} {request.path}")

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        standin = self

        class Answering(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                split = urllib.parse.urlsplit(self.path)
                service, _, path = split.path.lstrip("/").partition("/")
                if service in {"v1", "v1beta1"}:  # the SDK, which was given this address as Vertex AI's
                    service, path = "europe-west1-aiplatform", f"{service}/{path}"
                request = Request(
                    self.command,
                    service,
                    path,
                    urllib.parse.parse_qs(split.query),
                    self.rfile.read(int(self.headers.get("Content-Length", 0))),
                    {k.lower(): v for k, v in self.headers.items()},
                )
                answer = standin.answer(request)
                if answer is None:
                    self.close_connection = True
                    return
                status, content = answer
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _any  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        return Answering


def form(request: Request) -> dict[str, bytes]:
    """The fields of a multipart form."""
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser().parsebytes(head + request.body)
    found = {}
    for part in message.walk():
        if name := part.get_param("name", header="content-disposition"):
            found[str(name)] = bytes(part.get_payload(decode=True))
    return found


def forward(standin: StandIn, service: str, address: str) -> None:
    """Hand requests to a service on to the local stack's server that stands for it."""

    def hand_on(request: Request) -> bytes:
        query = urllib.parse.urlencode(request.query, doseq=True)
        url = f"{address}/{request.path}?{query}"
        content = request.body if request.method in {"POST", "PUT", "PATCH"} else None
        asked = urllib.request.Request(url, data=content, method=request.method)  # noqa: S310, its address is ours
        if kind := request.headers.get("content-type"):
            asked.add_header("Content-Type", kind)
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310
                found: bytes = answer.read()
                return found
        except urllib.error.HTTPError as error:
            raise Refused(error.code, "", error.read().decode(errors="replace")) from None

    for method in ("GET", "POST", "PUT", "DELETE"):
        standin.route(method, service, ".*", hand_on)
