"""An index of packages, whose requests load too much: each fault beside its fix, for a session of SQLAlchemy.

Most of them are from public reports and applications, which stand beside them.
"""

from __future__ import annotations

import copy
import json
import pickle
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import (
    contains_eager,
    declarative_base,
    defaultload,
    defer,
    joinedload,
    lazyload,
    load_only,
    relationship,
    selectinload,
    subqueryload,
)

if TYPE_CHECKING:
    from collections.abc import Callable

Base = declarative_base()


class Package(Base):
    """Has releases and an owner."""

    __tablename__ = "packages"
    id = sa.Column(sa.Integer, primary_key=True)
    owner_id = sa.Column(sa.ForeignKey("owners.id"))
    name = sa.Column(sa.String(40))
    downloads = sa.Column(sa.Integer)
    size = sa.Column(sa.Integer)
    kept = sa.Column(sa.Boolean)
    readme = sa.Column(sa.Text)
    releases = relationship("Release", back_populates="package", order_by="Release.id", cascade="all")
    owner = relationship("Owner", back_populates="packages")
    badges = relationship("Badge")


class Owner(Base):
    """Of packages, and of releases."""

    __tablename__ = "owners"
    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.String(40))
    packages = relationship("Package", back_populates="owner")
    keys = relationship("Key", lazy="selectin")


class Key(Base):
    """Loaded with every owner, by the mapping."""

    __tablename__ = "keys"
    id = sa.Column(sa.Integer, primary_key=True)
    owner_id = sa.Column(sa.ForeignKey("owners.id"))
    text = sa.Column(sa.String(40))


class Badge(Base):
    """No package has one."""

    __tablename__ = "badges"
    id = sa.Column(sa.Integer, primary_key=True)
    package_id = sa.Column(sa.ForeignKey("packages.id"))


class Release(Base):
    """With a long description, the attributes of a search, and files."""

    __tablename__ = "releases"
    id = sa.Column(sa.Integer, primary_key=True)
    package_id = sa.Column(sa.ForeignKey("packages.id"))
    uploader_id = sa.Column(sa.ForeignKey("owners.id"))
    version = sa.Column(sa.String(20))
    description = sa.Column(sa.Text)
    meta = sa.Column(sa.JSON)
    package = relationship("Package", back_populates="releases")
    uploader = relationship("Owner")
    files = relationship("File", order_by="File.id")


class File(Base):
    """With its content."""

    __tablename__ = "files"
    id = sa.Column(sa.Integer, primary_key=True)
    release_id = sa.Column(sa.ForeignKey("releases.id"))
    name = sa.Column(sa.String(40))
    data = sa.Column(sa.LargeBinary)


PACKAGES = 150


def fill(engine):
    """Create the tables and 150 packages with two releases each."""
    Base.metadata.create_all(engine)
    rows = {
        Owner: [{"id": n, "name": f"owner {n}"} for n in range(1, 31)],
        Key: [{"id": n, "owner_id": n, "text": f"key {n}"} for n in range(1, 31)],
        Package: [
            {
                "id": n, "owner_id": n % 30 + 1, "name": f"package {n}", "downloads": n * 7 % 1000, "size": n,
                "kept": n % 2 == 0, "readme": "read me",
            }
            for n in range(1, PACKAGES + 1)
        ],
        Release: [
            {
                "id": n, "package_id": n // 2 + 1, "uploader_id": n // 2 % 30 + 1, "version": f"1.{n}",
                "description": "long " * 100, "meta": {"prompt": "word " * 200},
            }
            for n in range(2 * PACKAGES)
        ],
        File: [{"id": n, "release_id": n, "name": f"{n}.whl", "data": b"\0" * 600} for n in range(2 * PACKAGES)],
    }  # fmt: skip
    with engine.begin() as connection:
        for model, values in rows.items():
            connection.execute(sa.insert(model.__table__), values)


class Case(NamedTuple):
    """A fault and its fix."""

    name: str
    rule: str
    fault: Callable
    fixed: Callable
    suggestion: str


CASES = []


def case(rule, suggestion, statement, fixed):
    """Register a function of a session and a statement as a fault.

    Args:
        rule: What finds it.
        suggestion: How the suggestion begins, or all of it.
        statement: The fault.
        fixed: What the suggestion makes of it.
    """

    def register(work):
        def fault(session):
            return work(session, statement)

        def fix(session):
            return work(session, fixed)

        CASES.append(Case(work.__name__, rule, fault, fix, suggestion))
        return fault

    return register


