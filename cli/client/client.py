"""The client itself: one object per API key, with a method per call of the API that a program makes.

Only what is there for browsers is missing: forms (`method: POST`), and a single part's address. What spans several
calls (`upload`, `wait_ready`) is made of the others.
"""

from cli.client.assets import Assets
from cli.client.deliveries import Deliveries
from cli.client.downloads import Downloads
from cli.client.endpoints import Endpoints
from cli.client.tenancy import Tenancy
from cli.client.uploads import Uploads


class MedialaneClient(Uploads, Assets, Downloads, Endpoints, Deliveries, Tenancy):
    """Talks to one Medialane with one API key (`mp_<prefix>_<secret>`).

    Use as `async with`, or call `close`. A session passed in is used and not closed. Every method raises a kind of
    `ClientError`.

    What must not be done twice takes an `idempotency_key`, 1 to 255 visible ASCII characters. Where the answer was lost
    (`UnreachableError`), the same call under the same key does it once and answers the same, for 24 hours; another call
    under it raises `RefusedError`. A call without one gets its own, which only the client's own repeats have, too.
    """
