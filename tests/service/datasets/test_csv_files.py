"""CSV as people's tools write it: read as it was meant, or refused with the line and the reason."""

import io
import random
from collections import Counter

import numpy as np
import pytest

from service.datasets import csv_numbers
from service.datasets.csv_header import read_header
from service.datasets.csv_numbers import _Reader, read_numbers
from service.datasets.reading import CSV, Upload, Wish, read_upload
from service.errors import InvalidDataset, TooLarge


def read(text: str | bytes, **wanted: list[str]) -> Upload:
    return read_upload(text.encode() if isinstance(text, str) else text, CSV, Wish(wanted))


def saved(header: str, **options: str) -> bytes:
    """Three rows of 1, 2, 3, as np.savetxt writes them."""
    held = io.BytesIO()
    np.savetxt(held, [[1, 2, 3]] * 3, delimiter=",", header=header, **options)
    return held.getvalue()


@pytest.mark.parametrize("rows", [150, 20_000])
@pytest.mark.parametrize(
    ("usual", "late"), [("0", "0.5"), ("1", "1e-3"), ("7", "1" + "0" * 20), ("1", "1" + "0" * 40), ("5", "-.5e+2")]
)
def test_a_column_is_numbers_whatever_its_first_rows_hold(usual, late, rows):
    text = "x0,x1,y0\n" + f"{usual},{usual},{usual}\n" * rows + f"{late},{late},{late}\n"
    found = read(text).arrays
    assert found["x"].dtype == np.float64 and found["x"].shape == (rows + 1, 2)
    assert found["x"][-1].tolist() == [float(late)] * 2 and found["y"][-1].tolist() == [float(late)]
    assert found["x"][0].tolist() == [float(usual)] * 2


