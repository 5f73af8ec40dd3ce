"""The rule es_query_context: searches as the documentation of Elasticsearch shows them, right and wrong."""

import json

import pytest

from builders import make_operation
from dbsight.config import Settings
from dbsight.detect.rules.es_query_context import EsQueryContext
from dbsight.model import Database
from dbsight.statement.stores import read_call, shape_of
from unit.detect.loops import make_window

NODE = Database("elasticsearch", None, "localhost", 9200)


def search(body, duration=0.01, **fields):
    """One search with this body."""
    statement = read_call("elasticsearch", "search", "orders", shape_of(json.dumps(body)))
    return make_operation(statement, database=NODE, duration=duration, **fields)


def judge(*operations):
    """What the rule finds."""
    return list(EsQueryContext(Settings()).complete(make_window(operations)))


DETECTED = {
    "match on a status": ({"query": {"match": {"status": "active"}}}, '{"term": {"status.keyword": …}}'),
    "term": ({"query": {"term": {"user.id": "kimchy"}}}, '{"term": {"user.id": …}}'),
    "terms": ({"query": {"terms": {"user.id": ["kimchy", "elkbee"]}}}, '{"terms": {"user.id": …}}'),
    "range": ({"query": {"range": {"age": {"gte": 10, "lte": 20}}}}, '{"range": {"age": …}}'),
    "term beside full text": (
        {"query": {"bool": {"must": [{"match": {"title": "search"}}, {"term": {"status": "published"}}]}}},
        '{"term": {"status": …}}',
    ),
    "term in a should": ({"query": {"bool": {"should": {"term": {"tags": "env1"}}}}}, '{"term": {"tags": …}}'),
    "nested": (
        {"query": {"nested": {"path": "lines", "query": {"match": {"lines.sku": "K-1"}}}}},
        '{"term": {"lines.sku.keyword": …}}',
    ),
    "match on a keyword": ({"query": {"match": {"city.keyword": "Oslo"}}}, '{"term": {"city.keyword": …}}'),
}
LEFT_ALONE = {
    "full text": {"query": {"match": {"title": "quick brown fox"}}},
    "filter": {"query": {"bool": {"filter": [{"term": {"status": "published"}}]}}},
    "filter beside full text": {
        "query": {"bool": {"must": {"match": {"title": "fox"}}, "filter": {"term": {"status": "published"}}}}
    },
    "must_not": {"query": {"bool": {"must_not": {"range": {"age": {"gte": 10}}}}}},
    "constant_score": {"query": {"constant_score": {"filter": {"term": {"user.id": "kimchy"}}, "boost": 1.2}}},
    "boost": {"query": {"term": {"user.id": {"value": "kimchy", "boost": 1.0}}}},
    "sorted": {"query": {"term": {"status": "open"}}, "sort": [{"placed": "desc"}]},
    "aggregation": {"query": {"term": {"status": "open"}}, "aggs": {"by_day": {"terms": {"field": "day"}}}},
    "ranked on purpose": {"query": {"function_score": {"query": {"term": {"status": "open"}}, "random_score": {}}}},
    "everything": {"query": {"match_all": {}}},
    "multi_match": {"query": {"multi_match": {"query": "this is a test", "fields": ["subject", "message"]}}},
}


@pytest.mark.parametrize(("body", "advice"), DETECTED.values(), ids=DETECTED)
def test_detects_a_condition_that_is_scored_without_need(body, advice):
    """And writes it as a filter."""
    (found,) = judge(search(body))
    assert (found.severity, found.suggestion) == ("info", f'query={{"bool": {{"filter": [{advice}]}}}}')
    assert found.call_site.function == "list_orders"


@pytest.mark.parametrize("body", LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_leaves_alone_what_ranks_filters_or_is_not_scored(body):
    """As it should be."""
    assert judge(search(body)) == []


def test_the_suggestion_makes_the_finding_go_away():
    """Pasted, with a value in place of the ellipsis."""
    (found,) = judge(search({"query": {"match": {"status": "active"}}}))
    fixed = json.loads(found.suggestion.removeprefix("query=").replace("…", '"active"'))
    assert judge(search({"query": fixed})) == []


def test_searches_that_take_half_a_second_together_are_a_warning():
    """In one request; each is counted."""
    slow = search({"query": {"term": {"status": "open"}}}, 0.3)
    (found,) = judge(slow, slow)
    assert (found.severity, found.count, found.current_value) == ("warning", 2, 0.6)


def test_leaves_alone_what_is_allowed_what_has_no_body_and_other_systems():
    """A body that is not recorded is unknown; a body that was cut is no JSON."""
    body = {"query": {"term": {"status": "open"}}}
    unknown = read_call("elasticsearch", "search", "orders", "?")
    cut = read_call("elasticsearch", "search", "orders", '{"query":{"term":{"sta')
    assert judge(search(body, allowed=frozenset({"es_query_context"}))) == []
    assert judge(make_operation(unknown, database=NODE), make_operation(cut, database=NODE)) == []
    assert judge(make_operation('SELECT \'{"query":{"term":{"status":1}}}\'')) == []
