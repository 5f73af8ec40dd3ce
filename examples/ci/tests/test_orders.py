"""What the shop promises."""

from shop.orders import listed
from shop.seed import seeded
from sqlalchemy.orm import Session


def test_every_order_has_a_line():
    """With its number."""
    with Session(seeded()) as session:
        lines = listed(session)
    assert len(lines) == 10
    assert lines[0].startswith("order 1")
