"""Faults of hand-written queries: pages per parent, helpers, writes, repeated questions."""

import itertools

from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.orm import Session

from integration.detect.scenarios.catalogue import fault
from integration.detect.shop import CUSTOMERS, ORDERS, PRODUCTS, Customer, Job, Line, Order, Product, Stock, Tag


# -- Pages that are none ------------------------------------------------------------------------------------------
@fault()
def the_latest_three_of_each(session):
    """A page per parent."""
    for number in range(1, CUSTOMERS + 1):
        query = select(Order).where(Order.customer_id == number).order_by(Order.id.desc()).limit(3)
        session.scalars(query).all()


@fault()
def the_first_page_of_each(session):
    """A page per parent, with OFFSET 0."""
    for number in range(1, CUSTOMERS + 1):
        session.scalars(select(Order).where(Order.customer_id == number).order_by(Order.id).limit(3).offset(0)).all()


@fault()
def the_next_three_after_each_row(session):
    """The bound is each row's own key."""
    for number in session.scalars(select(Order.id).order_by(Order.id)).all():
        session.scalars(select(Order.id).where(Order.id > number).order_by(Order.id).limit(3)).all()


@fault()
def the_previous_two_before_each_row(session):
    """The same downward, with named parameters."""
    query = text("SELECT id FROM orders WHERE id < :id ORDER BY id DESC LIMIT 2")
    for number in range(5, ORDERS + 1):
        session.execute(query, {"id": number}).all()


@fault()
def the_neighbours_of_each_row_by_name(session):
    """The bound is each row's own key, and no number."""
    for name in session.scalars(select(Customer.name).order_by(Customer.name)).all():
        session.scalars(select(Customer.id).where(Customer.name > name).order_by(Customer.name).limit(2)).all()


@fault()
def windows_that_overlap(session):
    """``LIMIT 3 OFFSET i`` that moves by one."""
    for offset in range(12):
        session.scalars(select(Order.id).order_by(Order.id).limit(3).offset(offset)).all()


@fault()
def one_row_at_a_time(session):
    """``LIMIT 1 OFFSET i``: Rails' ``find_each`` with a batch of one."""
    for offset in range(12):
        session.scalars(select(Order.id).order_by(Order.id).limit(1).offset(offset)).all()


def _pages_of(session, customer):
    """All orders of a customer, page by page."""
    for offset in itertools.count(step=2):
        query = select(Order).where(Order.customer_id == customer).order_by(Order.id).limit(2).offset(offset)
        page = session.scalars(query).all()
        yield from page
        if len(page) < 2:
            break


@fault()
def all_pages_of_each(session):
    """A helper that reads all pages, called per row."""
    for number in range(1, CUSTOMERS + 1):
        list(_pages_of(session, number))


@fault()
def all_keyset_pages_of_each(session):
    """The same by key."""
    for number in range(1, CUSTOMERS + 1):
        last = 0
        while page := session.scalars(
            select(Order.id).where(Order.customer_id == number, Order.id > last).order_by(Order.id).limit(3)
        ).all():
            last = page[-1]


@fault("n_plus_one", "redundant_query")
def a_listing_read_again_for_each_row(session):
    """A walk over all pages that is repeated for each row."""
    for _ in range(CUSTOMERS):
        for offset in range(0, ORDERS, 8):
            session.scalars(select(Order.id).order_by(Order.id).limit(8).offset(offset)).all()


# -- Look-ups -----------------------------------------------------------------------------------------------------
@fault()
def values_in_the_text(session):
    """No parameter differs, the literals do."""
    for number in range(1, CUSTOMERS + 1):
        session.execute(text(f"SELECT name FROM customers WHERE id = {number}")).all()


@fault()
def a_trace_id_in_each_comment(session):
    """A comment makes every text another one."""
    for number in range(1, CUSTOMERS + 1):
        session.execute(text(f"/* trace {number:032x} */ SELECT name FROM customers WHERE id = :id"), {"id": number})


@fault()
def short_lists(session):
    """Three ids at a time."""
    for start in range(1, ORDERS, 3):
        session.scalars(select(Order.note).where(Order.id.in_(range(start, start + 3)))).all()


def _find(session, number):
    return session.execute(select(Product.name).where(Product.id == number)).scalar_one()


@fault()
def a_helper_in_a_loop(session):
    """The loop stands one frame above the query."""
    for number in range(1, PRODUCTS + 1):
        _find(session, number)


@fault()
def a_helper_in_a_comprehension(session):
    """The same, in one line."""
    [_find(session, number) for number in range(1, PRODUCTS + 1)]


@fault()
def a_savepoint_around_each_look_up(session):
    """Transactions in between hide nothing."""
    for number in range(1, PRODUCTS + 1):
        with session.begin_nested():
            session.execute(select(Product.name).where(Product.id == number)).one()