# -- Eager loads ------------------------------------------------------------------------------------------------------
@case(
    "unused_eager_load",
    "remove joinedload(Package.releases)",
    sa.select(Package).options(joinedload(Package.releases)),
    sa.select(Package),
)
def a_menu(session, statement):
    """Names alone, as in a menu."""
    return [package.name for package in session.execute(statement).unique().scalars()]


@case(
    "unused_eager_load",
    "remove selectinload(Package.releases)",
    sa.select(Package).options(selectinload(Package.releases)),
    sa.select(Package),
)
def an_advertisement(session, statement):
    """github.com/nolotiro/nolotiro.org pull request 155: bullet was right about the page of an advertisement."""
    return [(package.name, package.downloads) for package in session.execute(statement).scalars()]


@case(
    "unused_eager_load",
    "remove joinedload(Release.uploader) below Package.releases",
    sa.select(Package).options(
        subqueryload(Package.releases).options(load_only(Release.version), joinedload(Release.uploader))
    ),
    sa.select(Package).options(subqueryload(Package.releases).load_only(Release.version)),
)
def a_path_of_two(session, statement):
    """github.com/jmcarp/nplusone issue 34: the first step of a path is read, and the second is not."""
    packages = session.execute(statement).scalars().all()
    return [release.version for package in packages for release in package.releases]


@case(
    "unused_eager_load",
    "select(Owner).options(lazyload(Owner.keys))",
    sa.select(Owner),
    sa.select(Owner).options(lazyload(Owner.keys)),
)
def what_the_mapping_always_loads(session, statement):
    """github.com/beyondcode/laravel-query-detector issue 80: the model always loads its type."""
    return [owner.name for owner in session.execute(statement).scalars()]


@case(
    "unused_eager_load",
    "remove joinedload(Package.owner)",
    sa.select(Package).options(joinedload(Package.owner).lazyload(Owner.keys)),
    sa.select(Package),
)
def a_log(session, statement):
    """github.com/jmcarp/nplusone issue 27: each entry of a log brings its user, whom nobody reads."""
    return [package.downloads for package in session.execute(statement).scalars()]


@case(
    "unused_eager_load",
    "remove contains_eager(Package.releases)",
    sa.select(Package).join(Package.releases).options(contains_eager(Package.releases)),
    sa.select(Package).join(Package.releases),
)
def a_condition_on_a_join(session, statement):
    """The join is needed, its rows are not."""
    statement = statement.where(Release.version.like("1.1%"))
    return [package.name for package in session.execute(statement).unique().scalars()]


# -- Columns ----------------------------------------------------------------------------------------------------------
@case(
    "over_fetch",
    "select(Release).options(load_only(Release.version))",
    sa.select(Release),
    sa.select(Release).options(load_only(Release.version)),
)
def versions_of_releases(session, statement):
    """github.com/pypi/warehouse pull request 3045: the description is large, and is hardly ever wanted."""
    return [release.version for release in session.execute(statement).scalars()]


@case(
    "over_fetch",
    "select(Release).options(defer(Release.meta))",
    sa.select(Release),
    sa.select(Release).options(defer(Release.meta)),
)
def descriptions_without_prompts(session, statement):
    """github.com/mikesvoboda/nemotron-v3-home-security-intelligence issue 3862: JSON of several kB in a list."""
    return [(release.version, release.description) for release in session.execute(statement).scalars()]


@case(
    "over_fetch",
    "select(File).options(load_only(File.name))",
    sa.select(File),
    sa.select(File).options(load_only(File.name)),
)
def names_of_files(session, statement):
    """github.com/Kotti/Kotti pull request 105: the data of a file are read from the database to list its name."""
    return [(file.id, file.name) for file in session.execute(statement).scalars()]


@case(
    "over_fetch",
    "selectinload(Package.releases).load_only(Release.version)",
    sa.select(Package).options(selectinload(Package.releases)),
    sa.select(Package).options(selectinload(Package.releases).load_only(Release.version)),
)
def releases_of_packages(session, statement):
    """An eager load has columns, too."""
    packages = session.execute(statement).scalars().all()
    return [release.version for package in packages for release in package.releases]


