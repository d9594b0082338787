"""What a statement is given as one JSON text: many rows, or a document for a column or a record."""

import msgspec


def json_text(value: object) -> str:
    """The text; of rows for `few` or for `json_to_recordset`: an array per column costs the driver ten to twenty times
    as much.
    """
    return msgspec.json.encode(value).decode()


def few(name: str, columns: str) -> str:
    """SQL: the rows of the JSON text that is the statement's value `name`, for a join with a table by its key.

    The planner takes any JSON for a hundred rows, for which it would rather read a table of thousands from end to end.
    Under this limit they are as many as there are, or ten in a plan that is made once for all values.
    """
    return (
        f"(SELECT * FROM json_to_recordset(CAST(:{name} AS json)) AS given ({columns})"  # noqa: S608 - of our own
        f" LIMIT json_array_length(CAST(:{name} AS json)))"
    )
