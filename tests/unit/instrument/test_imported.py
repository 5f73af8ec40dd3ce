"""Imports that do not go straight: they fail, are repeated, are lazy, or happen while another thread does something."""

import importlib
import importlib.util
import itertools
import sys
import threading

import pytest

import forking
from dbsight import safety
from dbsight.instrument import imported, wrap

NUMBERS = itertools.count()

LIBRARY = """
import sys

class Connection:
    def execute(self, query):
        return query
"""

FAILS_ONCE = """
import sys

class Connection:
    def execute(self, query):
        return query

if not hasattr(sys, "{name}_tried"):
    sys.{name}_tried = True
    raise ImportError("the library behind it is not there yet")
"""

WAITS = """
import sys

class Connection:
    def execute(self, query):
        return query

sys.{name}_begun.set()
sys.{name}_go_on.wait(30)
"""


@pytest.fixture
def library(tmp_path, monkeypatch):
    """Makes a library of its own name; a submodule where the name has a dot."""
    monkeypatch.syspath_prepend(tmp_path)
    made = []

    def make(text=LIBRARY, submodule=""):
        name = f"library{next(NUMBERS)}"
        made.append(name)
        if submodule:
            (tmp_path / name).mkdir()
            (tmp_path / name / "__init__.py").write_text("")
            (tmp_path / name / f"{submodule}.py").write_text(text.format(name=name))
            name = f"{name}.{submodule}"
        else:
            (tmp_path / f"{name}.py").write_text(text.format(name=name))
        importlib.invalidate_caches()
        return name

    yield make
    for name in [each for each in sys.modules if each.partition(".")[0] in made]:
        del sys.modules[name]


@pytest.fixture
def gates(monkeypatch):
    """Makes the two events of a library that waits while it is imported."""

    def make(name):
        begun, go_on = threading.Event(), threading.Event()
        monkeypatch.setattr(sys, f"{name}_begun", begun, raising=False)
        monkeypatch.setattr(sys, f"{name}_go_on", go_on, raising=False)
        return begun, go_on

    return make


class Watcher:
    """What an instrumentor does: it wraps one method, and notes its calls."""

    def __init__(self, name):
        self.seen = []
        self.patched = 0
        self.patches = wrap.Patches()
        self.patches.when_imported(name, self.patch)

    def patch(self, module):
        """Wrap it."""
        self.patched += 1
        self.patches.wrap(module.Connection, "execute", before=lambda _, query: self.seen.append(query))


@pytest.fixture
def watch():
    """Watches a library by its name, and stops after the test; nothing stays replaced."""
    watchers = []

    def start(name):
        watchers.append(Watcher(name))
        return watchers[-1]

    before = list(wrap.replaced)
    yield start
    for watcher in watchers:
        watcher.patches.undo()
    assert wrap.replaced == before


def test_an_import_that_failed_half_way_is_watched_when_it_is_repeated(library, watch):
    """The module of the first attempt is thrown away; that of the second is wrapped, once."""
    name = library(FAILS_ONCE)
    watcher = watch(name)
    with pytest.raises(ImportError, match="not there yet"):
        importlib.import_module(name)
    assert watcher.patched == 0
    assert importlib.import_module(name).Connection().execute("SELECT 1") == "SELECT 1"
    assert (watcher.seen, watcher.patched) == (["SELECT 1"], 1)


def test_a_library_that_is_imported_by_a_submodule_first_is_watched(library, watch):
    """Its package is imported on the way."""
    name = library(submodule="client")
    watcher = watch(name)
    importlib.import_module(name).Connection().execute("SELECT 1")
    assert watcher.seen == ["SELECT 1"]


def test_a_submodule_is_watched_when_its_package_failed_after_it(library, watch, tmp_path):
    """Python keeps the submodule, and the second attempt does not execute it again."""
    name = library(submodule="client")
    package = name.partition(".")[0]
    (tmp_path / package / "__init__.py").write_text(f"import {name}\n" + FAILS_ONCE.format(name=package))
    watcher = watch(name)
    with pytest.raises(ImportError, match="not there yet"):
        importlib.import_module(package)
    importlib.import_module(name).Connection().execute("SELECT 1")
    assert (watcher.seen, watcher.patched) == (["SELECT 1"], 1)


