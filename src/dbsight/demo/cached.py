"""What the shop answers from its cache: each fault, and after it the same answer without the fault.

A handler is a plain function of a Redis client; as in ``handlers.py``, the line that asks is one line each time.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from dbsight.demo.cache import CART, PREFIX, TEASERS, teaser

if TYPE_CHECKING:
    from redis import Redis

    Rows = list[dict[str, Any]]

_KEPT = 60  # s


def show_cart(cache: Redis) -> Rows:
    """The prices of what is in the cart: one round trip a product."""
    return [{"product": number, "cents": cache.get(f"{PREFIX}price:{number}")} for number in range(1, CART + 1)]


def show_cart_fixed(cache: Redis) -> Rows:
    """The same in one round trip."""
    prices = cache.mget([f"{PREFIX}price:{number}" for number in range(1, CART + 1)])
    return [{"product": number, "cents": cents} for number, cents in enumerate(prices, 1)]


def list_teasers(cache: Redis) -> Rows:
    """Texts that are the same for everybody, cached for each visitor: no visitor finds those of another."""
    visitor = secrets.token_hex(8)
    keys = [f"{PREFIX}teaser:{visitor}:{number}" for number in range(1, TEASERS + 1)]
    return _through(cache, keys, cache.mget(keys))


def list_teasers_fixed(cache: Redis) -> Rows:
    """The same, cached once for all."""
    keys = [f"{PREFIX}teaser:{number}" for number in range(1, TEASERS + 1)]
    return _through(cache, keys, cache.mget(keys))


def _through(cache: Redis, keys: list[str], found: list[Any]) -> Rows:
    """What was not found is made, and stored."""
    rows = []
    with cache.pipeline(transaction=False) as pipe:
        for number, (key, text) in enumerate(zip(keys, found, strict=True), 1):
            rows.append({"product": number, "teaser": text or teaser(number)})
            if text is None:
                pipe.set(key, teaser(number), ex=_KEPT)
        pipe.execute()
    return rows


def check_out(cache: Redis) -> Rows:
    """What is in stock, under the lock of a basket that nobody gives back."""
    lock = cache.lock(f"{PREFIX}basket:{secrets.token_hex(8)}", timeout=_KEPT)
    lock.acquire()
    return _stock(cache)


def check_out_fixed(cache: Redis) -> Rows:
    """The same; the lock is given back whatever happens."""
    with cache.lock(f"{PREFIX}basket:{secrets.token_hex(8)}", timeout=_KEPT):
        return _stock(cache)


def _stock(cache: Redis) -> Rows:
    stock = cache.hgetall(f"{PREFIX}stock")
    return [{"product": product, "left": stock[product]} for product in sorted(stock, key=int)]
