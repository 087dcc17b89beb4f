"""A body of 4 MiB of any shape is read, or refused in few words, within two seconds of computing."""

import json
from collections.abc import Callable

import pytest

from service.errors import InvalidGrid
from service.grid.document import JSON_TYPES, MAX_VALUES, YAML_TYPES, parse_document
from service.grid.expansion import expand
from service.grid.outline import dataset_ids
from service.grid.tokens import token
from service.questions.claimed_grids import read_claimed
from tests.service.computing import in_time

SECONDS = 2.0
LARGEST = 4 * 2**20


def numbered(form: str, before: str, after: str, join: str = ",") -> str:
    """As many different units as fit between two ends."""
    room, count, digits, of_number = LARGEST - 40 - len(before) - len(after), 0, 1, form.count("%d")
    while room > 0:
        length = len(form) + len(join) + of_number * (digits - len("%d"))
        fitting = min(10**digits - count, -(-room // length))
        room, count, digits = room - fitting * length, count + fitting, digits + 1
    return before + listed(form, range(count), join) + after


def repeated(unit: str, before: str = "", after: str = "", join: str = ",") -> str:
    """As many equal units as fit between two ends."""
    count = (LARGEST - len(before) - len(after)) // (len(unit) + len(join))
    return before + join.join([unit] * count) + after


def listed(unit: str, numbers: int | range, join: str = ",") -> str:
    """Units with numbers, from 1 where only their count is told."""
    numbers = range(1, numbers + 1) if isinstance(numbers, int) else numbers
    if "%d" not in unit:
        return join.join([unit] * len(numbers))
    return join.join([unit.replace("%d", text) for text in map(str, numbers)])


def excluding(steps: str, entries: str) -> str:
    """A grid with one axis and exclusions."""
    return '{"axes":{"training.steps":[' + steps + ']},"exclude":[' + entries + "]}"


RANGE = '{"log":[0.001,0.9,99999]}'
CLAIM = '{"id":"c%d","metric":"alignment","every_trial":">= 0.5","where":"WHERE"}'
# made when they are asked for: all of them together are a third of a GiB
JSON: dict[str, Callable[[], str]] = {
    "many keys": lambda: numbered('"k%d":1', "{", "}"),
    "one of many keys twice": lambda: numbered('"k%d":1', "{", ',"k0":1}'),
    "one key many times": lambda: repeated('"a":1', "{", "}"),
    "many keys inside": lambda: numbered('"k%d":1', '{"trial":{"training":{', "}}}"),
    "many keys below": lambda: numbered('"k%d":1', '{"trial":{"training":{"stop":{', "}}}}"),
    "many axes": lambda: numbered('"training.step%d":[1]', '{"axes":{', "}}"),
    "many keys of an exclusion": lambda: numbered('"training.step%d":1', '{"exclude":[{', "}]}"),
    "many keys of a claim": lambda: numbered('"k%d":1', '{"claims":[{', "}]}"),
    "many claims": lambda: repeated('{"id":1}', '{"claims":[', "]}"),
    "long filters": lambda: (
        '{"claims":[' + listed(CLAIM.replace("WHERE", " and ".join(["seed > 1"] * 300)), 200) + "]}"
    ),
    "open brackets in filters": lambda: '{"claims":[' + listed(CLAIM.replace("WHERE", "(" * 3900), 200) + "]}",
    "one huge filter": lambda: '{"claims":[' + CLAIM.replace("WHERE", "not " * 900_000) + "]}",
    "a wide list": lambda: repeated("1", '{"seeds":[', "]}"),
    "equal seeds": lambda: '{"seeds":[' + listed("1", 490_000) + "]}",
    "wrong seeds": lambda: '{"seeds":[' + listed('"x"', 490_000) + "]}",
    "many seeds": lambda: '{"seeds":[' + listed("%d", 450_000) + "]}",
    "a long axis": lambda: '{"axes":{"training.learning_rate":[' + listed("0.%d", 400_000) + "]}}",
    "one value on an axis again and again": lambda: '{"axes":{"training.steps":[' + listed("5", 99_000) + "]}}",
    "wrong values on an axis": lambda: '{"axes":{"training.steps":[' + listed('"x"', 99_000) + "]}}",
    "an axis of mappings": lambda: '{"axes":{"training":[' + listed('{"steps":%d}', 200_000) + "]}}",
    "wrong widths": lambda: '{"trial":{"network":{"width":[' + listed('"b"', 490_000) + "]}}}",
    "many layers": lambda: '{"trial":{"measure":{"layers":[' + listed("%d", 450_000) + "]}}}",
    "wrong metrics": lambda: '{"trial":{"measure":{"metrics":[' + listed('"alignmnt"', 340_000) + "]}}}",
    "an axis product": lambda: (
        '{"axes":{"training.learning_rate":{"log":[0.001,0.1,316]},"training.weight_decay":{"linear":[0.001,0.1,316]}}}'
    ),
    "rates": lambda: '{"axes":{"training.learning_rate":[' + listed("0.%d", 100_000) + "]}}",
    "full ranges over three sections": lambda: (
        '{"zip":[{"data.noise":R,"init.scale":R,"training.learning_rate":R}]}'.replace("R", RANGE)
    ),
    "a stack for each point": lambda: '{"axes":{"measure.every":{"linear":[1,100000,100000]}}}',
    "tolerances, a stack for each": lambda: (
        '{"trial":{"training":{"optimizer":"gradient_flow"}},"axes":{"training.rtol":' + RANGE + "}}"
    ),
    "stages that follow from steps": lambda: (
        '{"trial":{"training":{"schedule":"step"}},"axes":{"training.steps":{"linear":[1,100000,100000]}}}'
    ),
    "rates beside those of a layer": lambda: (
        '{"trial":{"training":{"layers":{"1":{"learning_rate":0.5}}}},"axes":{"training.learning_rate":' + RANGE + "}}"
    ),
    "weak decay in single precision": lambda: (
        '{"trial":{"training":{"dtype":"float32","weight_decay":0.001}},"axes":{"training.learning_rate":'
        + RANGE
        + "}}"
    ),
    "mappings of one section": lambda: '{"axes":{"training":[' + listed('{"steps":%d}', 100_000) + "]}}",
    "mappings of different keys": lambda: (
        '{"axes":{"training":[' + listed('{"steps":%d},{"momentum":0.%d}', 45_000) + "]}}"
    ),
    "points that differ in sizes": lambda: (
        '{"axes":{"network.width":{"linear":[1,100,100]},"data.samples":{"linear":[1,200,200]}}}'
    ),
    "long zip groups": lambda: '{"zip":[' + listed('{"training.steps":[' + listed("1", 7_000) + "]}", 64) + "]}",
    "long zip columns": lambda: '{"zip":[{' + listed('"training.%d":[' + listed("1", 7_000) + "]", 64) + "}]}",
    "as many inclusions as may be": lambda: '{"include":[' + listed('{"training.steps":%d}', 10_000) + "]}",
    "wrong inclusions": lambda: '{"include":[' + listed('{"training.stepz":%d}', 10_000) + "]}",
    "as many exclusions as may be": lambda: excluding(listed("%d", 5_000), listed('{"training.steps":%d0000}', 1_000)),
    "exclusions of all kinds": lambda: excluding(
        listed("%d", 3_000), listed('{"training.steps":0,"init.scale":%d}', 1_000)
    ),
    "exclusions of ranges": lambda: excluding("1", listed('{"data.spectrum":{"log":[1,%d,99999]}}', 1_000)),
    "data sets": lambda: '{"axes":{"data.dataset_id":[' + listed('"d%d"', 380_000) + "]}}",
    "brackets": lambda: "[" * (LARGEST // 2) + "]" * (LARGEST // 2),
    "nested keys": lambda: repeated('{"a":', "", "", ""),
    "many nests": lambda: repeated("[" * 31 + "]" * 31, '{"x":[', "]}"),
    "empty lists": lambda: repeated("[]", '{"zip":[', "]}"),
    "a huge name": lambda: '{"name":"' + "x" * (LARGEST - 20) + '"}',
    "a huge key": lambda: '{"' + "x" * (LARGEST - 20) + '":1}',
    "escapes": lambda: repeated("\\u0041", '{"name":"', '"}', ""),
    "halves of characters": lambda: repeated("\\ud800", '{"name":"', '"}', ""),
    "quotes in a string": lambda: repeated('\\"', '{"name":"', '"}', ""),
    "commas in a string": lambda: repeated(",", '{"notes":"', '"}', ""),
    "an endless number": lambda: '{"a":' + "9" * (LARGEST - 10) + "}",
    "endless digits": lambda: '{"a":0.' + "9" * (LARGEST - 10) + "}",
    "long numbers": lambda: repeated("9" * 399, '{"a":[', "]}"),
    "infinities": lambda: repeated("1e999", '{"a":[', "]}"),
    "space": lambda: "{" + " " * (LARGEST - 10) + "}",
    "spaced brackets": lambda: repeated("[ ", "", "", ""),
}
YAML: dict[str, Callable[[], str]] = {
    "a flow list": lambda: "a: [" + listed("%d", 490_000) + "]",
    "a block list": lambda: "a:\n" + "- 10000\n" * 490_000,
    "a block mapping": lambda: numbered(" k%d: 1", "a:\n", "\n", "\n"),
    "keys, one twice": lambda: numbered("k%d: 1", "", "\nk0: 1\n", "\n"),
    "floats": lambda: "a: [" + "0.12345," * 490_000 + "]",
    "anchors": lambda: numbered("- &a%d 1", "a:\n", "\n", "\n"),
    "aliases": lambda: "a: &x 1\nb:\n" + "- *x\n" * 490_000,
    "aliases that multiply": lambda: (
        "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [*a{i - 1},*a{i - 1}]\n" for i in range(1, 99))
    ),
    "aliases of nothing": lambda: "a: &x {}\nb:\n" + "- *x\n" * 490_000,
    "a chain of aliases": lambda: numbered("a%d: &a%d [*b]", "b: &b []\n", "\n", "\n"),
    "dashes": lambda: "- " * (LARGEST // 2),
    "question marks": lambda: "? " * (LARGEST // 2),
    "brackets": lambda: "[" * LARGEST,
    "braces": lambda: "{a: " * (LARGEST // 4),
    "a staircase": lambda: "".join(" " * depth + "a:\n" for depth in range(2_800)),
    "a saw": lambda: "".join(
        f"k{i}:\n" + "".join(" " * depth + "a:\n" for depth in range(1, 30)) for i in range(6_000)
    ),
    "tag lines": lambda: numbered("%TAG !a%d! tag:x", "", "\n---\na: 1\n", "\n"),
    "directives": lambda: "%YAML 1.1\n" * 400_000 + "---\na: 1",
    "documents": lambda: "---\n" * (LARGEST // 4),
    "old line breaks": lambda: 'a: "' + "\u2028" * 1_390_000 + '"',
    "characters for private use": lambda: "a: \u2028" + "".join(chr(code) for code in range(0xE000, 0xF8FF)) * 200,
    "comments": lambda: "# x\n" * (LARGEST // 4),
    "lines": lambda: "a: 1\n" + "\n" * (LARGEST - 5),
    "a folded text": lambda: "name: >\n" + "  xxxx\n" * 590_000,
    "an endless number": lambda: "a: " + "9" * (LARGEST - 3),
    "an endless sign": lambda: "a: " + "-" * (LARGEST - 3),
    "hexadecimal digits": lambda: "a: 0x" + "f" * (LARGEST - 5),
    "an endless anchor": lambda: "a: &" + "a" * (LARGEST - 6) + " 1",
    "an endless key": lambda: "x" * (LARGEST - 3) + ": 1",
    "tags": lambda: "a: [" + "!!str 1," * 490_000 + "]",
}


def answer(data: bytes, media: str) -> str:
    """What is answered to a body."""
    try:
        document = parse_document(data, media)
        dataset_ids(document)
        trials = read_claimed(document, datasets={}).expansion.trials()
        return f"{sum(len(fingerprint) == 64 for *_, fingerprint in trials)} trials"
    except InvalidGrid as error:
        assert len(json.dumps(error.errors)) < 10_000
        return error.detail


@pytest.mark.parametrize(
    ("media", "name"), [*((JSON_TYPES[0], one) for one in JSON), *((YAML_TYPES[0], one) for one in YAML)]
)
def test_a_large_body_of_any_shape_is_answered_in_time(media, name):
    body = (JSON if media in JSON_TYPES else YAML)[name]()
    data = body.encode("utf-8", "surrogatepass")
    assert len(data) <= LARGEST
    told = in_time(lambda: answer(data, media), SECONDS)
    assert told and len(told) < 2_000


@pytest.mark.parametrize(
    ("text", "is_over"),
    [
        ("[" + ",".join(["1"] * (MAX_VALUES + 1)) + "]", True),
        ('{"a":[' + ",".join(["[]"] * (MAX_VALUES // 1)) + "]}", True),
        ('{"a":[' + ",".join(['["x"]'] * (MAX_VALUES // 2)) + "]}", True),
        ('{"notes":"' + "," * 600_000 + '"}', False),
        ('{"notes":"' + '\\",[' * 300_000 + '"}', False),
        ('{"a":[' + ",".join(["[]"] * (MAX_VALUES - 2)) + "]}", False),
        ('{"a":[' + ",".join(["1"] * (MAX_VALUES - 2)) + "]}", False),
    ],
)
def test_values_of_json_are_counted_before_they_are_made(text, is_over):
    try:
        parse_document(text.encode(), "application/json")
    except InvalidGrid as error:
        assert is_over and f"more than {MAX_VALUES} values" in error.detail
    else:
        assert not is_over


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (0, 0.0, True),
        (1, True, False),
        (0, False, False),
        (True, True, True),
        ("1", 1, False),
        (None, None, True),
        (None, 0, False),
        ([1, 2], (1.0, 2), True),
        ([1, 2], [2, 1], False),
        ([True], [1], False),
        ([], None, False),
        ({"log": [1, 2, 3]}, {"log": [1, 2, 3]}, False),
        (10**30, 1e30, False),
        (2**53, float(2**53), True),
    ],
)
def test_tokens_are_equal_where_settings_are_the_same(one, other, is_same):
    assert (token(one) == token(other)) is is_same


def test_a_point_is_excluded_by_an_entry_all_of_whose_keys_it_matches():
    grid = {
        "trial": {"training": {"weight_decay": 0.1}},
        "axes": {"network.depth": [1, 2, 3], "training.steps": [10, 20], "training.stop": [None, {"loss_below": 1}]},
        "exclude": [
            {"network.depth": 1, "training.steps": 10.0},
            {"network.depth": 2, "training.weight_decay": 0.1},
            {"network.depth": 3, "training.weight_decay": 0.2},
            {"training.stop.loss_below": 1, "training": {"steps": 20}},
            {"training.stop": None, "network.depth": True},
            {"network": {"depth": 3}, "network.depth": 1},
        ],
    }
    found = expand(grid)
    left = {(p.axes["network.depth"], p.axes["training.steps"], p.axes["training.stop"] is None) for p in found.points}
    assert left == {(1, 20, True), (3, 10, True), (3, 10, False), (3, 20, True)}
    assert {one for one in found.ignored if one.startswith("exclude")} == {"exclude[2]", "exclude[4]", "exclude[5]"}
