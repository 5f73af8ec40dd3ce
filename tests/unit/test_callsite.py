"""Where a query was asked for: through helpers, comprehensions, greenlets, awaits and threads."""

import asyncio
import contextlib
import functools
import os
import sys
import sysconfig
import threading
from pathlib import Path
from types import SimpleNamespace

import greenlet
import pytest

import dbsight
from dbsight.instrument import callsite

HERE = os.path.relpath(__file__)
PACKAGES = Path(sysconfig.get_paths()["purelib"])
STANDARD = Path(sysconfig.get_paths()["stdlib"])


@pytest.fixture(autouse=True)
def _nothing_cached():
    """Every test begins as a process does."""
    callsite.clear()
    yield
    callsite.clear()


def line_of(marker):
    """The number of the line of this file that ends with a marker."""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.endswith(f"# {marker}"))


def compiled(source, filename, **names):
    """What a module of this file name defines."""
    namespace = {"__name__": "__main__", "find": callsite.find, **names}
    exec(compile(source, str(filename), "exec"), namespace)
    return namespace


def calling(filename, name="execute"):
    """A function of that file that calls what it is given."""
    return compiled(f"def {name}(call): return call()", filename)[name]


def alone(function, *arguments):
    """What a function returns on a thread, where nothing of the application is below it."""
    found = []
    run = compiled("def run(f, a, to): to.append(f(*a))", STANDARD / "sched.py")["run"]
    thread = threading.Thread(target=run, args=(function, arguments, found))
    thread.start()
    thread.join()
    return found[0]


def place(site):
    """File, line and function."""
    return (site.file, site.line, site.function) if site is not None else None


def shown(path):
    """As call sites have it: relative where it is below the working directory, as a ``.venv`` may be."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def qualified(function):
    """A function's name as call sites have it on this Python."""
    return function.__qualname__ if sys.version_info >= (3, 11) else function.__name__


def asks():
    """A function of the application."""
    return calling(PACKAGES / "sqlalchemy/engine.py")(callsite.find)  # asked


def test_the_application_is_the_first_frame_outside_libraries():
    """File relative to the working directory, line, function; the caller that follows."""
    site = asks()  # caller
    assert place(site) == (HERE, line_of("asked"), "asks")
    assert place(site.caller) == (
        HERE,
        line_of("caller"),
        "test_the_application_is_the_first_frame_outside_libraries",
    )


def test_a_file_outside_the_working_directory_keeps_its_whole_path(tmp_path):
    """And one below it is relative."""
    outside = calling(tmp_path / "app.py")(callsite.find)
    inside = calling(Path.cwd() / "shop" / "app.py")(callsite.find)
    assert (outside.file, inside.file) == (str(tmp_path / "app.py"), str(Path("shop", "app.py")))


def test_a_comprehension_is_the_function_that_it_stands_in():
    """Of every kind, nested ones too; the line is the comprehension's own."""

    def ask():
        return calling(PACKAGES / "sqlalchemy/orm.py")(callsite.find)

    def comprehensions():
        found = [ask().caller for _ in (1,)]
        found += {ask().caller for _ in (1,)}
        found += {key: ask().caller for key in (1,)}.values()
        found += [each for line in [[ask().caller] for _ in (1,)] for each in line]
        return found + list(ask().caller for _ in (1,))  # noqa: C400 - a generator expression that list() iterates

    functions = [each.function for each in comprehensions()]
    assert functions == [qualified(comprehensions)] * 5


def test_a_generator_that_somebody_else_iterates_is_itself():
    """There is no function of the same file behind it."""
    consume = compiled("def consume(it): return next(it)", "elsewhere.py")["consume"]
    site = consume(callsite.find() for _ in (1,))  # iterated
    assert place(site)[:2] == (HERE, line_of("iterated"))
    assert site.function.endswith("<genexpr>")


def test_each_caller_of_a_helper_is_a_site_of_its_own():
    """A group whose callers differ is judged per caller."""
    first = asks()
    second = asks()
    third = [asks() for _ in range(2)]
    assert len({id(site) for site in (first, second, *third)}) == 3
    assert third[0] is third[1]
    assert {site.line for site in (first, second, *third)} == {line_of("asked")}


def test_a_caller_is_found_behind_a_decorator_and_a_context_manager():
    """Of the standard library or a client library, up to four frames."""

    @contextlib.contextmanager
    def entered():
        yield callsite.find()

    @functools.lru_cache
    def cached():
        return calling(PACKAGES / "sqlalchemy/util.py")(asks)

    with entered() as site:
        here = site
    assert place(here)[2] == qualified(entered.__wrapped__)
    assert here.caller.function == "test_a_caller_is_found_behind_a_decorator_and_a_context_manager"
    assert cached().caller.function == qualified(cached.__wrapped__)


