"""What an ICC profile calls itself: of all that is in it, only its description is read here."""

_HEADER_BYTES, _ENTRY_BYTES = 132, 12
_MOST_TAGS = 100
_RECORDS_AT, _RECORD_BYTES = 16, 12


def description(profile: bytes) -> str:
    """Its description, the English one where there are several; empty if there is none that can be read."""
    count = min(_number(profile, 128), _MOST_TAGS)
    for at in range(_HEADER_BYTES, _HEADER_BYTES + count * _ENTRY_BYTES, _ENTRY_BYTES):
        if profile[at : at + 4] == b"desc":
            begin, size = _number(profile, at + 4), _number(profile, at + 8)
            return _text(profile[begin : begin + size])
    return ""


def _text(tag: bytes) -> str:
    """ASCII with its length before it (version 2), or UTF-16 for each of some languages (version 4)."""
    if tag[:4] == b"desc":
        told = tag[12 : 12 + _number(tag, 8)].decode("latin-1")
    elif tag[:4] == b"mluc":
        count = min(_number(tag, 8), _MOST_TAGS)
        places = range(_RECORDS_AT, _RECORDS_AT + count * _RECORD_BYTES, _RECORD_BYTES)
        records = [tag[at : at + _RECORD_BYTES] for at in places]
        english = [record for record in records if record[:2] == b"en"]
        record = next(iter(english or records), b"")
        size, begin = _number(record, 4), _number(record, 8)
        told = tag[begin : begin + size].decode("utf-16-be", "ignore")
    else:
        return ""
    return told.partition("\0")[0].strip()


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")
