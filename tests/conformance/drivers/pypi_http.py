"""The official Python client's ConvexHttpClient. It has no subscriptions: it asks again."""

import json
import time

from convex import convex_to_json
from convex.http_client import ConvexHttpClient

from pypi import main


class Poll:
    """What stands for a subscription: the next result that differs from the last one."""

    def __init__(self, client, name, args):
        self.ask = lambda: client.query(name, args)
        self.seen = None

    def next(self):
        while True:
            try:
                value = self.ask()
                key = json.dumps(convex_to_json(value), sort_keys=True)
                error = None
            except Exception as failure:
                key, error = f"error {failure}", failure
            if key != self.seen:
                self.seen = key
                if error is not None:
                    raise error
                return value
            time.sleep(0.02)


def connect(url, token):
    client = ConvexHttpClient(url)
    if token:
        client.set_auth(token)
    return client


if __name__ == "__main__":
    # It leaves the data of a ConvexError as it came.
    main(connect, Poll, lambda error: error.data)
