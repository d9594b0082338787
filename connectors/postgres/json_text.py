"""What a statement is given as one JSON text: many rows, or a document for a column or a record."""

import msgspec


def json_text(value: object) -> str:
    """The text; of rows for `json_to_recordset`: an array per column costs the driver ten to twenty times as much."""
    return msgspec.json.encode(value).decode()
