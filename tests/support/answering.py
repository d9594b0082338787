"""A small server that answers the client with what a test says, and what such answers have in common."""

from aiohttp import web

ASSET = "0192a000-0000-7000-8000-000000000001"
NOON = "2026-01-31T12:00:00Z"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Server:
    """Answers with what a test put into `answers` and keeps what it was asked."""

    def __init__(self):
        self.answers, self.asked = [], []

    async def handle(self, request):
        self.asked.append((request.method, request.path_qs, dict(request.headers), await request.read()))
        status, body, *more = self.answers.pop(0)
        extra = {"traceparent": TRACE} | (more[0] if more else {})
        if isinstance(body, bytes):
            return web.Response(status=status, body=body, headers=extra)
        return web.json_response(body, status=status, headers=extra)


def later(status, seconds):
    return status, {"status": "error", "message": "come again"}, {"Retry-After": str(seconds)}
