"""Repetitions of writes, and of reads that follow them, that are right."""

import contextlib
import http.client
import http.server
import threading
import time

from sqlalchemy import create_engine, delete, event, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from integration.detect.scenarios.catalogue import right
from integration.detect.shop import Base, Cart, Customer, Item, Job, Order, Stock, Tag

ROWS = [{"id": 1000 + number, "name": f"new {number}"} for number in range(20)]


# -- Bulk ---------------------------------------------------------------------------------------------------------
@right()
def many_parameter_sets(session):
    """Executemany."""
    session.execute(insert(Customer), ROWS)


@right()
def one_statement_with_many_rows(session):
    """VALUES with twenty rows."""
    session.execute(insert(Customer).values(ROWS))


@right()
def one_flush_of_many_objects(session):
    """The ORM may send them row by row."""
    session.add_all(Customer(**row) for row in ROWS)
    session.flush()


@right()
def one_flush_of_three_thousand_objects(session):
    """Whose keys the database makes, if it can return them."""
    session.add_all(Cart(id=1000 + number, items=[Item(id=10_000 + number)]) for number in range(3000))
    session.flush()


@right()
def one_flush_of_three_thousand_objects_on_a_slow_database(session):
    """Whatever the driver makes of it, a millisecond a statement."""
    engine = session.get_bind()
    session.connection()

    def slow(*_):
        time.sleep(0.001)

    event.listen(engine, "before_cursor_execute", slow)
    try:
        session.add_all(Item(cart_id=1) for _ in range(3000))
        session.flush()
    finally:
        event.remove(engine, "before_cursor_execute", slow)


@right()
def one_flush_of_changes(session):
    """Twenty objects that were changed."""
    for order in session.scalars(select(Order)):
        order.note = f"note {order.id}"
    session.commit()


@right()
def one_flush_of_deletions(session):
    """Objects that were deleted together."""
    for job in session.scalars(select(Job)):
        session.delete(job)
    session.commit()


@right()
def rows_that_the_database_makes_values_for(session):
    """Each UPDATE of one flush is followed by a read of what the database made."""
    for stock in session.scalars(select(Stock)).all():
        stock.pieces += 1
    session.flush()


@right()
def batches_of_many_rows(session):
    """A statement per five hundred rows."""
    for start in range(0, 3000, 500):
        rows = [{"id": 10_000 + number, "name": "new"} for number in range(start, start + 500)]
        session.execute(insert(Customer), rows)


@right()
def one_statement_whose_rows_are_returned_in_order(session):
    """A database that does not return rows in the order of VALUES gets them one by one."""
    query = insert(Customer).returning(Customer.id, sort_by_parameter_order=True)
    session.execute(query, [{"name": f"new {number}"} for number in range(30)]).all()


@right()
def a_few_writes_of_one_shape(session):
    """Three are no loop."""
    for number in (1, 2, 3):
        session.execute(update(Stock).where(Stock.id == number).values(pieces=number))


@right()
def statements_for_many_rows(session):
    """Each writes more than one row."""
    for status in ("open", "sent") * 3:
        session.execute(update(Order).where(Order.status == status).values(note=status))


@right()
def an_update_after_each_call_of_a_service(session):
    """The job is marked as soon as it was delivered: the next delivery may fail."""
    with answering() as address:
        for number in session.scalars(select(Job.id)).all()[:12]:
            connection = http.client.HTTPConnection(*address, timeout=10)
            connection.request("POST", f"/jobs/{number}")
            assert connection.getresponse().read() == b"done"
            connection.close()
            session.execute(update(Job).where(Job.id == number).values(state="delivered"))
            session.commit()


@contextlib.contextmanager
def answering():
    """The address of an HTTP server that takes 100 ms for each request."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            time.sleep(0.1)
            self.send_response(200)
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"done")

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_address
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# -- Reads after writes -------------------------------------------------------------------------------------------
@right()
def a_read_after_each_own_write(session):
    """The same question, whose answer has changed."""
    for number in range(4):
        session.execute(update(Stock).where(Stock.id == 1).values(pieces=number))
        session.execute(select(Stock.pieces).where(Stock.id == 1)).one()


@right()
def a_refresh_after_each_own_write(session):
    """Four objects, each written and refreshed."""
    for stock in session.scalars(select(Stock).limit(4)).all():
        stock.pieces += 1
        session.flush()
        session.refresh(stock)


# -- Rows that may fail -------------------------------------------------------------------------------------------
@right()
def a_savepoint_around_each_insert(session):
    """Some of them exist."""
    for number in range(1, 16):
        with contextlib.suppress(IntegrityError), session.begin_nested():
            session.execute(insert(Tag).values(id=number, name=f"new {number}"))


@right()
def a_savepoint_around_each_object(session):
    """The same with the ORM; none of them exists."""
    for number in range(8):
        with session.begin_nested():
            session.add(Tag(id=2000 + number, name=f"new {number}"))


@right()
def inserts_that_fail(session):
    """Each is there."""
    for number in range(1, 5):
        try:
            session.execute(insert(Tag).values(id=number, name=f"new {number}"))
        except IntegrityError:  # noqa: PERF203 - that is the scenario
            session.rollback()


# -- Housekeeping, shards -----------------------------------------------------------------------------------------
@right(portable=False)
def one_statement_per_shard(session):
    """Eight databases in memory, and a table in each."""
    for number in range(8):
        engine = create_engine("sqlite://")
        Base.metadata.create_all(engine)
        with engine.begin() as connection:
            connection.execute(insert(Customer).values(id=number, name="new"))
            connection.execute(select(Customer.name).where(Customer.id == number)).all()
        engine.dispose()


@right(portable=False)
def one_statement_per_file(session):
    """The same in files."""
    path = session.get_bind().url.database
    for number in range(8):
        engine = create_engine(f"sqlite:///{path}.{number}")
        Base.metadata.create_all(engine)
        with engine.begin() as connection:
            connection.execute(insert(Customer).values(id=number, name="new"))
            connection.execute(select(Customer.name).where(Customer.id == number)).all()
        engine.dispose()


@right(outside=True)
def a_heartbeat(session):
    """A thread says twenty times a second that it lives."""

    def beat():
        with session.get_bind().connect() as connection:
            for number in range(8):
                connection.execute(text("UPDATE stock SET pieces = :now WHERE id = 1"), {"now": number})
                connection.commit()
                time.sleep(0.06)

    thread = threading.Thread(target=beat)
    thread.start()
    thread.join()


@right(outside=True)
def a_scheduler_that_removes_what_is_due(session):
    """Its thread asks for due jobs and deletes each after it ran."""

    def run():
        with Session(session.get_bind()) as own:
            while True:
                query = select(Job.id).where(Job.state == "waiting").order_by(Job.id).limit(1)
                number = own.execute(query).scalar()
                if number is None:
                    break
                own.execute(delete(Job).where(Job.id == number))
                own.commit()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
