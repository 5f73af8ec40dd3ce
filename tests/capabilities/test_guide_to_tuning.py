"""The blocks of a guide to tuning a layer of data stores; README.md has the table."""

import asyncio
import hashlib
import json
import logging
import time
from types import SimpleNamespace

import pytest
from sqlalchemy import create_engine, text

import dbsight
from capabilities.guided import run
from capabilities.records import Database, Query, Record, StreamConfig
from dbsight import profiler

POOLS = """
from dbsight import ConnectionPoolManager

manager = ConnectionPoolManager()

# Get pool statistics
info = manager.get_pool_info()
for pool_name, stats in info.items():
    print(f"Pool: {pool_name}")
    print(f"  Event Loop: {stats['loop_id']}")
    print(f"  Config Hash: {stats['config_hash']}")

# Monitor pool size
count = manager.get_pool_count()
if count > 100:
    logger.warning(f"High pool count: {count}")
"""

INDEXES = """
# Create appropriate indexes
async def optimize_postgres(db):
    # JSONB GIN index for data field
    await db.execute(\"""
        CREATE INDEX IF NOT EXISTS idx_data_gin
        ON records USING GIN (data)
    \""")

    # B-tree index for timestamp queries
    await db.execute(\"""
        CREATE INDEX IF NOT EXISTS idx_created_at
        ON records (created_at DESC)
    \""")

    # Partial index for active records
    await db.execute(\"""
        CREATE INDEX IF NOT EXISTS idx_active
        ON records (id)
        WHERE data->>'status' = 'active'
    \""")
"""

BULK_INSERT = """
# Optimal batch insertion
async def bulk_insert(db, records):
    # For small datasets (< 1000 records)
    if len(records) < 1000:
        return await db.create_batch(records)

    # For large datasets, use streaming
    async def record_generator():
        for record in records:
            yield record

    result = await db.stream_write(
        record_generator(),
        config=StreamConfig(
            batch_size=500,  # Optimal batch size
            parallel=True     # Enable parallel processing
        )
    )
    return result
"""

BULK_READ = """
# Efficient bulk reading with pagination
async def read_all_optimized(db, query=None):
    records = []

    # Use streaming for large result sets
    stream_config = StreamConfig(
        batch_size=1000,  # Fetch 1000 at a time
        buffer_size=5000   # Buffer up to 5000 records
    )

    async for record in db.stream_read(query, stream_config):
        records.append(record)

        # Process in chunks to avoid memory issues
        if len(records) >= 10000:
            await process_chunk(records)
            records = []

    # Process remaining records
    if records:
        await process_chunk(records)
"""

PREPARED = '''
# Prepared statements for repeated queries
async def find_by_status(db, status):
    # Statement is prepared and cached
    query = """
        SELECT * FROM records
        WHERE data->>'status' = $1
        ORDER BY created_at DESC
        LIMIT 100
    """
    return await db.execute_query(query, status)
'''

STREAMING = """
# Memory-efficient processing
async def process_large_dataset(db):
    processed = 0

    # Stream records instead of loading all into memory
    async for record in db.stream_read():
        # Process one record at a time
        await process_record(record)
        processed += 1

        # Periodic cleanup
        if processed % 10000 == 0:
            import gc
            gc.collect()
            logger.info(f"Processed {processed} records")
"""

PARALLEL = """
import asyncio
from typing import List

async def parallel_operations(db, items: List):
    # Process items in parallel batches
    batch_size = 10

    for i in range(0, len(items), batch_size):
        batch = items[i:i + batch_size]

        # Create tasks for parallel execution
        tasks = [
            process_item(db, item)
            for item in batch
        ]

        # Execute in parallel and wait for all
        results = await asyncio.gather(*tasks)

        # Handle results
        for result in results:
            if result.error:
                logger.error(f"Processing failed: {result.error}")
"""

RATE_LIMIT = """
# Limit concurrent operations
class RateLimitedDatabase:
    def __init__(self, db, max_concurrent=10):
        self.db = db
        self.semaphore = asyncio.Semaphore(max_concurrent)

    async def create(self, record):
        async with self.semaphore:
            return await self.db.create(record)
"""

CACHE = """
from functools import lru_cache
from typing import Optional
import hashlib
import json

class CachedDatabase:
    def __init__(self, db):
        self.db = db
        self._cache = {}
        self._cache_ttl = 300  # 5 minutes

    async def read_cached(self, id: str) -> Optional[Record]:
        # Check cache first
        cache_key = f"record:{id}"
        if cache_key in self._cache:
            cached, timestamp = self._cache[cache_key]
            if time.time() - timestamp < self._cache_ttl:
                return cached

        # Fetch from database
        record = await self.db.read(id)
        if record:
            self._cache[cache_key] = (record, time.time())

        return record

    def invalidate(self, id: str):
        cache_key = f"record:{id}"
        self._cache.pop(cache_key, None)
"""

