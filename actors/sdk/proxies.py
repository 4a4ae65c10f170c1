"""How a client leaves the machine: directly, or through the proxy that its environment names.

The variables are those that curl knows: http_proxy, https_proxy, all_proxy, no_proxy, in small letters or
capitals. A loopback address never goes through a proxy, since it means another machine there. no_proxy names
hosts, domains, addresses or networks (10.0.0.0/8), or is `*`.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

if TYPE_CHECKING:
    import httpx

_SCHEMES = ("http", "https")


class ProxyError(ValueError):
    """The environment names a proxy that this client cannot use."""


def proxy_of(url: str) -> str | None:
    """The proxy for requests to `url`, None for a direct connection. Raises ProxyError for one that is not
    spoken to."""
    parts, proxies = urlsplit(url), getproxies_environment()
    host = parts.hostname or ""
    if not proxies or _is_loopback(host) or _is_exempt(host, parts.netloc, proxies):
        return None
    name = next((name for name in (parts.scheme, "all") if proxies.get(name)), "")
    if not name:
        return None
    proxy = proxies[name] if "://" in proxies[name] else f"http://{proxies[name]}"
    scheme = proxy.partition("://")[0].lower()
    try:
        usable = scheme in _SCHEMES and bool(urlsplit(proxy).hostname) and (urlsplit(proxy).port or 1) > 0
    except ValueError:
        usable = False
    if not usable:
        raise ProxyError(
            f"{name}_proxy names a proxy of the scheme {scheme[:16]!r}, this client speaks to http:// and "
            f"https:// ones; set it to such an address, or no_proxy={host} for a direct connection"
        )
    return proxy


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_exempt(host: str, netloc: str, proxies: dict[str, str]) -> bool:
    if proxy_bypass(host) or proxy_bypass(netloc):
        return True
    for text in proxies.get("no", "").split(","):
        try:
            if ipaddress.ip_address(host) in ipaddress.ip_network(text.strip()):
                return True
        except ValueError:
            continue
    return False


def trusted(ca_file: str) -> ssl.SSLContext:
    """Certificates to trust: those of a file, else those that SSL_CERT_FILE or SSL_CERT_DIR names, else the
    bundle that httpx comes with."""
    if ca_file:
        return ssl.create_default_context(cafile=ca_file)
    import httpx

    return httpx.create_ssl_context()


def http_options(urls: Sequence[str], ca_file: str = "", asynchronous: bool = False) -> dict[str, Any]:
    """Keyword arguments of an httpx client for these addresses: the environment is read here alone, since
    httpx would send loopback through a proxy and fail for one that it cannot use."""
    import httpx

    context = trusted(ca_file)
    kind = httpx.AsyncHTTPTransport if asynchronous else httpx.HTTPTransport
    mounts: dict[str, httpx.BaseTransport | httpx.AsyncBaseTransport] = {}
    for url in urls:
        if proxy := proxy_of(url):
            parts = urlsplit(url)
            mounts[f"{parts.scheme}://{parts.netloc}"] = kind(verify=context, proxy=proxy)
    return {"trust_env": False, "verify": context, "mounts": mounts}
