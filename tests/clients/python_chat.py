"""Holds one turn through the official Python client (PyPI `convex` 0.8.1), unchanged.

Subscribes to `messages:list`, sends a message with `messages:send`, waits until the turn is over and prints one
JSON object: {"sessionId", "turnId", "state", "answer", "parts", "error", "updates"}. `updates` counts the results
that the subscription delivered. The owner's JWT comes from --jwt, or better from ORCHESTRATOR_OWNER_TOKEN, where no
process list shows it.

Exit codes: 0 the turn is complete, 1 it ended otherwise, a call was refused, or the time is up (then with a traceback
of where it waited), 2 usage.
"""

import argparse
import faulthandler
import json
import os
import sys
import uuid

from convex import ConvexClient, ConvexError

OPEN = ("queued", "claimed")
WINDOW = 32


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--session")
    target.add_argument("--worker")
    parser.add_argument("--text", required=True)
    parser.add_argument("--jwt", default=os.environ.get("ORCHESTRATOR_OWNER_TOKEN"))
    parser.add_argument("--timeout", type=float, default=60.0)
    options = parser.parse_args()
    if not options.jwt:
        parser.error("give --jwt, or set ORCHESTRATOR_OWNER_TOKEN")
    return options


def read_parts(client, turn):
    """The answer's parts, wherever they are: in the list, in pages of their own, or still in chunks."""
    if "parts" in turn:
        return turn["parts"]
    return read_folded(client, turn["id"]) if turn["folded"] else fold_chunks(client, turn["id"])


def read_folded(client, turn_id):
    parts = {}
    start = 0.0
    while start is not None:
        page = client.query("messages:parts", {"turnId": turn_id, "from": start})
        for part in page["parts"]:
            before = parts.get(part["partId"], {"text": ""})
            parts[part["partId"]] = {**part, "text": before["text"] + part["text"]}
        start = page["next"]
    return list(parts.values())


def fold_chunks(client, turn_id):
    parts = {}
    start = 0.0
    while True:
        page = client.query("chunks:page", {"turnId": turn_id, "from": start})
        if page["folded"]:
            return read_folded(client, turn_id)
        for item in page["items"]:
            fold_item(parts, item)
        if len(page["items"]) < WINDOW:
            return [part for part in parts.values() if part["text"]]
        start += WINDOW


def fold_item(parts, item):
    kind = item["kind"]
    part = parts.setdefault(item["partId"], {"partId": item["partId"], "kind": kind, "text": ""})
    if kind == "reset":
        part["text"] = ""
        return
    if kind == "tool" or kind != part["kind"]:
        part["text"] = ""
    part["kind"] = kind
    part["text"] += item["content"]


def chat(client, options):
    message_id = f"python-{uuid.uuid4()}"
    session_id = options.session
    if session_id is None:
        # Started by itself, so that the subscription is there before the message.
        session_id = f"session_{message_id}"
        client.mutation("sessions:start", {"id": session_id, "workerId": options.worker})
    updates = client.subscribe("messages:list", {"sessionId": session_id, "limit": 20.0})
    client.mutation("messages:send", {"id": message_id, "sessionId": session_id, "content": options.text})
    seen = 0
    for result in updates:
        seen += 1
        turns = [message for message in result["messages"] if message["id"] == f"turn_{message_id}"]
        if turns and turns[0]["state"] not in OPEN:
            break
    turn = turns[0]
    parts = read_parts(client, turn)
    return {
        "sessionId": session_id,
        "turnId": turn["id"],
        "state": turn["state"],
        "answer": "".join(part["text"] for part in parts if part["kind"] == "text"),
        "parts": parts,
        "error": turn.get("error"),
        "updates": seen,
    }


def main():
    options = read_options()
    # The client waits in native code, without a limit and without letting any Python thread run: only a watchdog
    # outside the interpreter can end that.
    faulthandler.dump_traceback_later(options.timeout, exit=True)
    client = ConvexClient(options.url)
    client.set_auth(options.jwt)
    try:
        result = chat(client, options)
    except ConvexError as error:
        print(json.dumps({"error": error.data}))
        return 1
    except Exception as error:  # A defect of a function arrives as a plain exception.
        print(json.dumps({"error": {"code": "client", "message": str(error)}}))
        return 1
    print(json.dumps(result))
    return 0 if result["state"] == "complete" else 1


if __name__ == "__main__":
    # The client's own threads would keep the process for a while: there is nothing left to wait for.
    code = main()
    sys.stdout.flush()
    os._exit(code)
