"""Which scope each operation asks for: a promise to whoever mints keys, so it is written down twice."""

from litestar.routes import HTTPRoute

from api.app import Application
from api.document.offline import unconnected
from api.principals import SCOPE_OPT
from schemas.scopes import Scope

SCOPES = {
    Scope.ASSETS_READ: {
        "readAsset", "listAssets", "streamEvents", "chooseVariant", "readOriginal", "readProfiles", "readUsage",
    },
    Scope.ASSETS_WRITE: {
        "presignUpload", "presignAgain", "pullAsset", "completeAsset", "completeAssetByGet", "completeAssets",
        "changeAsset", "cancelAsset", "processAsset", "deleteAsset",
        "createMultipart", "listParts", "signPart", "signParts", "completeMultipart", "abortMultipart",
    },
    Scope.WEBHOOKS: {
        "registerWebhook", "listWebhooks", "readWebhook", "changeWebhook", "rotateWebhookSecret", "testWebhook",
        "deleteWebhook",
        "listDeliveries", "readDelivery", "resendDelivery", "recoverWebhook",
    },
    Scope.KEYS: {"mintKey", "listKeys", "revokeKey", "rotateKey"},
    Scope.PROFILES: {"chooseProfiles"},
    None: {"readMedia", "healthz", "readyz"},
}  # fmt: skip
"""None: nobody is asked who they are."""


def test_each_operation_asks_for_its_scope():
    app = Application.build(unconnected()).litestar
    ids = {
        (path, method): about["operationId"]
        for path, methods in app.openapi_schema.to_schema()["paths"].items()
        for method, about in methods.items()
    }
    asked = {}
    for route in app.routes:
        for method, handler in _handlers(route):
            if (name := ids.pop((route.path_format or "/", method.lower()), None)) is not None:
                asked[name] = handler.opt.get(SCOPE_OPT)
    assert ids == {}, "each operation is a route"
    assert asked == {name: scope for scope, names in SCOPES.items() for name in names}


def _handlers(route):
    if not isinstance(route, HTTPRoute):
        return []
    return [(method, handler) for method, (handler, _) in route.route_handler_map.items()]