@fault()
def a_join_per_row(session):
    """A larger query per row."""
    for number in range(1, CUSTOMERS + 1):
        query = select(Product.name).join(Line).join(Order).where(Order.customer_id == number)
        session.scalars(query).all()


@fault()
def most_look_ups_find_nothing(session):
    """A left join by hand."""
    for number in range(1, 13):
        session.execute(select(Customer.name).where(Customer.id == number)).first()


@fault()
def a_driver_statement_per_row(session):
    """``exec_driver_sql`` with its own placeholders."""
    connection = session.connection()
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    for number in range(1, CUSTOMERS + 1):
        connection.exec_driver_sql(f"SELECT name FROM customers WHERE id = {mark}", (number,)).all()


@fault()
def a_setting_then_a_settings_loop(session):
    """One look-up with LIMIT and one write in each turn is no queue."""
    for number in range(1, 9):
        session.execute(select(Stock.pieces).where(Stock.id == number).limit(1)).one()
        session.execute(update(Stock).where(Stock.id == number).values(pieces=number))


# -- The same question --------------------------------------------------------------------------------------------
@fault("redundant_query")
def the_same_row_for_each_row(session):
    """A constant, looked up in a loop."""
    for _ in range(8):
        session.execute(select(Customer.name).where(Customer.id == 1)).one()


@fault("redundant_query")
def the_current_user_in_every_session(session):
    """Each dependency opens a session and asks who it is."""
    for _ in range(6):
        with Session(session.get_bind()) as own:
            own.get(Customer, 1)


@fault("redundant_query")
def a_whole_table_for_each_row(session):
    """All tags are read for each product."""
    for product in session.scalars(select(Product)).all():
        [name for name in session.execute(select(Tag.name)).all() if product.name == name]


# -- Writes -------------------------------------------------------------------------------------------------------
@fault("row_by_row_write")
def add_and_commit(session):
    """A transaction per row."""
    for number in range(20):
        session.add(Tag(id=1000 + number, name=f"new {number}"))
        session.commit()


@fault("row_by_row_write")
def add_and_flush(session):
    """A flush per row, to learn its id."""
    for number in range(8):
        session.add(Tag(id=1000 + number, name=f"new {number}"))
        session.flush()


@fault("row_by_row_write")
def insert_per_row(session):
    """Core, a statement per row."""
    for number in range(8):
        session.execute(insert(Customer).values(id=1000 + number, name="new"))


@fault("row_by_row_write")
def update_per_row(session):
    """A statement per row that one CASE or executemany would do."""
    for number in range(1, 9):
        session.execute(update(Stock).where(Stock.id == number).values(pieces=number * 2))


@fault("row_by_row_write")
def delete_per_row(session):
    """A statement per row that one IN would do."""
    for number in range(1, 9):
        session.execute(delete(Job).where(Job.id == number))


@fault("row_by_row_write")
def upsert_per_row(session):
    """ON CONFLICT, a row at a time."""
    query = text("INSERT INTO tags (id, name) VALUES (:id, :name) ON CONFLICT (id) DO UPDATE SET name = excluded.name")
    for number in range(8):
        session.execute(query, {"id": 1000 + number, "name": f"new {number}"})


@fault("row_by_row_write")
def a_batch_api_that_works_row_by_row(session):
    """One call of a library, and inside of it look-up, insert, count and update for each of its rows."""

    def add(number):
        session.execute(select(Customer.name).where(Customer.id == 1)).one()
        job = Job(id=1000 + number, state="new", customer_id=1)
        session.add(job)
        session.flush()
        session.execute(
            select(Line.id).join(Order).where(Order.customer_id == 1, Line.product_id == 1).limit(1)
        ).first()
        session.execute(text("UPDATE orders SET note = :note WHERE id = :id"), {"note": str(number), "id": number + 1})
        job.state = "done"
        session.flush()

    for number in range(12):
        add(number)


@fault("row_by_row_write")
def a_migration_that_updates_row_by_row(session):
    """A data migration, between the looks of its tool at its own table."""
    session.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
    session.execute(text("INSERT INTO alembic_version VALUES ('1')"))
    for number in range(1, 25):
        session.execute(text("UPDATE orders SET note = :note WHERE id = :id"), {"note": "", "id": number})
    session.execute(text("UPDATE alembic_version SET version_num = '2'"))


@fault()
def a_migration_that_reads_row_by_row(session):
    """The same, reading."""
    session.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
    for number in range(1, ORDERS + 1):
        session.execute(text("SELECT note FROM orders WHERE id = :id"), {"id": number}).all()
    session.execute(text("INSERT INTO alembic_version VALUES ('1')"))


@fault("row_by_row_write", outside=True)
def a_script_that_adds_and_commits(session):
    """Outside any span."""
    for number in range(20):
        session.add(Tag(id=1000 + number, name=f"new {number}"))
        session.commit()


@fault(outside=True)
def a_script_that_loops(session):
    """Outside any span."""
    for order in session.scalars(select(Order)):
        str(order.customer.name)
