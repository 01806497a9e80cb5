#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Plays a broken member of an etcd cluster: broken_etcd.py MODE PORT [REAL_PORT]

Says "ready" on standard output when it listens on 127.0.0.1:PORT. Modes that pass requests on do so to
127.0.0.1:REAL_PORT, a real member. One request per connection."""
import http.client
import json
import os
import random
import socket
import struct
import sys
import threading

mode, port = sys.argv[1], int(sys.argv[2])
real = int(sys.argv[3]) if len(sys.argv) > 3 else 0
for_ever = threading.Event()
HEADER = '{"header":{"cluster_id":"7","member_id":"7","revision":"7","raft_term":"7"}'


def request_of(s):
    data = b""
    while b"\r\n\r\n" not in data:
        more = s.recv(65536)
        if not more:
            return None, None
        data += more
    head, body = data.split(b"\r\n\r\n", 1)
    lines = head.decode().split("\r\n")
    want = next(int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:"))
    while len(body) < want:
        body += s.recv(65536)
    return lines[0].split()[1], body


def answer(s, body, status="200 OK", length=None, extra=""):
    body = body if isinstance(body, bytes) else body.encode()
    n = len(body) if length is None else length
    s.sendall(f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {n}\r\n{extra}\r\n".encode() + body)


def pass_on(path, body):
    c = http.client.HTTPConnection("127.0.0.1", real, timeout=10)
    c.request("POST", path, body)
    return c.getresponse().read().decode()


def stream(s, head, piece):
    s.sendall(head)
    while True:
        s.sendall(piece)


def serve(s):
    path, body = request_of(s)
    if path is None:
        return
    if mode == "silent":
        for_ever.wait()
    elif mode == "swallow":  # done, but not answered
        pass_on(path, body)
        for_ever.wait()
    elif mode == "forget-to-say":  # done, then an error
        pass_on(path, body)
        answer(s, '{"error":"etcdserver: request timed out","code":14}', "503 Service Unavailable")
    elif mode == "http500":
        answer(s, "<html>Internal \x1b[31m Server Error</html>", "500 Internal Server Error")
    elif mode == "noleader":
        answer(s, '{"error":"etcdserver: no leader","code":14}', "503 Service Unavailable")
    elif mode == "garbage":
        answer(s, random.randbytes(5000))
    elif mode == "nothttp":
        s.sendall(random.randbytes(5000))
    elif mode == "empty":
        answer(s, "")
    elif mode == "hangup":
        pass
    elif mode == "reset":
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif mode == "truncated":
        answer(s, HEADER, length=500)
    elif mode == "huge":
        stream(s, b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", b" " * 65536)
    elif mode == "headers":
        stream(s, b"HTTP/1.1 200 OK\r\n", b"X-Header: " + b"x" * 1000 + b"\r\n")
    elif mode == "dribble":
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not for_ever.wait(0.05):
            s.sendall(b" ")
    elif mode == "deep":
        answer(s, "[" * 200000)
    elif mode == "object":
        answer(s, "{}")
    elif mode == "types":
        answer(s, '{"header":[],"kvs":{},"count":1,"succeeded":"yes","responses":7,"ID":{},"TTL":[]}')
    elif mode == "headless":
        answer(s, '{"succeeded":true,"responses":[{"response_put":{"header":{"revision":"7"}}}]}')
    elif mode == "won":  # no word of the record
        answer(s, HEADER + ',"succeeded":true}')
    elif mode == "redirect":
        answer(s, "", "302 Found", extra=f"Location: http://127.0.0.1:{real}{path}\r\n")
    elif mode == "otherkey":
        answer(s, HEADER + ',"kvs":[{"key":"eA==","version":"1","mod_revision":"2","value":"eA=="}],"count":"1"}')
    elif mode == "othercluster":
        a = json.loads(pass_on(path, body))
        a.get("result", a)["header"]["cluster_id"] = "7"
        answer(s, json.dumps(a))
    elif mode == "older":
        answer(s, json.dumps({"header": {**json.loads(pass_on(path, body))["header"], "revision": "1"}}))
    else:
        os._exit(2)


def client(s):
    try:
        serve(s)
    except OSError:
        pass
    s.close()


listener = socket.create_server(("127.0.0.1", port), backlog=64)
print("ready", flush=True)
while True:
    threading.Thread(target=client, args=(listener.accept()[0],), daemon=True).start()
