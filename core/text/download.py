"""Downloads one file over HTTPS: resumable, bounded, checked.

Bytes go to FILE.part, with the server's validator (ETag or date) in FILE.part.json. An interrupted
download continues if the server still has the same file, and starts again otherwise. The file gets
its name only when it is complete and its checksum is correct.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from core.errors import MachineError
from core.files import sha256_of

if TYPE_CHECKING:
    import requests

Progress = Callable[[int, int | None], None]  # bytes so far, all bytes if known
TIMEOUT = (10.0, 60.0)  # seconds to connect, seconds without a byte
# A download may take PATIENCE seconds plus the time of its largest size at SLOWEST bytes a second.
PATIENCE, SLOWEST = 600.0, 50_000.0
RETRIES = 3
NOTHING_LEFT = 416  # HTTP status: the file ends where the rest was asked for
BLOCK = 1 << 18
LOCAL = ("127.0.0.1", "localhost", "::1")


def download(
    address: str, file: Path, *, limit: int, sha256: str | None = None, progress: Progress
) -> str:
    """Download `address` to `file`, at most `limit` bytes; the SHA-256 of the file.

    MachineError for any failure of network, server or disk. The part that has arrived stays for the
    next attempt, unless its checksum is wrong.
    """
    import requests

    _insist_on_tls(address)
    part = file.with_name(file.name + ".part")
    longest = PATIENCE + limit / SLOWEST
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        _in_time(longest, lambda late: _transfer(late, address, part, limit, progress))
    except TimeoutError:
        done = part.stat().st_size if part.exists() else 0
        raise MachineError(
            f"{address}: {done:,} bytes after {longest:,.0f} s, too slow to wait for; run the "
            f"command again to go on"
        ) from None
    except requests.RequestException as error:
        raise MachineError(f"{address}: {_words(error)}; run the command again to go on") from None
    except OSError as error:
        raise MachineError(f"{file}: cannot be written ({error.strerror})") from None
    found = sha256_of([part])
    if sha256 is not None and found != sha256:
        part.unlink()
        raise MachineError(f"{address}: its SHA-256 is {found}, expected {sha256}; nothing is kept")
    part.replace(file)
    _validator_file(part).unlink(missing_ok=True)
    return found


def _in_time(seconds: float, act: Callable[[threading.Event], None]) -> None:
    """Run `act` in its own thread; TimeoutError if it takes longer, whatever it waits for: a
    server that sends a byte a minute never exceeds a read timeout. The event tells it to stop.
    """
    late, raised = threading.Event(), list[BaseException]()

    def work() -> None:
        try:
            act(late)
        except BaseException as error:  # noqa: BLE001 - raised again in the waiting thread
            raised.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        thread.join(seconds)
        if thread.is_alive():
            raise TimeoutError
    finally:
        late.set()
    if raised:
        raise raised[0]


def _transfer(
    late: threading.Event, address: str, part: Path, limit: int, progress: Progress
) -> None:
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if have and (validator := _validator_of(part)):
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    with (
        _session() as session,
        session.get(address, headers=headers, stream=True, timeout=TIMEOUT) as response,
    ):
        if response.status_code == NOTHING_LEFT:
            if response.headers.get("Content-Range") == f"bytes */{have}":
                return  # a kill came between the last byte and the check of the whole
            part.unlink()
            response.close()
            _transfer(late, address, part, limit, progress)
            return
        response.raise_for_status()
        _insist_on_tls(response.url)  # after redirects
        begins = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        going_on = response.status_code == 206 and begins
        done = have if going_on else 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length and length.isdecimal() else None
        _check_size(address, total or 0, limit)
        _keep_validator(part, response)
        with part.open("ab" if going_on else "wb") as out:
            for block in response.iter_content(BLOCK):
                if late.is_set():
                    return
                out.write(block)
                done += len(block)
                _check_size(address, done, limit)
                progress(done, total)
        if total is not None and done != total:
            raise MachineError(
                f"{address}: the connection ended after {done:,} of {total:,} bytes; "
                f"run the command again to go on"
            )


def _check_size(address: str, size: int, limit: int) -> None:
    if size > limit:
        raise MachineError(f"{address}: {size:,} bytes or more, above the limit of {limit:,}")


def _session() -> requests.Session:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    session = requests.Session()
    retry = Retry(RETRIES, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504))
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    session.headers["User-Agent"] = "textgan-lab"
    return session


def _insist_on_tls(address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme != "https" and parts.hostname not in LOCAL:
        raise MachineError(f"{address}: not https; text that anybody may alter is not fetched")


def _validator_file(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _keep_validator(part: Path, response: requests.Response) -> None:
    found = response.headers.get("ETag") or response.headers.get("Last-Modified")
    weak = found is None or found.startswith("W/")
    _validator_file(part).write_text(json.dumps(None if weak else found), encoding="utf-8")


def _validator_of(part: Path) -> str | None:
    try:
        found = json.loads(_validator_file(part).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, str) else None


def _words(error: Exception) -> str:
    from requests import ConnectionError, HTTPError, Timeout

    if isinstance(error, HTTPError) and error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, Timeout):
        return "no answer in time"
    if isinstance(error, ConnectionError):
        return "the server cannot be reached, or broke off"
    return f"{type(error).__name__}: {error}"[:200]
