"""The one error of the local stack: what is wrong, then what to do about it."""


class StackError(Exception):
    """A part cannot start, or there is no stack. The message is the cause, a full stop, then the cure."""

    def __init__(self, cause: str, cure: str = "") -> None:
        super().__init__(f"{cause}. {cure}" if cure else cause)
        self.cause = cause
        self.cure = cure
