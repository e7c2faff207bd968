"""The inventory over HTTP, on a real server: every row of the contract, its limits and its errors."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from openapi_spec_validator import validate

from eventcore import Settings
from eventcore.testing.fixtures import StartServer
from inventory_service.app import create_app
from inventory_service.settings import InventorySettings
from libs.contracts.tests.calling import Caller


async def test_stock_that_is_put_can_be_asked_for(call: Caller) -> None:
    tea = {"productId": "tea", "available": 39, "reserved": 0}
    assert await call("PUT", "/stock/tea", json={"available": 39}) == tea
    assert await call("GET", "/stock/tea") == tea
    assert await call("PUT", "/stock/tea", json={"available": 0}) == {**tea, "available": 0}


async def test_an_unknown_product_is_not_found(call: Caller) -> None:
    problem = await call("GET", "/stock/tea", 404)
    assert problem["detail"] == "There is no product 'tea'."


@pytest.mark.parametrize(
    ("path", "product_id"),
    [
        ("BANK%20CHARGES", "BANK CHARGES"),
        ("gift_0001_20", "gift_0001_20"),
        ("a%2Fb", "a/b"),
        ("caf%C3%A9", "café"),
        ("%7Bx%7D", "{x}"),
        ("50%25", "50%"),
        ("%25ff", "%ff"),
        ("x:available", "x:available"),
        ("y" * 64, "y" * 64),
    ],
)
async def test_product_ids_of_real_shops_are_known_by_their_name(call: Caller, path: str, product_id: str) -> None:
    level = {"productId": product_id, "available": 1, "reserved": 0}
    assert await call("PUT", f"/stock/{path}", json={"available": 1}) == level
    assert await call("GET", f"/stock/{path}") == level
    assert (await call("GET", "/stock"))["stock"] == [level]


@pytest.mark.parametrize("path", ["y" * 65, "tab%09here", "%00"])
async def test_what_can_be_no_product_id_can_not_be_put_and_is_not_found(call: Caller, path: str) -> None:
    problem = await call("PUT", f"/stock/{path}", 422, json={"available": 1})
    assert [error["field"] for error in problem["errors"]] == ["productId"]
    await call("GET", f"/stock/{path}", 404)


@pytest.mark.parametrize("available", [-1, 1_000_000_001, "1", 1.5, True, None], ids=repr)
async def test_a_level_is_an_integer_within_limits(call: Caller, available: Any) -> None:
    problem = await call("PUT", "/stock/tea", 422, json={"available": available})
    assert [error["field"] for error in problem["errors"]] == ["available"]
    await call("GET", "/stock/tea", 404)


async def test_many_levels_are_put_at_once(call: Caller) -> None:
    levels = [{"productId": f"p{number:05}", "available": number} for number in range(10_000)]
    assert await call("PUT", "/stock", json={"levels": levels}) == {"updated": 10_000}
    assert (await call("GET", "/stock/p09999"))["available"] == 9_999
    page = await call("GET", "/stock?limit=1000")
    assert [level["available"] for level in page["stock"]] == list(range(1000))


WRONG_LEVELS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "none": ([], "levels"),
    "too many": ([{"productId": f"p{number}", "available": 1} for number in range(10_001)], "levels"),
    "a wrong one among others": (
        [{"productId": "tea", "available": 1}, {"productId": "milk", "available": -1}],
        "levels.1.available",
    ),
    "one without a product": ([{"productId": "tea", "available": 1}, {"available": 1}], "levels.1.productId"),
}


@pytest.mark.parametrize(("levels", "field"), WRONG_LEVELS.values(), ids=WRONG_LEVELS)
async def test_levels_are_put_all_or_none(call: Caller, levels: list[dict[str, Any]], field: str) -> None:
    problem = await call("PUT", "/stock", 422, json={"levels": levels})
    assert [error["field"] for error in problem["errors"]] == [field]
    assert (await call("GET", "/stock"))["stock"] == []


async def test_of_a_product_named_twice_the_last_level_counts(call: Caller) -> None:
    levels = [{"productId": product, "available": n} for n, product in enumerate(("tea", "milk", "tea"))]
    assert await call("PUT", "/stock", json={"levels": levels}) == {"updated": 2}
    stock = await call("GET", "/stock")
    assert [(level["productId"], level["available"]) for level in stock["stock"]] == [("milk", 1), ("tea", 2)]


async def test_stock_is_listed_by_product_id_page_by_page(call: Caller) -> None:
    products = ["milk", "Milk", "10", "2", "tea", "tea with milk", "café", "zoo"]
    levels = [{"productId": product, "available": 1} for product in products]
    await call("PUT", "/stock", json={"levels": levels})
    pages = await call.pages("/stock?limit=3")
    assert [len(page["stock"]) for page in pages] == [3, 3, 2]
    assert [level["productId"] for page in pages for level in page["stock"]] == sorted(products)


async def test_a_last_page_that_is_full_is_the_last_page(call: Caller) -> None:
    await call("PUT", "/stock/tea", json={"available": 1})
    page = await call("GET", "/stock?limit=1")
    assert (len(page["stock"]), page["nextCursor"]) == (1, None)


async def test_a_page_has_a_hundred_products_unless_asked_otherwise(call: Caller) -> None:
    levels = [{"productId": str(number), "available": 1} for number in range(101)]
    await call("PUT", "/stock", json={"levels": levels})
    page = await call("GET", "/stock")
    assert (len(page["stock"]), page["nextCursor"] is None) == (100, False)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("cursor=!", "cursor"),
        ("cursor=A", "cursor"),
    ],
)
async def test_a_wrong_page_is_refused(call: Caller, query: str, field: str) -> None:
    problem = await call("GET", f"/stock?{query}", 422)
    assert [error["field"] for error in problem["errors"]] == [field]


async def test_an_order_that_has_not_arrived_has_no_reservation(call: Caller) -> None:
    await call("GET", "/reservations/1", 404)


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("status", "data", "headers"),
    [
        (400, "{", JSON),
        (415, '{"available": 1}', {"Content-Type": "text/plain"}),
        (413, json.dumps({"available": 1, "note": "x" * 256 * 1024}), JSON),
        (422, "[]", JSON),
    ],
    ids=lambda value: repr(value)[:40],  # a server is started with the id in its environment, which has a limit
)
async def test_what_can_not_be_read_is_refused_honestly(
    call: Caller, status: int, data: str, headers: dict[str, str]
) -> None:
    await call("PUT", "/stock/tea", status, data=data, headers=headers)


async def test_the_document_is_a_valid_one(call: Caller) -> None:
    validate(call.document)


async def test_without_a_server_everything_is_answered_503(settings: Settings, start_server: StartServer) -> None:
    server = start_server()
    app = create_app(InventorySettings(**{**dict(settings), "redis_url": server.url}))
    async with TestClient(TestServer(app)) as client:
        call = await Caller.of(client)
        await call("PUT", "/stock/tea", json={"available": 1})
        server.kill()
        replies = await asyncio.gather(
            call.ask("PUT", "/stock/tea", json={"available": 1}),
            *(call.ask("GET", path) for path in ("/stock/tea", "/stock", "/reservations/1")),
        )
        assert [(reply.status, reply.headers["Retry-After"]) for reply in replies] == [(503, "1")] * 4
        assert (await client.get("/readyz")).status == 503
        assert (await client.get("/livez")).status == 200
