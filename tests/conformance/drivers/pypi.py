"""The official Python client (PyPI `convex`), over its WebSocket.

Reads the scenarios from stdin, takes one step after the other and prints an outcome per step as a line of JSON.
"""

import faulthandler
import json
import os
import re
import sys

from convex import ConvexClient, ConvexError, convex_to_json, json_to_convex

STEP_LIMIT_S = 30


class Watch:
    """A subscription as the scenarios see it: the next result that differs from the last one they have seen."""

    def __init__(self, client, name, args):
        self.updates = client.subscribe(name, args)
        self.seen = None

    def next(self):
        while True:
            value = next(self.updates)
            key = json.dumps(convex_to_json(value), sort_keys=True)
            if key != self.seen:
                self.seen = key
                return value


def connect(url, token):
    client = ConvexClient(url)
    if token:
        client.set_auth(token)
    return client


class Run:
    def __init__(self, connect, watch, data_of, given, scenario):
        self.connect = connect
        self.data_of = data_of
        self.watch = watch
        self.given = given
        self.saved = {"run": scenario["run"]}
        self.clients = {}
        self.watches = {}

    def client(self, identity):
        if identity not in self.clients:
            self.clients[identity] = self.connect(self.given["url"], self.given["tokens"].get(identity))
        return self.clients[identity]

    def take(self, step):
        try:
            value = convex_to_json(self.perform(step))
        except ConvexError as error:
            return {"refused": self.data_of(error)}
        except Exception as error:  # A failure of a function is a plain exception.
            return {"failed": str(error)}
        for name, path in step.get("save", {}).items():
            self.saved[name] = at(value, path)
        return {"value": value}

    def perform(self, step):
        if "changed" in step:
            return self.watches[step["changed"]].next()
        client = self.client(step["as"])
        args = json_to_convex(fill_in(step.get("args", {}), self.saved))
        if "query" in step:
            return client.query(step["query"], args)
        if "mutation" in step:
            return client.mutation(step["mutation"], args)
        watch = self.watch(client, step["subscribe"], args)
        self.watches[step["id"]] = watch
        return watch.next()


def fill_in(value, saved):
    """Puts what was saved in the place of `${name}`."""
    if isinstance(value, str):
        whole = re.fullmatch(r"\$\{(\w+)\}", value)
        if whole:
            return saved[whole[1]]
        return re.sub(r"\$\{(\w+)\}", lambda found: str(saved[found[1]]), value)
    if isinstance(value, list):
        return [fill_in(item, saved) for item in value]
    if isinstance(value, dict):
        return {name: fill_in(field, saved) for name, field in value.items()}
    return value


def at(value, path):
    for name in filter(None, path.split(".")):
        value = value[int(name) if isinstance(value, list) else name]
    return value


def main(connect=connect, watch=Watch, data_of=lambda error: convex_to_json(error.data)):
    given = json.load(sys.stdin, parse_int=float)  # the client knows no other numbers
    for scenario in given["scenarios"]:
        run = Run(connect, watch, data_of, given, scenario)
        for number, step in enumerate(scenario["steps"]):
            # The client waits in native code, without a limit: only a watchdog outside the interpreter can end that.
            faulthandler.dump_traceback_later(STEP_LIMIT_S, exit=True)
            outcome = {"scenario": scenario["name"], "step": number, **run.take(step)}
            print(json.dumps(outcome), flush=True)
    sys.stdout.flush()
    # The client's own threads would keep the process for a while: there is nothing left to wait for.
    os._exit(0)


if __name__ == "__main__":
    main()
