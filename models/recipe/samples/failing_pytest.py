"""pytest cases of which most fail; held out: judged on, never trained on."""

import datetime
import json
from collections import OrderedDict

import pytest


def total(items):
    return sum(x["price"] * x.get("qty", 1) for x in items)


def test_total():
    assert total([{"price": 3, "qty": 2}, {"price": 4}]) == 11


def test_missing():
    assert total([{"cost": 3}]) == 3


def test_date():
    assert datetime.date(2024, 2, 30).isoformat() == "2024-03-01"


def test_json():
    assert json.loads('{"a": 1,}') == {}


@pytest.mark.parametrize("s,n", [("1", 1), ("x", 0), ("3", 4)])
def test_int(s, n):
    assert int(s) == n


def test_dict():
    assert OrderedDict(a=1, b=[1, 2, 3], c={"d": 5}) == OrderedDict(a=1, b=[1, 2, 4], c={"d": 6})