def test_a_caller_behind_more_than_that_is_not_named():
    """The framework that called a handler did not ask for anything."""
    call = asks
    for _ in range(5):
        call = functools.partial(calling(PACKAGES / "sqlalchemy/util.py"), call)
    assert call().caller is None
    framework = calling(PACKAGES / "starlette/routing.py", "app")
    assert framework(asks).caller is None


def test_the_walk_goes_on_where_a_greenlet_began():
    """SQLAlchemy runs drivers of asyncio in greenlets, one inside the other."""

    def handler():
        def inner():
            return greenlet.greenlet(calling(PACKAGES / "sqlalchemy/asyncio.py")).switch(callsite.find)

        nested = compiled(
            "def spawn(inner): return greenlet.greenlet(inner).switch()",
            PACKAGES / "sqlalchemy/util/concurrency.py",
            greenlet=greenlet,
        )["spawn"]
        return nested(inner), nested(lambda: None) or nested(calling_inside)  # spawned

    def calling_inside():
        return greenlet.greenlet(calling(PACKAGES / "sqlalchemy/asyncio.py")).switch(callsite.find)

    library = compiled(
        "def spawn(find): return greenlet.greenlet(lambda: greenlet.greenlet(lambda: find()).switch()).switch()",
        PACKAGES / "sqlalchemy/util/concurrency.py",
        greenlet=greenlet,
    )["spawn"]

    def through_two():
        return library(callsite.find)

    first, second = handler()
    assert first.function.endswith("inner")
    assert second.function == qualified(calling_inside)
    assert through_two().function == qualified(through_two)


def test_the_walk_follows_awaits_and_stops_at_the_event_loop():
    """The coroutine that awaits is found; ``asyncio.run(main())`` asked for nothing."""

    async def repository():
        return calling(PACKAGES / "sqlalchemy/ext/asyncio/session.py")(callsite.find)

    async def handler():
        return await repository()

    async def callback():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        library = compiled(
            "def later(future, find): future.set_result(find())", PACKAGES / "sqlalchemy/pool.py", find=callsite.find
        )["later"]
        loop.call_soon(library, future, callsite.find)
        return await future

    site = asyncio.run(handler())
    assert site.function == qualified(repository)
    assert site.caller.function == qualified(handler)
    assert asyncio.run(callback()) is None


def test_a_task_does_not_know_who_made_it():
    """Its coroutine is the last that can be named."""

    async def work():
        return callsite.find()

    async def main():
        return await asyncio.gather(work(), work())

    assert [site.function for site in asyncio.run(main())] == [qualified(work)] * 2
    assert [site.caller for site in asyncio.run(main())] == [None] * 2


LIBRARY = """
async def get(pause=0):
    await sleep(pause)
    return find()
"""


def awaited_by(work):
    """What is found in a coroutine of a library, which ``work`` awaits in its own way; the line that awaits it."""
    get = compiled(LIBRARY, PACKAGES / "sqlalchemy/ext/asyncio/session.py", sleep=asyncio.sleep)["get"]

    async def handler():
        return await work(get)

    return asyncio.run(handler())


async def gathers(get):
    """At once."""
    return (await asyncio.gather(get(), get()))[0]  # awaits


async def gathers_within(get):
    """A task that the application did not write either, within another one."""
    outer = compiled("async def both(gather, get): return await gather(get(), get())", PACKAGES / "sqlalchemy/a.py")
    return (await asyncio.gather(outer["both"](asyncio.gather, get)))[0][0]  # awaits within


async def shields(get):
    """What goes on when the request is over."""
    return await asyncio.shield(get())  # shields


async def waits(get):
    """A set of tasks."""
    done, _ = await asyncio.wait([asyncio.ensure_future(get())])  # waits
    return done.pop().result()


async def limits(get):
    """For so long."""
    return await asyncio.wait_for(get(), 60)  # limits


@pytest.mark.parametrize(
    ("work", "marker"),
    [
        (gathers, "awaits"),
        (gathers_within, "awaits within"),
        (shields, "shields"),
        (waits, "waits"),
        (limits, "limits"),
    ],
)
def test_a_task_of_a_librarys_coroutine_has_the_line_that_awaits_it(work, marker):
    """No line of the application is on its stack."""
    assert place(awaited_by(work)) == (shown(__file__), line_of(marker), work.__name__)


WORKER = """
async def poll(get):
    return await get()

async def both(get):
    return (await gather(get(), get()))[0]

async def main(get):
    return await get()
"""


