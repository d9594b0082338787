"""The bytes of variants: signed addresses of our own, which need no key, and what they answer."""