QUERY_CACHE = """
class QueryCache:
    def __init__(self):
        self._cache = {}
        self._max_size = 1000

    def _hash_query(self, query: Query) -> str:
        # Create deterministic hash of query
        query_str = json.dumps(query.to_dict(), sort_keys=True)
        return hashlib.md5(query_str.encode()).hexdigest()

    async def search_cached(self, db, query: Query):
        cache_key = self._hash_query(query)

        # Check cache
        if cache_key in self._cache:
            return self._cache[cache_key]

        # Execute query
        results = await db.search(query)

        # Cache results (with size limit)
        if len(self._cache) >= self._max_size:
            # Remove oldest entry
            oldest = next(iter(self._cache))
            del self._cache[oldest]

        self._cache[cache_key] = results
        return results
"""

MEASURE = """
from dbsight import PerformanceMonitor

# Usage
monitor = PerformanceMonitor()

async with monitor.measure("create"):
    await db.create(record)

async with monitor.measure("search"):
    await db.search(query)

monitor.report()
"""

BENCHMARK = '''
#!/usr/bin/env python
import asyncio
import time

async def benchmark_backend(backend_type: str, config: dict, num_records: int = 1000):
    """Benchmark a backend's performance."""

    db = await AsyncDatabase.create(backend_type, config)
    records = [
        Record({"id": i, "data": f"test_{i}"})
        for i in range(num_records)
    ]

    # Benchmark writes
    start = time.perf_counter()
    ids = await db.create_batch(records)
    write_time = time.perf_counter() - start

    # Benchmark reads
    start = time.perf_counter()
    retrieved = await db.read_batch(ids)
    read_time = time.perf_counter() - start

    # Benchmark search
    start = time.perf_counter()
    results = await db.search(Query().limit(100))
    search_time = time.perf_counter() - start

    # Cleanup
    await db.clear()
    await db.close()

    # Report results
    print(f"Backend: {backend_type}")
    print(f"  Write: {num_records / write_time:.0f} records/sec")
    print(f"  Read: {num_records / read_time:.0f} records/sec")
    print(f"  Search: {search_time * 1000:.2f}ms for 100 records")

    return {
        "write_rps": num_records / write_time,
        "read_rps": num_records / read_time,
        "search_ms": search_time * 1000
    }

# Run benchmarks
async def main():
    backends = {
        "memory": {},
        "postgres": {"host": "localhost", "database": "test"},
        "elasticsearch": {"hosts": ["http://localhost:9200"], "index": "test"},
        "s3": {"bucket": "test-bucket"}
    }

    for backend, config in backends.items():
        try:
            await benchmark_backend(backend, config)
        except Exception as e:
            print(f"Failed to benchmark {backend}: {e}")

if __name__ == "__main__":
    asyncio.run(main())
'''


class Calls(list):
    """A coroutine function that remembers what it was called with."""

    async def __call__(self, *arguments):
        self.append(arguments)
        return SimpleNamespace(error=None)


@pytest.fixture
def profiled(sqlalchemy, monkeypatch, tmp_path):
    """Runs a coroutine function on a database, and returns the profile of what it did."""
    monkeypatch.setattr(profiler, "instrument_libraries", lambda: None)
    dbsight.create_performance_monitor()

    async def work(function):
        database = await Database(tmp_path / "records.db").made()
        with dbsight.profile() as profile:
            await function(database)
        await database.close()
        return profile

    return lambda function: asyncio.run(work(function))


def rules(profile):
    """Rules that found something."""
    return [finding.rule for finding in profile.findings()]


def test_pools_are_listed_with_their_event_loop_and_configuration(sqlalchemy, capsys):
    """And counted."""
    engine = create_engine("sqlite://")
    with engine.connect():
        names = run(POOLS, logger=logging.getLogger("guide"))
    printed = capsys.readouterr().out
    assert printed.startswith("Pool: ")
    assert "  Event Loop: None\n  Config Hash: " in printed
    assert names["count"] >= 1
    engine.dispose()


@pytest.mark.parametrize(("number", "batches"), [(20, 1), (1000, 2)], ids=["batch", "stream"])
def test_rows_written_in_batches_are_few_queries_and_no_finding(profiled, number, batches):
    """Where the same rows one by one are."""
    bulk_insert = run(BULK_INSERT, StreamConfig=StreamConfig)["bulk_insert"]
    records = [Record(name=str(each)) for each in range(number)]
    profile = profiled(lambda database: bulk_insert(database, records))
    assert (profile.query_count, rules(profile)) == (batches, [])
    assert sum(query.row_count for query in profile.queries) == number

    async def one_by_one(database):
        for record in records[:20]:
            await database.create(record)

    assert rules(profiled(one_by_one)) == ["row_by_row_write"]


def test_rows_that_are_streamed_are_one_query(profiled):
    """With its rows, however they are processed."""
    processed, logger = Calls(), logging.getLogger("guide")
    read_all = run(BULK_READ, StreamConfig=StreamConfig, process_chunk=processed)["read_all_optimized"]
    process = run(STREAMING, process_record=processed, logger=logger)["process_large_dataset"]

    async def read(database):
        await database.create_batch([Record(name=str(each)) for each in range(50)])
        await read_all(database)
        await process(database)

    profile = profiled(read)
    assert [(query.summary, query.row_count) for query in profile.queries] == [
        ("INSERT records", 50),
        ("SELECT records", 50),
        ("SELECT records", 50),
    ]
    assert len(processed) == 1 + 50


