# /// script
# dependencies = ["sqlmodel", "fastapi", "httpx", "opentelemetry-instrumentation-fastapi >=0.63b0"]
# [tool.application]
# about = "SQLModel behind FastAPI"
# ///
"""Heroes and their teams by HTTP: written, listed with their teams, changed and deleted."""

import json
from contextlib import asynccontextmanager
from typing import Optional

from fastapi import Depends, FastAPI, HTTPException
from fastapi.testclient import TestClient
from sqlmodel import Field, Relationship, Session, SQLModel, create_engine, select

engine = create_engine("sqlite:///heroes.db", connect_args={"check_same_thread": False})


class Team(SQLModel, table=True):
    """Of heroes."""

    id: Optional[int] = Field(default=None, primary_key=True)
    name: str = Field(index=True)
    heroes: list["Hero"] = Relationship(back_populates="team")


class HeroBase(SQLModel):
    """What a client may say of a hero."""

    name: str = Field(index=True)
    team_id: Optional[int] = Field(default=None, foreign_key="team.id")


class Hero(HeroBase, table=True):
    """In the database."""

    id: Optional[int] = Field(default=None, primary_key=True)
    team: Optional[Team] = Relationship(back_populates="heroes")


class HeroOut(HeroBase):
    """What a client is told."""

    id: int
    team: Optional[Team] = None


@asynccontextmanager
async def lifespan(application):
    """Make the tables and the teams."""
    SQLModel.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Team(name=f"team {number}") for number in range(4)])
        session.commit()
    yield


app = FastAPI(lifespan=lifespan)


def get_session():
    """One per request."""
    with Session(engine) as session:
        yield session


@app.post("/heroes", response_model=HeroOut)
def create(hero: HeroBase, session: Session = Depends(get_session)):
    """A new hero, read again after the commit."""
    made = Hero.model_validate(hero)
    session.add(made)
    session.commit()
    session.refresh(made)
    return made


@app.get("/heroes", response_model=list[HeroOut])
def heroes(session: Session = Depends(get_session), offset: int = 0, limit: int = 100):
    """A page; the response model asks each hero for its team."""
    return session.exec(select(Hero).offset(offset).limit(limit)).all()


@app.delete("/heroes/{number}")
def delete(number: int, session: Session = Depends(get_session)):
    """Or 404."""
    hero = session.get(Hero, number)
    if not hero:
        raise HTTPException(404)
    session.delete(hero)
    session.commit()
    return {"ok": True}


with TestClient(app) as client:
    answers = [client.post("/heroes", json={"name": f"hero {n}", "team_id": n % 4 + 1}).json() for n in range(10)]
    for method, path in (
        ("GET", "/heroes"),
        ("GET", "/heroes?limit=3"),
        ("DELETE", "/heroes/1"),
        ("DELETE", "/heroes/77"),
    ):
        answer = client.request(method, path)
        answers.append([answer.status_code, answer.json()])
print(json.dumps(answers, sort_keys=True))
