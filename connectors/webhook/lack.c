/* SPDX-License-Identifier: MIT */
/* Finds out whether a transfer failed for lack of something on this machine. */
#include "connectors/webhook/lack.h"

#include <errno.h>
#include <openssl/x509_vfy.h>
#include <unistd.h>

static bool lack_is_resource(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

/* EMFILE or ENFILE when not even one more descriptor can be had. */
static int lack_of_descriptors(void)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int error = fd < 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    return lack_is_resource(error) ? error : 0;
}

/* EADDRNOTAVAIL means that all ports are taken, or that this machine has no address of that family at all (IPv6 is off).
 * A datagram socket, which sends nothing here, has ports of its own and so tells the two apart. */
static bool lack_of_ports(const struct multi_opened *o)
{
    if (o->address_n == 0)
        return true;
    int fd = socket(o->address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return lack_is_resource(errno);
    bool has_address = connect(fd, (const struct sockaddr *)&o->address, o->address_n) == 0 || errno != EADDRNOTAVAIL;
    close(fd);
    return has_address;
}

/* Can the authorities be loaded now, when libcurl just could not? Its own error does not say why. */
static bool lack_of_ca_only_then(const char *file)
{
    if (!file)
        file = curl_version_info(CURLVERSION_NOW)->cainfo;
    X509_STORE *store = X509_STORE_new();
    bool loads = file && store && X509_STORE_load_file(store, file) == 1;
    X509_STORE_free(store);
    return loads;
}

int lack_find(const struct lack_clues *c)
{
    switch ((int)c->code) {
    case CURLE_COULDNT_CONNECT:
        if (lack_is_resource(c->opened->error))
            return c->opened->error;
        if (c->os_errno == EADDRNOTAVAIL)
            return lack_of_ports(c->opened) ? EADDRNOTAVAIL : 0;
        return lack_is_resource(c->os_errno) ? c->os_errno : 0;
    case CURLE_COULDNT_RESOLVE_HOST: return strstr(c->text, "thread failed to start") ? EAGAIN : lack_of_descriptors();
    case CURLE_SSL_CACERT_BADFILE: return lack_of_ca_only_then(c->ca_file) ? EMFILE : 0;
    case CURLE_FAILED_INIT:
    case CURLE_OUT_OF_MEMORY: return c->sent ? 0 : ENOMEM; /* behind the request: an answer larger than libcurl takes */
    default: return 0;
    }
}

const char *lack_text(int error)
{
    switch (error) {
    case EADDRNOTAVAIL: return "no free port to connect from";
    case EAGAIN: return "no thread could be started to resolve the host name";
    default: return strerror(error);
    }
}