def test_indexes_are_advised_until_they_are_there(postgresql):
    """Each by a query that needs it, proved by the planner; with the guide's own indexes nothing is left to advise."""
    engine = create_engine(postgresql.url("postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE records (id serial PRIMARY KEY, data jsonb, created_at timestamptz)"))
        connection.execute(
            text(
                "INSERT INTO records (data, created_at) SELECT jsonb_build_object('status',"
                " CASE n WHEN 77 THEN 'active' ELSE 'done' END, 'text', repeat('x', 200)),"
                " timestamptz '2026-01-01' + n * interval '1 minute'"
                " FROM generate_series(1, 20000) AS n"
            )
        )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE records"))
    queries = (
        """SELECT id FROM records WHERE data @> '{"status": "active"}'""",
        "SELECT id FROM records ORDER BY created_at DESC LIMIT 10",
        "SELECT id FROM records WHERE data->>'status' = 'active' ORDER BY id",
    )

    def advised():
        found = [dbsight.advise_index(text(query), engine, proof="transaction") for query in queries]
        return [[(each.ddl.partition(" ON ")[2], each.proof) for each in advice] for advice in found]

    assert advised() == [
        [("records USING gin (data)", "proved")],
        [("records (created_at)", "proved")],
        [("records ((data ->> 'status'))", "proved")],
    ]

    class Records:
        """The guide's database."""

        async def execute(self, statement):
            """Run one statement."""
            with engine.begin() as connection:
                connection.execute(text(statement))

    asyncio.run(run(INDEXES)["optimize_postgres"](Records()))
    assert advised() == [[], [], []]
    engine.dispose()


def test_a_statement_with_a_parameter_is_one_fingerprint(profiled):
    """Whatever the parameter is."""
    find = run(PREPARED)["find_by_status"]

    async def ask(database):
        for status in ("active", "new"):
            await find(database, status)

    profile = profiled(ask)
    assert len({query.fingerprint for query in profile.queries}) == 1
    assert profile.query_count == 2


def test_concurrent_work_belongs_to_the_profile_around_it(profiled):
    """Gathered in batches, and behind a semaphore."""
    made = []

    async def process_item(database, item):
        made.append(await database.create(item))
        return SimpleNamespace(error=None)

    parallel = run(PARALLEL, process_item=process_item, logger=logging.getLogger("guide"))["parallel_operations"]
    assert profiled(lambda database: parallel(database, [Record(name="a")] * 12)).query_count == 12
    limited = run(RATE_LIMIT, asyncio=asyncio)["RateLimitedDatabase"]

    async def create(database):
        narrow = limited(database, max_concurrent=2)
        await asyncio.gather(*(narrow.create(Record(name="b")) for _ in range(5)))

    assert profiled(create).query_count == 5


def test_what_a_cache_answers_is_no_query(profiled):
    """Of single records, and of searches."""
    cached_database = run(CACHE, Record=Record, time=time)["CachedDatabase"]
    query_cache = run(QUERY_CACHE, Query=Query, json=json, hashlib=hashlib)["QueryCache"]

    async def read(database):
        await database.create_batch([Record(name="a")])
        cached = cached_database(database)
        searches = query_cache()
        for _ in range(3):
            await cached.read_cached("1")
            await searches.search_cached(database, Query().limit(1))
        cached.invalidate("1")
        await cached.read_cached("1")

    assert [query.summary for query in profiled(read).queries] == [
        "INSERT records",
        "SELECT records",
        "SELECT records",
        "SELECT records",
    ]


def test_operations_are_measured_and_reported(process, capsys):
    """By name."""
    calls = Calls()
    run(MEASURE, db=SimpleNamespace(create=calls, search=calls), record=1, query=2)
    assert calls == [(1,), (2,)]
    printed = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in printed] == ["create", "search"]
    assert all("avg=" in line and "min=" in line and "max=" in line for line in printed)


def test_a_simple_benchmark_is_a_handful_of_queries(sqlalchemy, monkeypatch, tmp_path, capsys):
    """Batches, one read, one search, for each back end that there is."""
    monkeypatch.setattr(profiler, "instrument_libraries", lambda: None)

    class AsyncDatabase:
        @staticmethod
        async def create(kind, config):
            if kind not in {"memory", "postgres"}:
                raise LookupError(kind)
            return await Database(tmp_path / f"{kind}.db").made()

    names = run(BENCHMARK, AsyncDatabase=AsyncDatabase, Record=Record, Query=Query)
    with dbsight.profile() as profile:
        asyncio.run(names["main"]())
    assert [query.summary for query in profile.queries if not query.summary.startswith(("PRAGMA", "CREATE"))] == 2 * [
        "INSERT records",
        "SELECT records",
        "SELECT records",
        "DELETE records",
    ]
    printed = capsys.readouterr().out
    assert "Backend: memory\n  Write: " in printed
    assert "Failed to benchmark s3: s3\n" in printed