@case(
    "over_fetch",
    "select(Release).options(load_only(Release.version))",
    sa.select(Release),
    sa.select(Release).options(load_only(Release.version)),
)
def a_table_of_a_program(session, statement):
    """github.com/OpenSAK-Org/OpenSAK pull request 216: blobs are loaded at each key stroke; a schema reads the rest."""

    class Shown(BaseModel):
        model_config = ConfigDict(from_attributes=True)
        id: int
        version: str

    return [Shown.model_validate(release).model_dump() for release in session.execute(statement).scalars()]


# -- Filters ----------------------------------------------------------------------------------------------------------
@case(
    "client_side_filter",
    "select(Package).where(Package.owner_id == …)",
    sa.select(Package),
    sa.select(Package).where(Package.owner_id == 3),
)
def mine(session, statement):
    """github.com/akvo/akvo-rsr pull request 2428: each object of the query is compared in Python."""
    packages = session.execute(statement).scalars().all()
    return [(package.name, package.downloads) for package in packages if package.owner_id == 3]


@case(
    "client_side_filter",
    "select(Package).where(Package.downloads == …)",
    sa.select(Package),
    sa.select(Package).where(Package.downloads > 970),
)
def films_of_a_kind(session, statement):
    """github.com/shannonturner/bechdel issue 25: all 5000 films are loaded, and cut down in Python."""
    packages = session.execute(statement).scalars().all()
    return [{"name": package.name, "size": package.size} for package in packages if package.downloads > 970]


@case(
    "client_side_filter",
    "select(Package).where(Package.id == …)",
    sa.select(Package),
    sa.select(Package).where(Package.id == 7),
)
def one_of_many(session, statement):
    """github.com/DDMAL/Rodan issue 322: all resources of a project are loaded to look for one."""
    by_id = {package.id: package for package in session.execute(statement).scalars()}
    return by_id[7].name


@case(
    "client_side_filter",
    "select(Package).where(Package.downloads == …)  # or .order_by(Package.downloads).limit(n)",
    sa.select(Package),
    sa.select(Package).order_by(Package.downloads).limit(5),
)
def the_five_smallest(session, statement):
    """Sorted here."""
    packages = sorted(session.execute(statement).scalars(), key=lambda package: package.downloads)
    return [package.name for package in packages[:5]]


@case(
    "client_side_filter",
    "session.scalar(select(func.count()).select_from(Package))",
    sa.select(Package),
    sa.select(sa.func.count()).select_from(Package),
)
def how_many(session, statement):
    """github.com/AlexsLemonade/refinebio pull request 1423: all objects are loaded to be counted by ``len()``."""
    if len(statement.selected_columns) == 1:
        return session.execute(statement).scalar()
    return len(session.execute(statement).scalars().all())


@case(
    "client_side_filter",
    "session.scalar(select(func.sum(Package.downloads)))",
    sa.select(Package),
    sa.select(sa.func.sum(Package.downloads)),
)
def total(session, statement):
    """Added up here."""
    if len(statement.selected_columns) == 1:
        return session.execute(statement).scalar()
    return sum(package.downloads for package in session.execute(statement).scalars())


@case(
    "client_side_filter",
    "select(Package).where(Package.kept == …)",
    sa.select(Package),
    sa.select(Package).where(Package.kept, Package.downloads > 970),
)
def two_conditions(session, statement):
    """The second is looked at where the first holds."""
    packages = session.execute(statement).scalars().all()
    return [package.name for package in packages if package.kept and package.downloads > 970]


# -- To leave alone -------------------------------------------------------------------------------------------------
LEFT_ALONE = []
CACHE = {}


def left_alone(work):
    """Register a function in which nothing is found."""
    LEFT_ALONE.append(work)
    return work


@left_alone
def an_eager_load_of_nothing(session):
    """github.com/jmcarp/nplusone issue 13: what is loaded eagerly, and empty, cannot be read."""
    packages = session.execute(sa.select(Package).options(selectinload(Package.badges))).scalars()
    return [package.name for package in packages]


@left_alone
def an_eager_load_of_one_object(session):
    """github.com/jmcarp/nplusone issue 10: a form loads one object, with what it may need."""
    return session.get(Package, 3, options=[selectinload(Package.releases), joinedload(Package.owner)]).name


@left_alone
def what_is_kept_for_the_next_request(session):
    """github.com/flyerhzm/bullet issue 85: it is loaded for a cache; this request hardly reads it."""
    releases = session.execute(sa.select(Release).options(joinedload(Release.package))).scalars().all()
    session.expunge_all()
    CACHE["releases"] = releases
    return [release.version for release in releases]


