"""A small Flask app: a page that says what runs, JSON for scripts, posts that it counts. Served by gunicorn (see the Procfile)."""

import os
import threading

from flask import Flask, jsonify
from markupsafe import escape

VERSION = "1.0.0"
COLOUR = os.environ.get("TEAL_COLOUR", "")

app = Flask(__name__)
lock = threading.Lock()
posts = 0


@app.after_request
def label(response):
    response.headers["x-version"] = VERSION
    response.headers["x-colour"] = COLOUR
    return response


@app.get("/")
def page():
    commit = os.environ.get("COMMIT_ID", "none")[:7]
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>hello {VERSION}</title>
<body style="font:24px/1.5 sans-serif;padding:10vh 10vw">
<h1>Hello from Flask, version {VERSION}</h1>
<p>Commit {escape(commit)}, in the place called {escape(COLOUR or "nothing yet")}.</p></body></html>
"""


@app.get("/info")
def info():
    names = {"commit": "COMMIT_ID", "instance": "INSTANCE_ID", "number": "INSTANCE_NUMBER"}
    found = {key: os.environ.get(name) for key, name in names.items()}
    return jsonify(version=VERSION, colour=COLOUR, posts=posts, **found)


@app.post("/record")
def record():
    global posts
    with lock:
        posts += 1
    return jsonify(posts=posts)
