#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A Chromium that a test drives, over WebDriver (Debian's chromium-driver): no library is needed.

usage: browser.py serve SOCKET FOLDER      starts it, and takes commands at SOCKET until it is ended
       browser.py ask SOCKET COMMAND ARG...

Commands, each of which prints a line or fails with one:
  open URL               in the current window
  js TEXT                runs `return TEXT`, prints the result
  await SECONDS TEXT     until TEXT is true; prints it
  click CSS, type CSS TEXT
  look WIDTH light|dark  how the page is shown from now on
  shot FILE              the whole page as PNG
  windows N              so many windows, each with the page that the first one shows
  window I               the I-th is the current one from now on
  axe FILE               runs axe-core from FILE; prints its findings that are serious
  faults                 what the browser's console has complained about, "" if nothing
"""
import base64
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

PORT = 9515
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
START_S = 60


class Failed(Exception):
    pass


class Browser:
    def __init__(self, folder):
        self.driver = subprocess.Popen(["chromedriver", f"--port={PORT}"], stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
        self.session = ""
        args = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--disable-background-networking", "--no-first-run", "--window-size=1440,1000",
                "--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows",
                "--force-prefers-reduced-motion", f"--user-data-dir={folder}/profile"] + os.environ.get("BROWSER_ARGS", "").split()
        wanted = {"browserName": "chrome", "goog:chromeOptions": {"args": args},
                  "goog:loggingPrefs": {"browser": "ALL"}}
        until = time.monotonic() + START_S
        while True:
            try:
                got = self.call("POST", "session", {"capabilities": {"alwaysMatch": wanted}})
                break
            except (OSError, Failed) as e:
                if time.monotonic() > until or self.driver.poll() is not None:
                    raise Failed(f"no browser: {e}") from e
                select_nothing(0.1)
        self.session = f"session/{got['sessionId']}/"

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        req = urllib.request.Request(f"http://127.0.0.1:{PORT}/{self.session}{path}", data, method=method,
                                     headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(req, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as e:
            raise Failed(json.load(e)["value"]["message"].splitlines()[0]) from e

    def cdp(self, command, **params):
        return self.call("POST", "goog/cdp/execute", {"cmd": command, "params": params})

    def do_open(self, url):
        self.call("POST", "url", {"url": url})

    def do_js(self, text):
        return self.call("POST", "execute/sync", {"script": f"return ({text})", "args": []})

    def do_await(self, seconds, text):
        until = time.monotonic() + float(seconds)
        while True:
            got = self.do_js(text)
            if got:
                return got
            if time.monotonic() > until:
                page = self.do_js("document.body.innerText.slice(0, 1500)")
                raise Failed(f"after {seconds} s still not: {text}\n{page}")
            select_nothing(0.1)

    def find(self, css):
        return self.call("POST", "element", {"using": "css selector", "value": css})[ELEMENT]

    def do_click(self, css):
        self.call("POST", f"element/{self.find(css)}/click", {})

    def do_type(self, css, text):
        self.call("POST", f"element/{self.find(css)}/value", {"text": text})

    def do_look(self, width, scheme):
        self.cdp("Emulation.setDeviceMetricsOverride", width=int(width), height=1000, deviceScaleFactor=1,
                 mobile=int(width) < 600)
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def do_shot(self, file):
        size = self.cdp("Page.getLayoutMetrics")["cssContentSize"]
        png = self.cdp("Page.captureScreenshot", captureBeyondViewport=True,
                       clip={"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1})
        os.makedirs(os.path.dirname(file), exist_ok=True)
        with open(file, "wb") as out:
            out.write(base64.b64decode(png["data"]))

    def do_windows(self, n):
        url = self.call("GET", "url")
        while len(self.call("GET", "window/handles")) < int(n):
            handle = self.call("POST", "window/new", {"type": "window"})["handle"]
            self.call("POST", "window", {"handle": handle})
            self.do_open(url)

    def do_window(self, i):
        self.call("POST", "window", {"handle": self.call("GET", "window/handles")[int(i)]})

    def do_axe(self, file):
        with open(file, encoding="utf-8") as f:
            self.call("POST", "execute/sync", {"script": f.read(), "args": []})
        found = self.call("POST", "execute/async", {"args": [], "script": """
            const done = arguments[arguments.length - 1];
            axe.run(document).then((r) => done(r.violations), (e) => done([{impact: "critical", id: String(e), nodes: []}]));"""})
        return "; ".join(f"{v['id']}: {v['nodes'][0]['html'][:120] if v['nodes'] else ''}"
                         f" {v['nodes'][0].get('failureSummary', '')[:200] if v['nodes'] else ''}".replace("\n", " ")
                         for v in found if v["impact"] in ("serious", "critical"))

    def do_faults(self):
        return "; ".join(e["message"] for e in self.call("POST", "se/log", {"type": "browser"})
                         if e["level"] == "SEVERE")


def select_nothing(seconds):
    """The driver has no event for what a page shows: it is asked again after a moment."""
    time.sleep(seconds)


def serve(path, folder):
    browser = Browser(folder)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    while True:
        conn, _ = listener.accept()
        with conn, conn.makefile("rw") as f:
            words = json.loads(f.readline())
            try:
                got = getattr(browser, f"do_{words[0]}")(*words[1:])
                answer = [True, "" if got is None else got if isinstance(got, str) else json.dumps(got)]
            except (Failed, OSError, KeyError) as e:
                answer = [False, str(e)]
            f.write(json.dumps(answer) + "\n")


def ask(path, words):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        with s.makefile("rw") as f:
            f.write(json.dumps(words) + "\n")
            f.flush()
            good, text = json.loads(f.readline())
    print(text)
    return 0 if good else 1


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(*sys.argv[2:4])
    sys.exit(ask(sys.argv[2], sys.argv[3:]))
