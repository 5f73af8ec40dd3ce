"""What applications read through SQLAlchemy one by one, and how they should."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import copy_context

from sqlalchemy import create_engine, func, select, text
from sqlalchemy.orm import Session, joinedload, selectinload, undefer

from integration.detect.pairs.catalogue import pair
from integration.detect.shop import CUSTOMERS, Category, Customer, Job, Line, Order, Product, Tag


def everybody():
    """The ids of all customers."""
    return range(1, CUSTOMERS + 1)


# -- Relationships ------------------------------------------------------------------------------------------------
@pair("flask-sqlalchemy")
def a_page_with_authors(session, right):
    """``db.paginate`` gives a page of posts; the template prints each author's name."""
    page = select(Order).order_by(Order.id).limit(10)
    for order in session.scalars(page.options(joinedload(Order.customer)) if right else page):
        str(order.customer.name)


@pair("flask-sqlalchemy")
def how_many_posts_each_has(session, right):
    """A collection is loaded to be counted."""
    if right:
        session.execute(select(Order.customer_id, func.count()).group_by(Order.customer_id)).all()
        return
    for customer in session.scalars(select(Customer)):
        len(customer.orders)


@pair("sqlmodel")
def a_response_model_with_a_team(session, right):
    """``response_model=list[HeroOut]`` reads the team of each hero while the answer is made."""
    heroes = session.scalars(select(Order).options(selectinload(Order.customer)) if right else select(Order)).all()
    assert all({"note": hero.note, "team": hero.customer.name} for hero in heroes)


@pair("sqladmin")
def a_list_with_a_related_column(session, right):
    """``column_list`` names a relationship; the panel adds ``selectinload`` for each."""
    rows = session.scalars(select(Customer).options(selectinload(Customer.orders)) if right else select(Customer))
    assert [[row.name, len(row.orders)] for row in rows]


@pair("starlette-admin")
def several_tags_of_each_row(session, right):
    """A many-to-many field is serialised for each row of the list."""
    rows = select(Product).limit(8)
    for product in session.scalars(rows.options(selectinload(Product.tags)) if right else rows):
        [tag.name for tag in product.tags]


@pair("sqlalchemy-continuum")
def versions_of_each_article(session, right):
    """``article.versions`` is a query for each article."""
    if right:
        session.scalars(select(Order).where(Order.customer_id.in_(everybody())).order_by(Order.id)).all()
        return
    for customer in session.scalars(select(Customer)).all():
        session.scalars(select(Order).where(Order.customer_id == customer.id).order_by(Order.id)).all()


@pair("jupyterhub")
def spawners_of_each_user(session, right):
    """``GET /users`` asks each user for its servers, and each of them for more."""
    users = select(Customer)
    if right:
        users = users.options(selectinload(Customer.orders).selectinload(Order.lines))
    for user in session.scalars(users):
        [line.id for spawner in user.orders for line in spawner.lines]


@pair("mlflow")
def tags_of_each_run(session, right):
    """``search_runs`` turns each run into an entity, whose tags and parameters are loaded then."""
    runs = select(Order).order_by(Order.id).limit(12)
    for run in session.scalars(runs.options(selectinload(Order.lines)) if right else runs):
        [tag.id for tag in run.lines]


@pair("dagster")
def a_deferred_body_of_each_event(session, right):
    """A large column is deferred, and read for each row after all."""
    rows = select(Product)
    for product in session.scalars(rows.options(undefer(Product.description)) if right else rows):
        len(product.description)


@pair("ckan")
def groups_below_each_group(session, right):
    """A tree by one query per node, or by one per level."""
    roots = select(Category).where(Category.parent_id.is_(None))
    if right:
        roots = roots.options(selectinload(Category.children, recursion_depth=2))
    for category in session.scalars(roots):
        len(category.children)


@pair("prefect")
def an_eager_page_and_a_lazy_one(session, right):
    """Five pages of flow runs: their eager loads belong to the page, lazy ones to each row."""
    for page in range(4):
        runs = select(Order).order_by(Order.id).limit(6).offset(6 * page)
        for run in session.scalars(runs.options(selectinload(Order.lines)) if right else runs):
            len(run.lines)


@pair("beets")
def items_of_each_album(session, right):
    """``album.items()`` is a query for each album that is listed."""
    albums = session.scalars(select(Order).limit(9)).all()
    if right:
        session.scalars(select(Line).where(Line.order_id.in_([album.id for album in albums]))).all()
        return
    for album in albums:
        session.scalars(select(Line).where(Line.order_id == album.id)).all()


# -- Look-ups ------------------------------------------------------------------------------------------------------
@pair("optuna")
def trials_by_number(session, right):
    """``get_trial`` for each number, instead of ``get_all_trials``."""
    if right:
        session.scalars(select(Order).where(Order.id.in_(range(1, 13)))).all()
        return
    for number in range(1, 13):
        session.scalars(select(Order).where(Order.id == number)).one()


@pair("optuna", "redundant_query")
def the_study_for_each_report(session, right):
    """``trial.report`` asks for the study before each step."""
    for _ in range(1 if right else 8):
        session.execute(select(Customer.name).where(Customer.id == 1)).one()


