/*
 * Who may ask, by name. A web page that a user visits can point a name of its own at 127.0.0.1 and then talk to this
 * server from the browser (DNS rebinding, CVE-2024-28224). So a server on loopback answers only to loopback
 * names, and a page from elsewhere (Origin) is refused everywhere.
 */
#include "serve_priv.h"

/* "name:port" -> "name"; "[::1]:80" -> "[::1]" */
static qn_str without_port(qn_str host)
{
    size_t size = host.size;
    while (size && host.data[size - 1] >= '0' && host.data[size - 1] <= '9')
        size--;
    if (size && size < host.size && host.data[size - 1] == ':')
        return (qn_str){host.data, size - 1};
    return host;
}

bool qn_host_is_loopback(qn_str host)
{
    qn_str name = without_port(host);
    if (qn_str_equal_nocase(name, QN_STR("localhost")) || qn_str_is(name, "[::1]") ||
        qn_str_is(name, "::1"))
        return true;
    if (name.size > 10) {
        qn_str end = {name.data + name.size - 10, 10};
        if (qn_str_equal_nocase(end, QN_STR(".localhost")))
            return true;
    }
    if (!qn_str_starts(name, "127."))
        return false;
    int dots = 0;
    for (size_t i = 0; i < name.size; i++) {
        if (name.data[i] == '.')
            dots++;
        else if (name.data[i] < '0' || name.data[i] > '9')
            return false;
    }
    return dots == 3;
}

static qn_str origin_host(qn_str origin)
{
    size_t skip = qn_str_starts(origin, "http://") ? 7 : qn_str_starts(origin, "https://") ? 8 : 0;
    return skip ? (qn_str){origin.data + skip, origin.size - skip} : (qn_str){NULL, 0};
}

bool qn_host_allowed(const qn_serve *serve, const qn_request *request, const char **ret_why)
{
    if (serve->loopback && request->host.size && !qn_host_is_loopback(request->host)) {
        *ret_why = "this server answers to loopback names only (Host)";
        return false;
    }
    qn_str origin = qn_request_header(request, "origin");
    if (!origin.data)
        return true;
    qn_str host = origin_host(origin);
    bool same = host.size && qn_str_equal_nocase(host, request->host);
    if (!same && !(serve->loopback && qn_host_is_loopback(host))) {
        *ret_why = "pages from another origin may not call this server (Origin)";
        return false;
    }
    return true;
}
