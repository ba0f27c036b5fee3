"""Object storage as S3 speaks it, as far as a Delta table needs it: one bucket in memory, over real HTTP.

Puts may say `if-none-match: *`; larger ones come in parts. Signatures are not looked at, only that there is one. A
process of its own: delta-rs holds the interpreter's lock while it waits for an answer.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from urllib.request import urlopen
from xml.sax.saxutils import escape

import msgspec

BUCKET = "records"
TOLD = "/_told"
WHEN = "Mon, 24 Nov 2025 16:00:00 GMT"


class Objects:
    """What is in the bucket. `unsigned`: requests of it without a signature."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.found: dict[str, bytes] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.unsigned = 0

    def names(self, prefix: str) -> list[str]:
        with self.lock:
            return sorted(name for name in self.found if name.startswith(prefix))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    objects: Objects

    def _asked(self) -> tuple[str, dict[str, str], bytes]:
        """(name, query, body)"""
        parts = urlsplit(self.path)
        name = unquote(parts.path).removeprefix(f"/{BUCKET}").lstrip("/")
        query = {key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        self.objects.unsigned += not self.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256")
        return name, query, self.rfile.read(int(self.headers.get("content-length") or 0))

    def _say(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for key, value in {"content-length": str(len(body)), **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_PUT(self) -> None:
        name, query, body = self._asked()
        with self.objects.lock:
            if "uploadId" in query:
                self.objects.parts[query["uploadId"]][int(query["partNumber"])] = body
            elif self.headers.get("if-none-match") == "*" and name in self.objects.found:
                return self._say(412, b"<Error><Code>PreconditionFailed</Code></Error>")
            else:
                self.objects.found[name] = body
        return self._say(200, etag=_etag(body))

    def do_POST(self) -> None:
        name, query, body = self._asked()
        with self.objects.lock:
            if "delete" in query:
                gone = [unquote(one) for one in re.findall(r"<Key>(.*?)</Key>", body.decode())]
                for one in gone:
                    self.objects.found.pop(one, None)
                told = "".join(f"<Deleted><Key>{escape(one)}</Key></Deleted>" for one in gone)
                return self._say(200, f"<DeleteResult>{told}</DeleteResult>".encode())
            if "uploads" in query:
                number = str(len(self.objects.parts))
                self.objects.parts[number] = {}
                told = f"<InitiateMultipartUploadResult><UploadId>{number}</UploadId></InitiateMultipartUploadResult>"
                return self._say(200, told.encode())
            if self.headers.get("if-none-match") == "*" and name in self.objects.found:
                return self._say(412, b"<Error><Code>PreconditionFailed</Code></Error>")
            parts = self.objects.parts.pop(query["uploadId"])
            whole = self.objects.found[name] = b"".join(parts[one] for one in sorted(parts))
        told = f"<CompleteMultipartUploadResult><ETag>{_etag(whole)}</ETag></CompleteMultipartUploadResult>"
        return self._say(200, told.encode())

    def do_GET(self) -> None:
        if self.path == TOLD:
            told = {"names": self.objects.names(""), "unsigned": self.objects.unsigned}
            return self._say(200, msgspec.json.encode(told))
        name, query, _ = self._asked()
        if not name:
            return self._say(200, self._listed(query).encode(), content_type="application/xml")
        with self.objects.lock:
            body = self.objects.found.get(name)
        if body is None:
            return self._say(404, b"<Error><Code>NoSuchKey</Code></Error>")
        about = {"etag": _etag(body), "last_modified": WHEN, "accept_ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("range", ""))
        if asked is None:
            return self._say(200, body, **about)
        first = int(asked[1]) if asked[1] else len(body) - int(asked[2])
        last = min(int(asked[2]), len(body) - 1) if asked[1] and asked[2] else len(body) - 1
        return self._say(206, body[first : last + 1], content_range=f"bytes {first}-{last}/{len(body)}", **about)

    do_HEAD = do_GET

    def do_DELETE(self) -> None:
        name, query, _ = self._asked()
        with self.objects.lock:
            if "uploadId" in query:
                self.objects.parts.pop(query["uploadId"], None)
            else:
                self.objects.found.pop(name, None)
        self._say(204)

    def _listed(self, query: dict[str, str]) -> str:
        prefix, delimiter, after = query.get("prefix", ""), query.get("delimiter"), query.get("start-after", "")
        told, folders = [], dict[str, None]()
        for name in self.objects.names(prefix):
            rest = name.removeprefix(prefix)
            if delimiter and delimiter in rest:
                folders[prefix + rest.partition(delimiter)[0] + delimiter] = None
            elif name > after:
                size, etag = len(self.objects.found[name]), _etag(self.objects.found[name])
                told.append(
                    f"<Contents><Key>{escape(name)}</Key><LastModified>2025-11-24T16:00:00.000Z</LastModified>"
                    f"<ETag>{etag}</ETag><Size>{size}</Size></Contents>"
                )
        shared = "".join(f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in folders)
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{''.join(told)}{shared}</ListBucketResult>"

    def log_message(self, format: str, *args: object) -> None:
        pass


def _etag(body: bytes) -> str:
    return f'"{md5(body, usedforsecurity=False).hexdigest()}"'


class Bucket(NamedTuple):
    """One that is served."""

    url: str

    def told(self) -> Any:
        """`names` of what it holds, and how many requests were `unsigned`."""
        with urlopen(f"{self.url}{TOLD}", timeout=10) as answer:
            return msgspec.json.decode(answer.read())


@contextmanager
def bucket() -> Iterator[Bucket]:
    """An empty one, while the block runs."""
    process = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Bucket(f"http://127.0.0.1:{int(process.stdout.readline())}")
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def main() -> None:
    handler = type("Handler", (_Handler,), {"objects": Objects()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