@pytest.mark.parametrize(
    ("file", "function", "expected"),
    [("queue/a.py", "poll", "poll"), ("queue/a.py", "both", "both"), ("arq/worker.py", "main", None)],
    ids=["in its own task", "in tasks that it makes", "in a worker's loop"],
)
def test_a_task_of_another_package_has_its_own_line(file, function, expected):
    """A worker polls its queue for itself, however long the application awaits it."""
    work = compiled(WORKER, PACKAGES / file, gather=asyncio.gather)[function]

    async def runs(get):
        return await asyncio.ensure_future(work(get))

    site = awaited_by(runs)
    assert (site.function if site is not None else None) == expected


@pytest.mark.skipif(sys.version_info < (3, 11), reason="TaskGroup is new in Python 3.11")
def test_a_task_of_a_group_has_a_line_of_its_block():
    """The line where the block ends, which waits for the tasks, or where it begins: Python tells either."""

    async def in_a_group(get):
        async with asyncio.TaskGroup() as group:
            task = group.create_task(get())
        return task.result()

    assert awaited_by(in_a_group).function == qualified(in_a_group)


def test_a_task_that_nobody_awaits_has_no_line():
    """It runs in the background."""

    async def lets_run(get):
        task = asyncio.ensure_future(get())
        done = asyncio.Event()
        task.add_done_callback(lambda _: done.set())
        await done.wait()
        return task.result()

    assert awaited_by(lets_run) is None


def test_what_is_typed_at_a_prompt_is_an_application():
    """A REPL, ``python -c``, a notebook's cell."""
    for name in ("<stdin>", "<string>", "<ipython-input-3-5a1b>", "<python-input-0>"):
        assert place(alone(compiled("def ask(): return find()", name)["ask"])) == (name, 1, "ask")


def test_an_application_that_was_installed_is_found_when_there_is_no_other():
    """The first frame outside the client library, its add-ons and drivers."""
    installed = calling(PACKAGES / "shopapp/views.py", "view")
    library = calling(PACKAGES / "sqlalchemy/orm/session.py")
    site = alone(installed, functools.partial(library, callsite.find))
    assert place(site) == (shown(PACKAGES / "shopapp/views.py"), 1, "view")
    assert site.caller is None


@pytest.mark.parametrize(("package", "loop"), [("rq", "work"), ("arq", "main"), ("celery", "start"), ("huey", "run")])
def test_a_program_that_runs_a_worker_is_never_the_culprit(package, loop):
    """The worker asked by itself; what a job asks has the job's line."""
    source = f"def {loop}(inner): return inner()"
    names = compiled(source, str(PACKAGES / package / "worker.py"))
    own = compiled("def beat(): return find()", str(PACKAGES / package / "beat.py"))
    assert names[loop](own["beat"]).function == "beat"
    assert names[loop](lambda: callsite.find()).file == HERE  # noqa: PLW0108 - the job


GENERATED = """\
import sys
from server import run
if __name__ == "__main__":
    sys.argv[0] = sys.argv[0].removesuffix(".exe")
    sys.exit(run())
"""


@pytest.mark.parametrize(("written", "found"), [(GENERATED, False), ("import shop\nshop.main()\n", True)])
def test_the_script_of_a_server_is_not_the_application(written, found, tmp_path, monkeypatch):
    """What an installer generates in ``bin`` starts every request of gunicorn; a program there may be the user's."""
    monkeypatch.setattr(callsite, "_SCRIPTS", str(tmp_path))
    script = tmp_path / "gunicorn"
    script.write_text(written)
    namespace = {"find": functools.partial(calling(PACKAGES / "server/main.py"), callsite.find)}
    alone(exec, compile("site = find()", str(script), "exec"), namespace)  # else this test is the application
    expected = str(script) if found else shown(PACKAGES / "server/main.py")
    assert namespace["site"].file == expected


def test_an_application_outside_packages_comes_before_one_inside():
    """A helper that was installed is not the culprit where the application called it."""
    installed = calling(PACKAGES / "shopapp/queries.py")
    assert installed(callsite.find).file == HERE


@pytest.mark.parametrize(
    ("path", "library"),
    [
        ("sqlalchemy/orm/query.py", True),
        ("sqlmodel/main.py", True),
        ("psycopg/cursor.py", True),
        ("opentelemetry/trace/__init__.py", True),
        ("django/db/models/query.py", True),
        ("django/views/generic.py", False),
        ("sqlalchemy_admin/views.py", False),
    ],
)
def test_client_libraries_are_told_from_other_packages(path, library):
    """By the name of the package, not by how it begins."""
    site = alone(calling(PACKAGES / path), callsite.find)
    assert place(site) == (None if library else (shown(PACKAGES / path), 1, "execute"))


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("<attrs generated init shop.Order>", "shop"),
        ("<frozen importlib._bootstrap>", "importlib._bootstrap"),
        ("<template>", "__main__"),
        ("<string>", "sqlalchemy.util.langhelpers"),
    ],
)
def test_generated_code_is_nobodys(name, module):
    """The names that attrs, Jinja and SQLAlchemy give to what they generate, or the module that it says it is in."""
    generated = compiled("def execute(call): return call()", name, __name__=module)["execute"]
    assert alone(generated, callsite.find) is None
    assert generated(callsite.find).file == HERE


