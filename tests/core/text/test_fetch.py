"""Fetching over HTTP from a server on this machine: resumed, checked, bounded, safely unpacked."""

from __future__ import annotations

import hashlib
import io
import json
import socket
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from core.errors import MachineError
from core.text.download import download
from core.text.recipes import RECIPES, Recipe, fetch, joined, linked_texts, tar_members, zip_member
from core.text.settings import CorpusSettings

BODY = b"".join(b"sentence %d of the corpus\n" % i for i in range(40_000))
SHA256 = hashlib.sha256(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `files` with ranges; breaks off after `break_after` bytes, once."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {"/text": BODY}
        self.etag = '"one"'
        self.break_after: int | None = None
        self.ranges: list[str | None] = []
        self.redirect, self.stop = "", threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        if self.path.startswith("/slow"):
            self.trickle(header=self.path == "/slow-header")
            return
        if self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", server.redirect)
            self.end_headers()
            return
        body = server.files.get(self.path)
        if body is None:
            self.send_error(404)
            return
        asked = self.headers.get("Range")
        server.ranges.append(asked)
        start = 0
        if asked and self.headers.get("If-Range") == server.etag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        if start and start >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.send_header("ETag", server.etag)
        self.end_headers()
        stop, server.break_after = server.break_after or len(body), None
        self.wfile.write(body[start:stop])

    def trickle(self, *, header: bool) -> None:
        self.send_response(200)
        if not header:
            self.send_header("Content-Length", "1000")
            self.end_headers()
        self.flush_headers()
        while not self.server.stop.wait(0.05):
            self.wfile.write(b"x")

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def quiet(done: int, total: int | None) -> None: ...


def test_a_broken_download_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "f"
    server.break_after = 300_000
    with pytest.raises(MachineError, match="again to go on"):
        download(f"{server.address}/text", file, limit=10**7, progress=quiet)
    assert not file.exists()
    have = (tmp_path / "f.part").stat().st_size
    assert 0 < have <= 300_000
    seen: list[int] = []
    sha256 = download(
        f"{server.address}/text", file, limit=10**7, sha256=SHA256,
        progress=lambda done, total: seen.append(done),
    )  # fmt: skip
    assert sha256 == SHA256
    assert file.read_bytes() == BODY
    assert server.ranges == [None, f"bytes={have}-"]
    assert seen[0] > have
    assert seen[-1] == len(BODY)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f"]


@pytest.mark.parametrize("more", [b"", b"what the file does not have"])
def test_a_part_that_is_whole_or_longer_does_not_block_the_next_attempt(
    server: Server, tmp_path: Path, more: bytes
) -> None:
    file, part = tmp_path / "f", tmp_path / "f.part"
    server.break_after = 300_000
    with pytest.raises(MachineError, match="again to go on"):
        download(f"{server.address}/text", file, limit=10**7, progress=quiet)
    part.write_bytes(BODY + more)  # a kill while the whole was checked
    download(f"{server.address}/text", file, limit=10**7, sha256=SHA256, progress=quiet)
    assert file.read_bytes() == BODY


def test_a_file_that_changed_meanwhile_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    server.break_after = 300_000
    with pytest.raises(MachineError):
        download(f"{server.address}/text", tmp_path / "f", limit=10**7, progress=quiet)
    server.files["/text"], server.etag = BODY[::-1], '"two"'
    download(f"{server.address}/text", tmp_path / "f", limit=10**7, progress=quiet)
    assert (tmp_path / "f").read_bytes() == BODY[::-1]


@pytest.mark.parametrize(
    ("path", "limit", "sha256", "words"),
    [
        ("/text", 10**7, "0" * 64, "SHA-256"),
        ("/text", 1000, None, "limit of 1,000"),
        ("/absent", 1000, None, "404"),
    ],
)
def test_what_goes_wrong_is_said_and_nothing_is_left(
    server: Server, tmp_path: Path, path: str, limit: int, sha256: str | None, words: str
) -> None:
    with pytest.raises(MachineError, match=words):
        download(server.address + path, tmp_path / "f", limit=limit, sha256=sha256, progress=quiet)
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize("path", ["/slow-header", "/slow-body"])
def test_a_server_that_is_never_silent_and_never_done_is_not_waited_for(
    path: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.text.download.PATIENCE", 0.5)
    with pytest.raises(MachineError, match="too slow to wait for"):
        download(server.address + path, tmp_path / "f", limit=1000, progress=quiet)
    server.stop.set()
    assert not (tmp_path / "f").exists()


def test_nobody_is_sent_on_to_where_anybody_may_alter_it(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *rest: look_up("127.0.0.1", *rest))
    server.redirect = server.address.replace("127.0.0.1", "elsewhere.example") + "/text"
    with pytest.raises(MachineError, match="not https"):
        download(f"{server.address}/elsewhere", tmp_path / "f", limit=10**7, progress=quiet)
    assert not list(tmp_path.iterdir())


def test_no_server_and_no_tls(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="cannot be reached"):
        download("http://127.0.0.1:9/x", tmp_path / "f", limit=1, progress=quiet)
    with pytest.raises(MachineError, match="not https"):
        download("http://example.org/x", tmp_path / "f", limit=1, progress=quiet)


def recipe(server: Server, **changes: object) -> Recipe:
    values: dict[str, object] = {
        "summary": "a text", "licence": "none", "addresses": (f"{server.address}/text",),
        "result": "text.txt", "make": joined, "limit": 10**7, "reader": "lines",
    }  # fmt: skip
    return Recipe(**{**values, **changes})  # type: ignore[arg-type]


def test_a_first_fetch_records_its_checksum_and_a_second_must_match(
    server: Server, tmp_path: Path
) -> None:
    made = fetch("text", recipe(server), tmp_path / "c", quiet)
    assert (made.source.read_bytes(), made.checked) == (BODY, False)
    origin = json.loads((tmp_path / "c" / "origin.json").read_text())
    assert origin["sha256"] == {f"{server.address}/text": SHA256}
    assert fetch("text", recipe(server), tmp_path / "c", quiet).checked
    assert len(server.ranges) == 1
    made.source.unlink()
    server.files["/text"] = BODY[::-1]
    with pytest.raises(MachineError, match="SHA-256"):
        fetch("text", recipe(server), tmp_path / "c", quiet)


def test_parts_are_joined_line_by_line(server: Server, tmp_path: Path) -> None:
    server.files |= {"/a": b"one\ntwo", "/b": b"three\n", "/c": b""}
    addresses = tuple(f"{server.address}/{name}" for name in "abc")
    made = fetch("text", recipe(server, addresses=addresses), tmp_path / "c", quiet)
    assert made.source.read_text() == "one\ntwo\nthree\n"


def tar_of(*members: tuple[str, bytes | None]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            info.size = len(content or b"")
            archive.addfile(info, io.BytesIO(content or b""))
    return stream.getvalue()


def test_an_archive_gives_the_files_asked_for_and_nothing_outside(
    server: Server, tmp_path: Path
) -> None:
    server.files["/tar"] = tar_of(
        ("x/wanted/one", b"a\n"), ("../wanted/two", b"b\n"), ("x/wanted/link", None),
        ("x/other/three", b"c\n"),
    )  # fmt: skip
    archive = recipe(
        server, addresses=(f"{server.address}/tar",), make=tar_members("wanted"), result="shards"
    )
    made = fetch("tar", archive, tmp_path / "c", quiet)
    assert sorted(p.name for p in made.source.iterdir()) == ["one", "two"]
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == [
        "one", "origin.json", "two",
    ]  # fmt: skip


def test_a_broken_archive_leaves_no_source(server: Server, tmp_path: Path) -> None:
    broken = recipe(server, make=tar_members("wanted"), result="shards")
    with pytest.raises(MachineError, match="cannot be unpacked"):
        fetch("tar", broken, tmp_path / "c", quiet)
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["downloads"]


def test_a_zip_member_and_the_links_of_pages(server: Server, tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("deep/t.csv", "Text\nhello\n")
    page = (
        b"<tr><td><a href='/cookie/1'>A  wise&amp;old <b>road</b>.</a></td></tr><a href='/x'>no</a>"
    )
    server.files |= {"/zip": stream.getvalue(), "/page": page}
    csv = recipe(
        server, addresses=(f"{server.address}/zip",), make=zip_member("t.csv"), result="t.csv"
    )
    assert fetch("z", csv, tmp_path / "z", quiet).source.read_text() == "Text\nhello\n"
    pages = recipe(server, addresses=(f"{server.address}/page",) * 2, make=linked_texts("/cookie/"))
    assert fetch("p", pages, tmp_path / "p", quiet).source.read_text() == "A wise&old road.\n"


def test_every_recipe_is_over_tls_and_its_reader_exists() -> None:
    for recipe in RECIPES.values():
        assert all(address.startswith("https://") for address in recipe.addresses)
        assert CorpusSettings(reader=recipe.reader).reader == recipe.reader
        assert len(recipe.sha256 or "0" * 64) == 64
