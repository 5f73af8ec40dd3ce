# /// script
# dependencies = ["fastapi-users[sqlalchemy]", "aiosqlite", "httpx", "opentelemetry-instrumentation-fastapi >=0.63b0"]
# [tool.application]
# about = "accounts behind FastAPI over asynchronous SQLAlchemy"
# asynchronous = true
# ///
"""Registration, login and tokens in the database, asked over HTTP on one loop."""

import asyncio
import json

import httpx
from fastapi import Depends, FastAPI
from fastapi_users import BaseUserManager, FastAPIUsers, IntegerIDMixin, schemas
from fastapi_users.authentication import AuthenticationBackend, BearerTransport
from fastapi_users.authentication.strategy.db import DatabaseStrategy
from fastapi_users.db import SQLAlchemyBaseUserTable, SQLAlchemyUserDatabase
from fastapi_users.password import PasswordHelper
from fastapi_users_db_sqlalchemy.access_token import SQLAlchemyAccessTokenDatabase, SQLAlchemyBaseAccessTokenTable
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import ForeignKey, Integer
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column

engine = create_async_engine("sqlite+aiosqlite:///accounts.db")
sessions = async_sessionmaker(engine, expire_on_commit=False)
HELPER = PasswordHelper(PasswordHash([Argon2Hasher(time_cost=1, memory_cost=64)]))


class Base(DeclarativeBase):
    """The tables."""


class User(SQLAlchemyBaseUserTable[int], Base):
    """An account."""

    id: Mapped[int] = mapped_column(Integer, primary_key=True)


class AccessToken(SQLAlchemyBaseAccessTokenTable[int], Base):
    """Of a user who is logged in."""

    @declared_attr
    def user_id(cls) -> Mapped[int]:  # noqa: N805 - SQLAlchemy's form
        """The user."""
        return mapped_column(Integer, ForeignKey("user.id", ondelete="cascade"), nullable=False)


class Manager(IntegerIDMixin, BaseUserManager[User, int]):
    """What is done with accounts."""

    reset_password_token_secret = verification_token_secret = "x" * 32


async def session():
    """One per request."""
    async with sessions() as made:
        yield made


async def manager(session=Depends(session)):
    """On the request's session."""
    yield Manager(SQLAlchemyUserDatabase(session, User), HELPER)


def strategy(session=Depends(session)):
    """Tokens in the database."""
    return DatabaseStrategy(SQLAlchemyAccessTokenDatabase(session, AccessToken), lifetime_seconds=3600)


backend = AuthenticationBackend("db", BearerTransport(tokenUrl="login"), strategy)
users = FastAPIUsers[User, int](manager, [backend])


class UserRead(schemas.BaseUser[int]):
    """What a client is told."""


class UserCreate(schemas.BaseUserCreate):
    """What a client says of itself."""


class UserUpdate(schemas.BaseUserUpdate):
    """What it may change."""


app = FastAPI()
app.include_router(users.get_auth_router(backend), prefix="/auth")
app.include_router(users.get_register_router(UserRead, UserCreate), prefix="/auth")
app.include_router(users.get_users_router(UserRead, UserUpdate), prefix="/users")


async def main():
    """One client after the other, then several at once."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    told = []
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        for number in range(6):
            body = {"email": f"u{number}@example.org", "password": "correct horse"}
            told.append((await client.post("/auth/register", json=body)).json())
        told.append((await client.post("/auth/register", json=body)).status_code)
        logins = [
            await client.post("/auth/login", data={"username": f"u{n}@example.org", "password": "correct horse"})
            for n in range(6)
        ]
        headers = [{"Authorization": f"Bearer {login.json()['access_token']}"} for login in logins]
        me = await asyncio.gather(*(client.get("/users/me", headers=header) for header in headers))
        told += [answer.json()["email"] for answer in me]
        changed = await client.patch("/users/me", headers=headers[0], json={"email": "new@example.org"})
        told.append(changed.json())
        told.append((await client.post("/auth/logout", headers=headers[1])).status_code)
        told.append((await client.get("/users/me", headers=headers[1])).status_code)
    await engine.dispose()
    print(json.dumps(told))


asyncio.run(main())