@pair("advanced-alchemy")
def get_in_a_loop(session, right):
    """``repository.get(id)`` for each id, instead of ``list(CollectionFilter(…))``."""
    if right:
        session.scalars(select(Product).where(Product.id.in_(range(1, 9)))).all()
        return
    for number in range(1, 9):
        session.scalars(select(Product).where(Product.id == number)).one_or_none()


@pair("fastapi-users")
def the_user_of_each_token(session, right):
    """A token is read, then its user; for a list of tokens a join does it."""
    if right:
        session.execute(select(Order.id, Customer.name).join(Order.customer)).all()
        return
    for number in range(1, 9):
        customer = session.execute(select(Order.customer_id).where(Order.id == number)).scalar_one()
        session.execute(select(Customer.name).where(Customer.id == customer)).one()


@pair("langchain")
def whether_each_key_exists(session, right):
    """``RecordManager.exists`` takes many keys; called with one at a time it is a query per document."""
    for keys in [[f"tag {n}" for n in range(8)]] if right else [[f"tag {n}"] for n in range(8)]:
        session.scalars(select(Tag.name).where(Tag.name.in_(keys))).all()


@pair("jupyterhub")
def users_that_come_again(session, right):
    """A loop whose parameters repeat: each of 40 tokens asks for one of six users."""
    if right:
        session.execute(select(Customer.id, Customer.name).where(Customer.id.in_(everybody()))).all()
        return
    for number in range(40):
        session.execute(select(Customer.name).where(Customer.id == number % CUSTOMERS + 1)).one()


@pair("airflow")
def look_ups_from_a_thread_pool(session, right):
    """Ten ``session.get`` in four threads, each with a session of its own."""

    def one(number):
        with Session(session.bind) as own:
            return own.get(Order, number)

    if right:
        session.scalars(select(Order).where(Order.id.in_(range(1, 11)))).all()
        return
    with ThreadPoolExecutor(4) as pool:
        for number in range(1, 11):
            pool.submit(copy_context().run, one, number)


@pair("ckan")
def a_name_by_text(session, right):
    """SQL by hand, with the value in a bind parameter, once per name."""
    if right:
        session.execute(text("SELECT id, name FROM tags WHERE name IN ('tag 1', 'tag 2', 'tag 3', 'tag 4')")).all()
        return
    for number in range(1, 7):
        session.execute(text("SELECT id, name FROM tags WHERE name = :name"), {"name": f"tag {number}"}).all()


@pair("kinto", "redundant_query")
def permissions_that_nobody_changed(session, right):
    """The same permission is asked for each object of a list."""
    for _ in range(1 if right else 7):
        session.execute(select(Job.state).where(Job.customer_id == 3)).all()


@pair("datajoint")
def one_statement_per_shard(session, right):
    """The same text on twenty databases is no repetition; twenty times on one it is."""
    with ExitStack() as stack:
        engines = [create_engine("sqlite://") for _ in range(20 if right else 1)]
        for engine in engines:
            stack.callback(engine.dispose)
        for number in range(20):
            with engines[number % len(engines)].connect() as connection:
                connection.execute(text("CREATE TABLE IF NOT EXISTS orders (id INTEGER, note TEXT)"))
                connection.execute(select(Order.note).where(Order.id == number)).all()


# -- Pages ---------------------------------------------------------------------------------------------------------
@pair("dagster")
def the_latest_event_of_each_run(session, right):
    """``ORDER BY id DESC LIMIT 1`` per run, instead of a window function over all of them."""
    if right:
        number = func.row_number().over(partition_by=Order.customer_id, order_by=Order.id.desc()).label("number")
        latest = select(Order.id, number).subquery()
        session.execute(select(latest).where(latest.c.number == 1)).all()
        return
    for customer in everybody():
        session.execute(select(Order.id).where(Order.customer_id == customer).order_by(Order.id.desc()).limit(1)).all()


@pair("prefect")
def the_first_logs_of_each_run(session, right):
    """Three rows per parent."""
    if right:
        session.execute(select(Order).where(Order.customer_id.in_(everybody())).order_by(Order.id)).all()
        return
    for customer in everybody():
        session.scalars(select(Order).where(Order.customer_id == customer).order_by(Order.id).limit(3)).all()


@pair("dagster")
def events_after_a_cursor(session, right):
    """By cursor, each page where the one before ended; or after each row's own id."""
    cursor = 0
    for _ in range(7):
        rows = session.scalars(select(Order.id).where(Order.id > cursor).order_by(Order.id).limit(3)).all()
        cursor = rows[-1] if right else cursor + 1


@pair("superset")
def an_offset_that_moves_by_one(session, right):
    """Pages of three, or windows that overlap."""
    for number in range(7):
        session.scalars(select(Order.id).order_by(Order.id).limit(3).offset(3 * number if right else number)).all()


@pair("flask-admin")
def all_pages_for_each_row(session, right):
    """A helper that walks all pages of a parent is right, and a fault where it is called per row."""
    for customer in [1] if right else everybody():
        offset = 0
        while True:
            of_one = select(Order.id).where(Order.customer_id == customer).order_by(Order.id)
            if not session.scalars(of_one.limit(2).offset(offset)).all():
                break
            offset += 2