def test_a_reloaded_library_works_and_is_watched_from_the_next_start_on(library, watch):
    """Its classes are others after that: the old ones stay watched, nothing of the new ones is touched by the end."""
    name = library()
    module = importlib.import_module(name)
    first = watch(name)
    old = module.Connection
    assert importlib.reload(module) is module
    assert module.Connection().execute("new") == "new"
    old().execute("old")
    assert (first.seen, first.patched) == (["old"], 1)
    first.patches.undo()
    second = watch(name)
    module.Connection().execute("again")
    assert (first.seen, second.seen) == (["old"], ["again"])


def lazily(name):
    """What the documentation of importlib does."""
    spec = importlib.util.find_spec(name)
    loader = importlib.util.LazyLoader(spec.loader)
    spec.loader = loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    loader.exec_module(module)
    return module


def is_loaded(module):
    """Whether a lazy module was executed; to look at an attribute would do that."""
    return "Connection" in object.__getattribute__(module, "__dict__")


@pytest.mark.parametrize("first", ["lazy", "watched"])
def test_a_lazy_library_is_watched_when_it_is_used_and_not_loaded_for_that(library, watch, first):
    """Whichever comes first."""
    name = library()
    watcher = watch(name) if first == "watched" else None
    module = lazily(name)
    watcher = watcher or watch(name)
    assert (is_loaded(module), watcher.patched) == (False, 0)
    assert module.Connection().execute("SELECT 1") == "SELECT 1"
    assert (watcher.seen, watcher.patched) == (["SELECT 1"], 1)


def test_a_lazy_library_that_is_used_after_the_end_is_left_alone(library, watch):
    """What waited for it was called off."""
    name = library()
    module = lazily(name)
    watcher = watch(name)
    watcher.patches.undo()
    assert not is_loaded(module)
    assert module.Connection().execute("SELECT 1") == "SELECT 1"
    assert (watcher.seen, watcher.patched) == ([], 0)


def test_a_library_that_is_being_imported_when_watching_ends_is_left_alone(library, watch, gates):
    """The import goes on in its thread, and nothing of it is replaced."""
    name = library(WAITS)
    begun, go_on = gates(name)
    watcher = watch(name)
    importing = threading.Thread(target=importlib.import_module, args=(name,))
    importing.start()
    assert begun.wait(30)
    watcher.patches.undo()
    go_on.set()
    importing.join(30)
    assert sys.modules[name].Connection().execute("SELECT 1") == "SELECT 1"
    assert (watcher.seen, watcher.patched) == ([], 0)


def test_watching_that_ends_while_it_wraps_leaves_nothing_wrapped(library, watch):
    """Another thread calls uninstrument() in the middle of it."""
    name = library()
    watcher = watch(name)
    wrapping = watcher.patch

    def patch_while_it_ends(module):
        ending = threading.Thread(target=watcher.patches.undo)
        ending.start()
        ending.join(30)
        wrapping(module)

    watcher.patches.undo()
    watcher.patches.when_imported(name, patch_while_it_ends)
    importlib.import_module(name).Connection().execute("SELECT 1")
    assert (watcher.seen, watcher.patched) == ([], 1)


@pytest.mark.swallows_errors
def test_a_library_that_cannot_be_wrapped_is_imported_all_the_same(library, watch):
    """And the next one that waits for it is called."""
    name = library("class Other: ...\n")
    broken, watcher = watch(name), watch(name)
    assert importlib.import_module(name).Other is not None
    assert (broken.patched, watcher.patched) == (1, 1)
    assert safety.errors() == {f"instrument.imported.{name}": 2}


def test_a_forked_child_watches_what_it_imports(library, watch):
    """The library was awaited before the fork, and imported by the child alone."""
    name = library()
    watcher = watch(name)

    def work():
        importlib.import_module(name).Connection().execute("SELECT 1")
        return watcher.seen

    assert forking.in_child(work) == ["SELECT 1"]
    assert (watcher.seen, name in sys.modules) == ([], False)


def test_a_child_that_is_forked_while_another_thread_imports_a_library_does_not_wait_for_it(library, watch, gates):
    """That thread is not in the child, so its import never ends there; another library is watched."""
    name, other = library(WAITS), library()
    begun, go_on = gates(name)
    importing = threading.Thread(target=importlib.import_module, args=(name,))
    importing.start()
    assert begun.wait(30)

    def work():
        halved, whole = watch(name), watch(other)
        importlib.import_module(other).Connection().execute("SELECT 1")
        seen = (halved.patched, whole.seen)
        halved.patches.undo()
        whole.patches.undo()
        return seen

    try:
        with forking.held_elsewhere(imported._lock):
            assert forking.in_child(work, 20) == (0, ["SELECT 1"])
    finally:
        go_on.set()
        importing.join(30)
    assert watch(name).patched == 1