SHEET = "x0,x1,y0\n1.5,2,3\n4,5,6\n"
NUMBERS = [[1.5, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    "content",
    [
        SHEET,
        SHEET.rstrip("\n"),
        SHEET.replace("\n", "\r\n"),
        SHEET.replace("\n", "\r"),
        SHEET.replace(",", ", "),
        SHEET.replace(",", " , "),
        SHEET.replace("\n", ",\n"),
        SHEET.replace("\n", ",\r\n"),
        "x0,x1,y0\n" + SHEET[9:].replace("\n", ",\n"),
        SHEET.replace(",", "\t"),
        SHEET.replace(",", ";"),
        SHEET.replace(",", ";").replace(".", ","),
        "sep=;\n" + SHEET.replace(",", ";").replace(".", ","),
        '"x0","x1","y0"\n"1,5","2","3"\n"4","5","6"\n',
        '"x0","x1","y0"\n"1.5","2","3"\n4,5,6\n',
        "\ufeff" + SHEET,
        SHEET.encode("utf-16"),
        SHEET.replace(",", "\t").encode("utf-16"),
        b"\xfe\xff" + SHEET.encode("utf-16-be"),
        "\n" + SHEET + "\n\n",
        SHEET + ",,\n,,\n",
        SHEET.replace("\n4", "\n\n4"),
        "# " + SHEET,
        "#" + SHEET,
        "# written on Monday\n" + SHEET,
        "# written on Monday\n# " + SHEET,
        SHEET + "# the end\n",
        SHEET.upper(),
        SHEET.replace("x0,x1,y0", "x_0,x_1,y"),
        SHEET.replace("x0,x1,y0", "x_train0,x_train1,y_train"),
        SHEET.replace("x0,x1,y0", "x_age,x_height,y_weight"),
        SHEET.replace("1.5", " +1.5E0").replace("6", "6."),
        SHEET.replace("1.5", "\u00a01.5"),
    ],
)
def test_what_tools_write_is_read(content):
    found = read(content).arrays
    assert np.hstack([found["x"], found["y"]]).tolist() == NUMBERS


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x0,y0\n1,2\n3,NA\n", "line 3, column y0 holds no number"),
        ("x0,y0\n1,2\n,4\n", "line 3, column x0 holds no number"),
        ("x0,y0\r\n1,2\r\n\r\n3,nan\r\n", "line 4, column y0 holds no number"),
        ("x0,y0\n1,2\n3,None\n4,\n", "line 3, column y0 holds no number .and 1 cells more"),
        ("x0,y0\n1,2\n,\n3,4\n", "line 3, column x0 holds no number"),
        ("x0,x1,y0\n1,5,2,5,3,5\n", "line 2 has 6 cells.*decimal commas"),
        ("x0,y0\n1,inf\n", "line 2, column y0: 'inf' is infinite"),
        ("x0,y0\n1,1e999\n", "line 2, column y0: '1e999' is infinite or too large"),
        ("x0,y0\n1,two\n", "line 2, column y0: 'two' is not a number"),
        ("x0,y0\n1,1_000\n", "line 2, column y0: '1_000' is not a number"),
        ("x0,y0\n1,5%\n", "'5%' is not a number: leave the unit away"),
        ("x0,y0\n1,1d5\n", "'1d5' is not a number: write exponents with e"),
        ("x0;y0\n1;1.234,5\n", "line 2, column y0: '1.234,5' is not a number: write it with a point"),
        ("x0;y0\n1;1 234\n", "'1 234' is not a number: write it with a point"),
        ("x0;y0\n1;1,234\n", "1,234 in line 2 may be 1.234 or 1234"),
        ('x0,y0\n1,"1,234"\n', "1,234 in line 2 may be 1.234 or 1234"),
        ("x0;y0\n1.5;1,5\n", "1,5 in line 2 has a comma and 1.5 in line 2 a point"),
        ("x0,y0\n1,2\n1,2,3\n", "line 3 has 3 cells, and the header names 2 columns"),
        ("x0,x1,y0\n1,2\n", "line 2 has 2 cells, and the header names 3 columns"),
        ("x0,y0\n1;2\n", "separate columns with commas as in the header, not semicolons"),
        ("x0|y0\n1|2\n", "a column named x0|y0: separate columns with commas"),
        ("x0 y0\n1 2\n", "a column named x0 y0: separate columns with commas, not spaces"),
        ("1,2\n3,4\n", "line 1 holds numbers, not names"),
        ("x0,y0\n", "no rows"),
        ("# x0,y0\n", "no rows"),
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ('x0,y0\n"1,2\n', "line 2 has a quote that is not closed"),
        (b"x0,y0\n1,\xe9\n", "line 2 is not UTF-8"),
        (b"x0,y\xe9\n1,2\n", "line 1 is not UTF-8"),
        ("x0,y0\n1,2\n".encode("utf-16-le"), "line 1 holds a NUL byte"),
        ("x0,y0\n1,2\n".encode("utf-32"), "the text is UTF-32"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(text, told):
    with pytest.raises(InvalidDataset, match=told):
        read(text)


@pytest.mark.parametrize("comments", ["# ", "#"])
def test_the_header_that_numpy_writes_names_every_column(comments):
    found = read(saved("x0,x1,y0", comments=comments))
    assert found.columns == {"x": ["x0", "x1"], "y": ["y0"]} and found.left_out == []
    found = read(saved("drawn by hand\nx0,x1,y0", comments=comments))
    assert found.arrays["x"].tolist() == [[1, 2]] * 3


def test_the_answer_names_what_became_what_and_what_was_left_out():
    found = read(",x0,feature2,x1,y0,\n0,1,a,2,3,\n1,4,b,5,6,\n")
    assert found.arrays["x"].tolist() == [[1, 2], [4, 5]]
    assert found.columns == {"x": ["x0", "x1"], "y": ["y0"]}
    assert found.left_out == ["column 1 (unnamed)", "feature2", "column 6 (unnamed)"]


@pytest.mark.parametrize(
    "header",
    [
        "x0,x1,year,y", "x0,y0,yield", "x0,xylophone,y0", "x0,x_val0,y0", "x0,x_valid,y", "x0,y0,y_pred", "x0,x0,y0",
        "x0,x0.1,y0", "x0,X0,y0", "x0,x_0,y0", "x0,x_train0,y0", "x1,x01,y0", "x0,x_testing0,y0", "x0,y,y_hat",
        "x0,x1std,y0", "% x0,x1,y0", "'x0',x1,y0", "x0,(x1),y0", "x0,x1,y0*", "// x0,x1,y0", "\ufeff\ufeffx0,x1,y0",
    ],
)  # fmt: skip
def test_a_name_that_may_mean_several_things_is_refused_with_the_mapping_to_send(header):
    row = ",".join("1" for _ in header.split(","))
    with pytest.raises(InvalidDataset, match=r"\?x=.*&y="):
        read(f"{header}\n{row}\n")


def test_a_mapping_says_which_columns_are_meant():
    text = "id,year,pixel0,pixel1,pixel2,label\n1,1999,1,2,3,7\n2,2000,4,5,6,8\n"
    found = read(text, x=["pixel0..pixel2", "year"], y=["label"])
    assert found.arrays["x"].tolist() == [[1, 2, 3, 1999], [4, 5, 6, 2000]]
    assert found.columns == {"x": ["pixel0", "pixel1", "pixel2", "year"], "y": ["label"]} and found.left_out == ["id"]
    assert read(text, x=["pixel2,pixel0"], y=["label"]).arrays["x"].tolist() == [[3, 1], [6, 4]]
    # the same columns may be inputs and targets
    assert read(text, x=["label"], y=["label"]).arrays["y"].tolist() == [[7], [8]]


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"x": ["a"]}, "a table needs columns x.. and y.."),
        ({"x": ["a"], "y": ["d"]}, "names d, which the file has not; it has a, b, c"),
        ({"x": ["a,a"], "y": ["c"]}, "names a twice"),
        ({"x": ["c..a"], "y": ["b"]}, "a stands before c"),
        ({"x": ["a"], "y": ["b"], "x_test": ["c"]}, "y has 1 columns and y_test 0"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused(wanted, told):
    with pytest.raises(InvalidDataset, match=told):
        read("a,b,c\n1,2,3\n", **wanted)


def test_a_name_that_stands_twice_is_not_suggested():
    with pytest.raises(InvalidDataset, match=r"x and x name the same column of x.*[?]x=b&y=y"):
        read("x,x,b,y\n1,2,3,4\n")


def test_names_with_commas_and_points_can_be_mapped():
    text = '"a,b",c..d,c\n1,2,3\n'
    assert read(text, x=["a,b"], y=["c..d"]).arrays["y"].tolist() == [[2]]


def test_test_columns_are_a_test_set_and_may_be_shorter_or_longer():
    text = "x0,y0,x_test0,y_test0\n1,2,5,6\n3,4,,\n"
    found = read(text).arrays
    assert found["x"].tolist() == [[1], [3]] and found["y"].tolist() == [[2], [4]]
    assert found["x_test"].tolist() == [[5]] and found["y_test"].tolist() == [[6]]
    found = read("x0,y0,x_test0,y_test0\n1,2,5,6\n,,7,8\n").arrays
    assert len(found["x"]) == 1 and found["x_test"].tolist() == [[5], [7]]
    for wrong in ("1,2,5,6\n3,4,7,\n", "1,2,,\n3,4,7,8\n", "1,2,,\n3,4,,\n", "1,,5,6\n3,4,7,8\n"):
        with pytest.raises(InvalidDataset):
            read("x0,y0,x_test0,y_test0\n" + wrong)
    with pytest.raises(InvalidDataset, match="x_test 1"):
        read("x0,x1,y0,x_test0\n1,2,3,4\n")


def test_a_table_that_is_too_large_is_told_how_many_rows_fit():
    with pytest.raises(TooLarge, match=r"30 numbers are over the limit of 20 .*6 of 10 rows"):
        read_upload(b"x0,x1,y0\n" + b"1,2,3\n" * 10, CSV, max_numbers=20)
    assert len(read_upload(b"x0,x1,y0\n" + b"1,2,3\n" * 10, CSV, max_numbers=30).arrays["x"]) == 10


def test_how_a_file_was_read_is_said_where_it_was_not_plain():
    assert read(SHEET).notes == []
    assert "semicolons" in read(SHEET.replace(",", ";")).notes[0]
    assert "decimal points (1,5 in line 2)" in read(SHEET.replace(",", ";").replace(".", ",")).notes[1]
    assert "line 4" in read(SHEET + "# the end\n").notes[0]


CELLS = {
    ",": ["1", "2.5", "-3e2", "1e20", "", "NA", " 7", "true", "False", '"8"', '"a"', "nan"],
    ";": ["1", "2,5", "-3,25e2", "", "null", "7 ", "0,125", "-,5", '"1,5"'],
}
ODD = [
    ",",
    "# remark",
    "",
    "1,2,3,",
    "1,234;2;3",
    "1;1.5;2",
    "1_0,1,1",
    "1,2",
    "x,1,1",
    '"1',
    "1e999,1,1",
    "  ",
    "\u00a05,1,1",
]


def test_reading_piece_by_piece_is_reading_cell_by_cell(monkeypatch):
    monkeypatch.setattr(csv_numbers, "_FIRST_BYTES", 20)
    monkeypatch.setattr(csv_numbers, "_PIECE_BYTES", 60)
    drawn = random.Random(0)
    seen = Counter()
    for number in range(1500):
        delimiter = drawn.choice(",;")
        end = drawn.choice(["\n", "\r\n"])
        cells = drawn.sample(CELLS[delimiter], drawn.choice([1, 3, 6]))
        lines = [delimiter.join(drawn.choices(cells, k=3)) for _ in range(30)]
        for _ in range(drawn.choice([0, 0, 1, 2])):
            lines.insert(drawn.randrange(len(lines)), drawn.choice(ODD))
        text = end.join([delimiter.join(("x0", "x1", "y0")), *lines])
        sheet = read_header(text.encode())
        answers = []
        for read_one in (lambda one: read_numbers(one, [0, 2]), lambda one: _Reader(one, [0, 2]).read_exactly()):
            try:
                found = read_one(sheet)
                rows = range(0, len(found.values), 7)
                answers.append((found.values.tobytes(), [found.line_of(row) for row in rows], found.notes))
            except InvalidDataset as error:
                answers.append(error.detail)
        assert answers[0] == answers[1], (number, text)
        seen[type(answers[0])] += 1
    assert min(seen.values()) > 200
