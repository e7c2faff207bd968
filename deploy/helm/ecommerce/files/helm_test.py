"""`helm test`: every enabled service is ready, and one real order goes through all of them. Needs only Python."""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from typing import Any

NAMES = ("order", "inventory", "notification")
SERVICES = {name: os.environ.get(f"{name.upper()}_URL") for name in NAMES}
PROBED = {name: os.environ.get(f"{name.upper()}_MANAGEMENT_URL", url) for name, url in SERVICES.items()}
ASK_FOR_TOKENS = [name for name in NAMES if os.environ.get(f"{name.upper()}_ASKS_FOR_TOKENS")]
DEADLINE = time.monotonic() + float(os.environ["TIMEOUT_SECONDS"])


def ask(service: str, method: str, path: str, body: object = None) -> Any:
    """Send one request and read its JSON. While there is no answer, or 503, it is sent again until the time is up."""
    url = f"{(PROBED if path == '/readyz' else SERVICES)[service]}{path}"
    data = None if body is None else json.dumps(body).encode()
    headers = {} if body is None else {"Content-Type": "application/json"}
    if method == "POST":
        headers["Idempotency-Key"] = str(uuid.uuid4())
    while True:
        try:
            request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 - the chart says http://
            with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310 - as above
                return json.loads(response.read()) if path != "/readyz" else None
        except urllib.error.HTTPError as error:
            problem = f"{error.code} {error.read().decode(errors='replace')[:500]}"
            if error.code != 503:
                sys.exit(f"{method} {url}: {problem}")
        except OSError as error:
            problem = str(error)
        if time.monotonic() > DEADLINE:
            sys.exit(f"{method} {url}: {problem}; the time is up")
        time.sleep(0.5)


def wait_until(what: str, service: str, path: str, done: Callable[[Any], bool]) -> None:
    """Ask until the answer says that it is done."""
    while not done(answer := ask(service, "GET", path)):
        if time.monotonic() > DEADLINE:
            sys.exit(f"{what}: not so when the time was up; the last answer was {answer}")
        time.sleep(0.2)
    print(what, flush=True)


def main() -> None:
    """Walk the order's way; any step that fails ends the program with a sentence and status 1."""
    for name, url in SERVICES.items():
        if url:
            ask(name, "GET", "/readyz")
            print(f"{name} is ready", flush=True)
    if not all(SERVICES.values()):
        print("not all services are in this release, so there is no order to follow")
        return
    if ASK_FOR_TOKENS:
        print(
            f"this test has no tokens, which {', '.join(ASK_FOR_TOKENS)} would ask for, so there is no order to follow"
        )
        return
    product = f"helm-test-{uuid.uuid4().hex[:12]}"
    ask("inventory", "PUT", f"/stock/{product}", {"available": 1})
    order = ask("order", "POST", "/orders", {"items": [{"productId": product, "quantity": 1}]})["id"]
    print(f"order {order} is accepted", flush=True)

    def stock(available: int, reserved: int) -> Callable[[Any], bool]:
        return lambda answer: (answer["available"], answer["reserved"]) == (available, reserved)

    def told(kind: str) -> Callable[[Any], bool]:
        return lambda answer: kind in [each["kind"] for each in answer["notifications"]]

    wait_until("it is confirmed", "order", f"/orders/{order}", lambda answer: answer["status"] == "confirmed")
    wait_until("its stock is reserved", "inventory", f"/stock/{product}", stock(0, 1))
    wait_until("its customer is told", "notification", f"/notifications?orderId={order}", told("order_confirmed"))
    ask("order", "POST", f"/orders/{order}/cancel")
    wait_until("it is cancelled, its stock given back", "inventory", f"/stock/{product}", stock(1, 0))


main()
