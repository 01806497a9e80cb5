#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Requests that a web server must refuse, of local test 48.

usage: bad_http.py ADDRESS PORT TOKEN          sends each, prints its answer, fails if one is not what it must be
       bad_http.py ADDRESS PORT TOKEN slow N   N connections that send a byte now and then, until the server has ended
                                               all of them: prints "begun" and "ended N"
"""
import select
import socket
import sys

ADDRESS, PORT, TOKEN = sys.argv[1], int(sys.argv[2]), sys.argv[3]
HOST = f"Host: {ADDRESS}:{PORT}\r\n"
BEARER = f"Authorization: Bearer {TOKEN}\r\n"
ANSWER_S = 60  # a limit for a test that hangs, not what is expected
CLOSED = 0


def get(path, headers=HOST + BEARER, version=" HTTP/1.1", method="GET"):
    return f"{method} {path}{version}\r\n{headers}\r\n".encode()


def act(headers, body='{"op":"unprotect","vm":"vm1","typed":"vm1"}'):
    return f"POST /api/act HTTP/1.1\r\n{headers}Content-Length: {len(body)}\r\n\r\n{body}".encode()


JSON = "Content-Type: application/json\r\n"
REFUSED = {CLOSED, 400, 401, 403, 404, 405, 413, 417, 431, 501, 505}
# name, what is sent, the answers that are right
CASES = [
    ("served", get("/metrics"), {200}),
    ("served: HEAD", get("/metrics", method="HEAD"), {200}),
    ("without the token", get("/metrics", HOST), {401}),
    ("a stream without the token", get("/api/stream", HOST), {401}),
    ("state without the token", get("/api/snapshot", HOST), {401}),
    ("history without the token", get("/api/history/x", HOST), {401}),
    ("a script without the token", get("/ui/app.js", HOST), {401}),
    ("a page without the token", get("/", HOST), {303}),
    ("a wrong token", get("/metrics", HOST + "Authorization: Bearer " + TOKEN[:-1] + "\r\n"), {401}),
    ("a token in the address", get(f"/metrics?token={TOKEN}", HOST), {401}),
    ("a wrong cookie", get("/metrics", HOST + f"Cookie: twinvm={TOKEN}\r\n"), {401}),
    ("another Host", get("/metrics", "Host: evil.example\r\n" + BEARER), {403}),
    ("another Host, behind ours", get("/metrics", f"Host: {ADDRESS}.evil.example\r\n" + BEARER), {403}),
    ("no Host", get("/metrics", BEARER), {400, 403}),
    ("an empty Host", get("/metrics", "Host:\r\n" + BEARER), {400, 403}),
    ("a command without the token", act(HOST + JSON), {401}),
    ("a command, wrong token", act(HOST + JSON + "Authorization: Bearer 0000000000000000\r\n"), {401}),
    ("a command of another page", act(HOST + BEARER + JSON + "Origin: http://evil.example\r\n"), {403}),
    ("a command of no page", act(HOST + BEARER + JSON + "Origin: null\r\n"), {403}),
    ("a command as a form", act(HOST + BEARER + "Content-Type: application/x-www-form-urlencoded\r\n"), {400}),
    ("a command as text", act(HOST + BEARER + "Content-Type: text/plain\r\n"), {400}),
    ("a command without a name", act(HOST + BEARER + JSON, '{"op":"unprotect","vm":"vm1"}'), {400}),
    ("an unknown command", act(HOST + BEARER + JSON, '{"op":"events","vm":"vm1","typed":"vm1"}'), {400}),
    ("a command by GET", get("/api/act?op=unprotect&vm=vm1&typed=vm1"), {405}),
    ("a huge header", get("/metrics", HOST + BEARER + "X-A: " + "a" * 100000 + "\r\n"), REFUSED),
    ("many headers", get("/metrics", HOST + BEARER + "A: b\r\n" * 20000), REFUSED),
    ("a huge line", get("/" + "a" * 100000), REFUSED),
    ("a huge body", act(HOST + BEARER + JSON, "[" * 200000), REFUSED),
    ("a huge length", act(HOST + BEARER + JSON + "Content-Length: 99999999999999999999\r\n"), REFUSED),
    ("a negative length", act(HOST + BEARER + JSON + "Content-Length: -1\r\n"), REFUSED),
    ("endless chunks", get("/login", HOST + "Transfer-Encoding: chunked\r\n", method="POST")
     + (b"4000\r\n" + b"a" * 0x4000 + b"\r\n") * 40, REFUSED),
    ("a bad chunk", get("/login", HOST + "Transfer-Encoding: chunked\r\n", method="POST") + b"zz\r\n\r\n", REFUSED),
    ("a parent folder", get("/ui/../../../etc/passwd"), {404}),
    ("an encoded parent folder", get("/ui/%2e%2e/%2e%2e/etc/passwd"), {404}),
    ("a double slash", get("//metrics"), {200, 404}),
    ("another program's address", get("http://evil.example/metrics", "Host: evil.example\r\n" + BEARER), {403}),
    ("a zero byte", b"GET /ui/app.js\0.css HTTP/1.1\r\n" + (HOST + BEARER).encode() + b"\r\n", REFUSED),
    ("no method", get("/metrics", method="BREW"), REFUSED),
    ("CONNECT", get("evil.example:80", method="CONNECT"), REFUSED),
    ("TRACE", get("/metrics", method="TRACE"), REFUSED),
    ("HTTP/0.9", get("/metrics", "", ""), REFUSED),
    ("HTTP/9.9", get("/metrics", version=" HTTP/9.9"), REFUSED | {200}),
    ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xff" * 600 + b"\r\n\r\n", REFUSED),
    ("no line of a request", b"\r\n\r\n\r\n\0\0\0\r\n\r\n", REFUSED),
    ("a folded header", get("/metrics", HOST + " x\r\n"), REFUSED),
    ("two Hosts", get("/metrics", "Host: evil.example\r\n" + HOST + BEARER), {400, 403}),
]


def connect(source=None):
    s = socket.create_connection((ADDRESS, PORT), source_address=source)
    s.settimeout(ANSWER_S)
    return s


def answer(data):
    """The status of what comes first; what is sent may be more than the server reads."""
    with connect() as s:
        got = b""
        try:
            s.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            while b"\r\n" not in got:
                chunk = s.recv(4096)
                if not chunk:
                    break
                got += chunk
        except ConnectionResetError:
            pass
    words = got.split(b" ", 2)
    return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/1.") else CLOSED


def pipelined():
    """Good requests, and garbage behind them: each good one is answered, in order, and then the end comes."""
    with connect() as s:
        s.sendall(get("/healthz") * 20 + b"\0\xff garbage\r\n\r\n" * 50)
        got = b""
        try:
            while chunk := s.recv(65536):
                got += chunk
        except ConnectionResetError:
            pass
    return got.count(b"HTTP/1.1 200")


def slow(n):
    starts = [b"", b"G", b"GET /metrics HTTP/1.1\r\nX-A: ", b"POST /login HTTP/1.1\r\n" + HOST.encode() + b"Content-Length: 9000\r\n\r\ntoken="]
    open_ones = [connect(("127.0.0.9", 0) if ADDRESS.startswith("127.") else None) for _ in range(n)]
    for i, s in enumerate(open_ones):
        s.sendall(starts[i % len(starts)])
    print("begun", flush=True)
    while open_ones:
        readable = select.select(open_ones, [], [], 0.5)[0]
        for i, s in enumerate(list(open_ones)):
            try:
                if s in readable and not s.recv(4096):
                    raise ConnectionResetError
                if i % len(starts):
                    s.send(b"a")
            except OSError:
                open_ones.remove(s)
    print(f"ended {n}")


def main():
    bad = 0
    for name, data, right in CASES:
        got = answer(data)
        print(f"{name:<28} {got or 'closed'}{'' if got in right else '  WRONG'}")
        bad += got not in right
    got = pipelined()
    print(f"{'pipelined, garbage behind':<28} {got} answers{'' if got >= 1 else '  WRONG'}")
    return 1 if bad or not got else 0


if __name__ == "__main__":
    if sys.argv[4:5] == ["slow"]:
        slow(int(sys.argv[5]))
    else:
        sys.exit(main())