@left_alone
def what_is_kept_as_bytes(session):
    """As above, in a cache that pickles."""
    packages = session.execute(sa.select(Package).options(selectinload(Package.releases))).scalars().all()
    names = [package.name for package in packages]
    return len(pickle.dumps(packages)), names


@left_alone
def what_is_found_by_another_way(session):
    """github.com/flyerhzm/bullet issue 147: the same objects are reached by two associations."""
    statement = sa.select(Release).options(
        joinedload(Release.uploader).lazyload(Owner.keys), defer(Release.description)
    )
    releases = session.execute(statement).scalars().all()
    return [(release.version, release.meta, session.get(Owner, release.uploader_id).name) for release in releases]


@left_alone
def what_has_no_taggings(session):
    """github.com/flyerhzm/bullet issue 210: an outer join to find what has none."""
    statement = sa.select(Package).outerjoin(Package.badges).options(contains_eager(Package.badges))
    packages = session.execute(statement.where(Badge.id.is_(None))).unique().scalars()
    return [package.name for package in packages]


@left_alone
def what_a_serialiser_reads(session):
    """All of it is sent."""

    class Sent(BaseModel):
        model_config = ConfigDict(from_attributes=True)
        version: str
        description: str
        meta: dict

    class SentPackage(BaseModel):
        model_config = ConfigDict(from_attributes=True)
        name: str
        releases: list[Sent]

    packages = session.execute(sa.select(Package).options(selectinload(Package.releases))).scalars()
    return [SentPackage.model_validate(package).model_dump() for package in packages]


@left_alone
def what_is_read_by_its_dict(session):
    """As FastAPI sends an object without a model of the response: by ``vars()``."""
    releases = session.execute(sa.select(Release)).scalars().all()
    return [{key: value for key, value in vars(each).items() if not key.startswith("_")} for each in releases]


@left_alone
def what_is_deleted_with_what_belongs_to_it(session):
    """The cascade reads the releases, which the request does not."""
    packages = session.execute(sa.select(Package).options(selectinload(Package.releases))).scalars().all()
    for package in packages:
        if package.owner_id == 77:
            session.delete(package)
    session.delete(packages[0])
    session.rollback()


@left_alone
def what_is_changed(session):
    """Objects are loaded to be written."""
    for release in session.execute(sa.select(Release)).scalars():
        release.version += "!"
    session.rollback()


@left_alone
def a_list_of_names(session):
    """github.com/quantifiedcode/python-anti-patterns issue 56: one attribute of every car; the rows are small."""
    return [package.name for package in session.execute(sa.select(Package)).scalars()]


@left_alone
def a_list_with_one_that_is_chosen(session):
    """Two attributes of all for a menu, and the rest of the one that is shown."""
    packages = session.execute(sa.select(Package)).scalars().all()
    menu = [(package.id, package.name) for package in packages]
    return menu, packages[4].downloads, packages[4].readme


@left_alone
def most_of_them_are_used(session):
    """A condition that half of them meet is cheap."""
    packages = session.execute(sa.select(Package)).scalars().all()
    return [package.name for package in packages if package.kept]


@left_alone
def a_walk_that_ends(session):
    """The first that fits; what was not looked at says nothing."""
    for package in session.execute(sa.select(Package)).scalars().all():
        if package.downloads == 70:
            return package.name
    return None


@left_alone
def a_short_list(session):
    """Ten are no matter."""
    packages = session.execute(sa.select(Package).limit(60)).scalars().all()
    return [package.name for package in packages if package.owner_id == 3]


@left_alone
def a_few_large_rows(session):
    """Three rows of half a kilobyte."""
    statement = sa.select(Release).limit(3).options(joinedload(Release.uploader).lazyload(Owner.keys))
    return [release.version for release in session.execute(statement).scalars()]


@left_alone
def copies(session):
    """What is read of a copy is read of the object."""
    releases = session.execute(sa.select(Release)).scalars().all()
    return [json.dumps([each.version, each.description, each.meta]) for each in map(copy.copy, releases)]


@left_alone
def by_a_path_that_is_loaded_and_read(session):
    """Chained, by the names of the guide."""
    statement = sa.select(Package).options(
        defaultload(Package.releases).defer(Release.description),
        selectinload(Package.releases).options(defer(Release.description), defer(Release.meta)),
    )
    packages = session.execute(statement).scalars().all()
    return [release.version for package in packages for release in package.releases]
