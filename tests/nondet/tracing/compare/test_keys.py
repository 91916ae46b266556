from factories.traces import StreamMaker
from nondet.tracing.compare.keys import key, place, same_place
from nondet.tracing.records import Line, Record


def record(line: Line | None, module: str = "") -> Record:
    stream = StreamMaker()
    stream.op("aten.relu.default", line=line, module=module)
    return stream.records[0]


def test_a_line_is_known_in_another_folder_and_after_other_lines():
    here, there = Line("/a/net.py", 3, "fit", "x = y"), Line("/b/net.py", 9, "fit", "x = y")
    assert place(here) == place(there)
    assert key(record(here)) == key(record(there))
    assert same_place(record(here), record(there))


def test_lines_differ_by_file_function_and_text():
    line = Line("net.py", 3, "fit", "x = y")
    others = (
        line._replace(file="train.py"),
        line._replace(function="test"),
        line._replace(text="x = z"),
        None,
    )
    assert all(place(line) != place(other) for other in others)
    assert not any(same_place(record(line), record(other)) for other in others)
    assert not same_place(record(line, "a"), record(line, "b"))


def test_lines_without_text_differ_by_number():
    line = Line("<string>", 3, "f")
    assert place(line) != place(line._replace(number=4))
