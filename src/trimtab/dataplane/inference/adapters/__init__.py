"""What speaks to upstreams over the network."""

from trimtab.dataplane.inference.adapters.http1 import Http1Dialer

__all__ = ["Http1Dialer"]
