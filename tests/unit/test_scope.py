"""``allow``: where it holds, and where it does not."""

import asyncio
import contextvars
import threading

import pytest

from dbsight.scope import allow, allowed

REASON = "three rows at most"
ONE, TWO = frozenset({"n_plus_one"}), frozenset({"n_plus_one", "slow_query"})


@pytest.fixture(autouse=True)
def _nothing_is_allowed():
    """Each test starts and ends with nothing allowed."""
    assert allowed() == frozenset()
    yield
    assert allowed() == frozenset()


def test_rules_are_allowed_inside_the_with_and_not_after_it():
    """Whether or not it is left by an exception, which is the application's own and goes through."""
    with allow("n_plus_one", reason=REASON):
        assert allowed() == ONE
    assert allowed() == frozenset()
    with pytest.raises(KeyError), allow("n_plus_one", reason=REASON):
        raise KeyError
    assert allowed() == frozenset()


def test_nested_scopes_add_up_and_come_off_one_by_one():
    """The same rule twice is still allowed until the outer one ends."""
    with allow("n_plus_one", reason=REASON):
        with allow("slow_query", "n_plus_one", reason=REASON):
            assert allowed() == TWO
        assert allowed() == ONE
        with allow("n_plus_one", reason=REASON):
            pass
        assert allowed() == ONE


def test_one_instance_may_be_entered_again_while_it_is_entered():
    """A module may keep one."""
    known = allow("n_plus_one", reason=REASON)
    with known:
        with known:
            assert allowed() == ONE
        assert allowed() == ONE


@pytest.mark.parametrize("rules", [(), ("n_plus_one",)])
def test_rules_and_a_reason_are_required(rules):
    """The next reader will ask."""
    with pytest.raises(ValueError, match="needs a reason" if rules else "needs at least one rule"):
        allow(*rules, reason="" if rules else REASON)
    with pytest.raises(TypeError):
        allow("n_plus_one")


def test_a_decorated_function_is_itself_but_for_what_is_allowed():
    """Arguments, result, name and exceptions are its own; recursion is no matter."""

    @allow("n_plus_one", reason=REASON)
    def count(depth, *, step=1):
        """How deep it went."""
        assert allowed() == ONE
        return 1 + count(depth - step) if depth else 0

    assert count(3, step=1) == 3
    assert (count.__name__, count.__doc__) == ("count", "How deep it went.")
    with pytest.raises(TypeError):
        count()


def test_a_decorated_coroutine_function_stays_one():
    """Frameworks ask; what is allowed spans its awaits and what it gathers, and nobody else's."""

    @allow("n_plus_one", reason=REASON)
    async def view():
        await asyncio.sleep(0)
        return [allowed(), *await asyncio.gather(child(), asyncio.to_thread(allowed))]

    async def child():
        await asyncio.sleep(0)
        return allowed()

    async def main():
        return await asyncio.gather(view(), child(), view())

    assert asyncio.iscoroutinefunction(view)
    assert asyncio.run(main()) == [[ONE] * 3, frozenset(), [ONE] * 3]


def test_async_with_is_the_same_as_with():
    """For symmetry: nothing is awaited."""

    async def main():
        async with allow("n_plus_one", reason=REASON) as scope:
            assert scope.rules == allowed() == ONE
        return allowed()

    assert asyncio.run(main()) == frozenset()


def test_tasks_that_share_an_instance_and_overlap_do_not_meet():
    """The first to enter is the first to leave; neither takes the other's permission with it."""
    known = allow("n_plus_one", reason=REASON)

    async def first(entered, left):
        with known:
            await entered.wait()
        left.set()
        return allowed()

    async def second(entered, left):
        with known:
            entered.set()
            await left.wait()
            return allowed()

    async def main():
        entered, left = asyncio.Event(), asyncio.Event()
        return await asyncio.gather(first(entered, left), second(entered, left))

    assert asyncio.run(main()) == [frozenset(), ONE]


def test_a_cancelled_task_leaves_nothing_behind():
    """The scope ends as the task does."""

    async def main():
        async def forever():
            with allow("n_plus_one", reason=REASON):
                await asyncio.Event().wait()

        task = asyncio.create_task(forever())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return allowed()

    assert asyncio.run(main()) == frozenset()


def test_a_new_thread_starts_with_nothing_allowed():
    """ContextVars do not follow into plain threads; the thread's own scope is its own."""
    seen = []

    def work():
        seen.append(allowed())
        with allow("slow_query", reason=REASON):
            seen.append(allowed())

    with allow("n_plus_one", reason=REASON):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        seen.append(allowed())
    assert seen == [frozenset(), frozenset({"slow_query"}), ONE]


def test_leaving_in_another_context_than_it_was_entered_in_does_not_raise():
    """As asynchronous fixtures and generators of web frameworks do."""
    known = allow("n_plus_one", reason=REASON)
    elsewhere = contextvars.copy_context()
    elsewhere.run(known.__enter__)
    known.__exit__(None, None, None)
    assert elsewhere.run(allowed) == ONE