def test_dbsight_is_a_library_but_for_its_demo():
    """The shop is an application like any other."""
    ours = Path(dbsight.__file__).parent
    assert alone(calling(ours / "instrument/sqlalchemy.py"), callsite.find) is None
    assert alone(calling(ours / "demo/handlers.py"), callsite.find).function == "execute"


def test_a_thread_without_an_application_has_no_call_site():
    """A scheduler's thread, a pool's."""
    assert alone(callsite.find) is None


def test_the_walk_ends_at_its_depth():
    """A hundred and fifty frames are enough for any library."""
    call = callsite.find
    for _ in range(160):
        call = functools.partial(calling(PACKAGES / "sqlalchemy/sql/visitors.py"), call)
    assert call() is None


def test_a_line_of_a_template_is_the_templates_own():
    """Jinja compiles templates to Python, and knows which line came from which."""

    class Template:
        @staticmethod
        def get_corresponding_lineno(line):
            return line + 100

    render = compiled("def root(): return find()", "templates/orders.html", __jinja_template__=Template())["root"]
    assert place(render()) == ("templates/orders.html", 101, "root")


def test_the_same_place_is_the_same_object():
    """Attributes are kept on it."""
    first, second = (asks() for _ in range(2))
    assert first is second


def test_code_that_is_gone_is_not_taken_for_code_that_came_in_its_place():
    """Functions that are made and forgotten: their identities are used again, their places are not."""
    for number in range(300):
        ask = compiled(f"def ask{number}(): return find()", f"generated/{number}.py")[f"ask{number}"]
        assert place(ask()) == (str(Path("generated", f"{number}.py")), 1, f"ask{number}")
        del ask


def test_what_is_cached_is_bounded(monkeypatch):
    """An application that generates code for ever does not fill the memory."""
    monkeypatch.setattr(callsite, "_MAX_CACHED", 50)
    for number in range(300):
        compiled("def ask(): return find()", f"generated/{number}.py")["ask"]()
        assert len(callsite._kinds) <= 51
        assert len(callsite._sites) <= 51
        assert len(callsite._kept) <= 60
    assert asks().line == line_of("asked")


def test_a_place_is_found_again_where_it_was():
    """The second time without a walk; another line, another depth and another caller are told apart."""
    asking = SimpleNamespace(depth=0, moves=0)
    library = calling(PACKAGES / "sqlalchemy/engine.py")
    deeper = calling(PACKAGES / "sqlalchemy/orm.py")
    find = functools.partial(callsite.find_near, asking)

    def once():
        return library(find)

    def twice():
        return deeper(functools.partial(library, find)), library(find)

    sites = []
    for _ in range(3):
        sites.append(once())  # noqa: PERF401 - a comprehension would be the caller
    assert sites[0] is sites[1] is sites[2]
    assert (sites[0].function.rpartition(".")[2], asking.moves) == ("once", 1)
    for _ in range(3):
        for site in twice():
            assert (site.file, site.function.rpartition(".")[2], site.caller.line) != (HERE, "once", 0)
            assert site.function.endswith("twice")
    assert once().caller.line != sites[0].caller.line


def test_who_asks_from_anywhere_is_not_followed_for_ever():
    """After many changes of depth it is walked as if nothing was remembered; the places are the same."""
    asking = SimpleNamespace(depth=0, moves=0)
    library = calling(PACKAGES / "sqlalchemy/engine.py")

    def descend(levels):
        return descend(levels - 1) if levels else library(functools.partial(callsite.find_near, asking))

    for _ in range(40):
        assert descend(0).line == descend(3).line
        assert library(functools.partial(descend, 1)).function.endswith("descend")
    assert asking.moves <= 51


def test_what_is_remembered_of_places_is_bounded(monkeypatch):
    """Beyond the bound it is forgotten, and found by walking again."""
    monkeypatch.setattr(callsite, "_MAX_CACHED", 3)
    library = calling(PACKAGES / "sqlalchemy/engine.py")
    asking = SimpleNamespace(depth=0, moves=0)
    for number in range(20):
        namespace = {"library": library, "find": functools.partial(callsite.find_near, asking)}
        exec(
            compile(f"def f():\n    return library(find)\nsite = f()\n{'#' * number}", f"app{number}.py", "exec"),
            namespace,
        )
        assert namespace["site"].function == "f"
    assert len(callsite.near) <= 3
