# /// script
# dependencies = ["sqladmin", "aiosqlite", "greenlet", "httpx", "opentelemetry-instrumentation-starlette >=0.63b0"]
# [tool.application]
# about = "admin panel for Starlette over asynchronous SQLAlchemy"
# asynchronous = true
# ///
"""A list with a related column, its second page, a search, details, an edit and a new row, as a browser asks."""

import asyncio
import json
import re

import httpx
from sqladmin import Admin, ModelView
from sqlalchemy import ForeignKey
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from starlette.applications import Starlette

engine = create_async_engine("sqlite+aiosqlite:///panel.db")


class Base(DeclarativeBase):
    """The tables."""


class Customer(Base):
    """Has orders."""

    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    orders: Mapped[list["Order"]] = relationship(back_populates="customer")

    def __str__(self):
        return self.name


class Order(Base):
    """Of a customer."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    note: Mapped[str]
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    customer: Mapped[Customer] = relationship(back_populates="orders")

    def __str__(self):
        return self.note


class CustomerAdmin(ModelView, model=Customer):
    """Customers with their orders."""

    column_list = [Customer.id, Customer.name, Customer.orders]


class OrderAdmin(ModelView, model=Order):
    """Orders with their customers."""

    column_list = [Order.id, Order.note, "customer.name"]
    column_searchable_list = [Order.note]
    page_size = 10


app = Starlette()
admin = Admin(app, engine)
admin.add_view(CustomerAdmin)
admin.add_view(OrderAdmin)


async def main():
    """One page after the other."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine) as session:
        session.add_all(
            Customer(name=f"customer {n}", orders=[Order(note=f"order {n}.{each}") for each in range(3)])
            for n in range(8)
        )
        await session.commit()
    told = []
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        for path in (
            "/admin/order/list",
            "/admin/order/list?page=2",
            "/admin/order/list?search=order+3",
            "/admin/customer/list",
            "/admin/customer/details/2",
            "/admin/order/edit/3",
            "/admin/order/export/csv",
        ):
            answer = await client.get(path)
            told.append([path, answer.status_code, len(set(re.findall(r"(?:order|customer) [\d.]+", answer.text)))])
        answer = await client.post("/admin/order/create", data={"note": "order new", "customer": "1"})
        told.append(answer.status_code)
        answer = await client.post("/admin/order/edit/3", data={"note": "order changed", "customer": "2"})
        told.append(answer.status_code)
    async with AsyncSession(engine) as session:
        told.append((await session.get(Order, 3)).note)
    await engine.dispose()
    print(json.dumps(told))


asyncio.run(main())
