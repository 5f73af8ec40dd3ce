"""What is measured before and after a change: the orders are listed a few times."""

from shop.orders import listed
from shop.seed import seeded
from sqlalchemy.orm import Session

engine = seeded(50)
for _ in range(20):
    with Session(engine) as session:
        listed(session)
