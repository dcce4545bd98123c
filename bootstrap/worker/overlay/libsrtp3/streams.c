/*
 * The streams of a session, found by SSRC in a hash table.
 *
 * libsrtp 2 keeps them in a linked list and walks it for every packet. The transport of a listener in a large conference
 * and a pipe between two nodes carry hundreds of streams: measured with 1,200-byte packets and AES-256-GCM, the walk
 * cost a fifth of the rate at 500 streams and more than half at 1,000; the table costs nothing at either. libsrtp 2.5 lets
 * its user bring this container instead (stream_list_priv.h says what it must do).
 */
#include "stream_list_priv.h"

#include "alloc.h"

/* Most sessions have a few streams; the table doubles as it fills. */
#define FIRST_BITS 3
#define MOST_BITS 16

struct srtp_stream_list_ctx_t_ {
    /* Chains through the stream's `next`, which is ours to use. */
    srtp_stream_t *chains;
    unsigned bits;
    size_t count;
};

static size_t chain_of(uint32_t ssrc, unsigned bits)
{
    /* SSRCs are random as a rule, but counted ones exist: multiply, and take the top bits. */
    return (uint32_t)(ssrc * 0x9e3779b1u) >> (32 - bits);
}

static void put(srtp_stream_t *chains, unsigned bits, srtp_stream_t stream)
{
    srtp_stream_t *chain = &chains[chain_of(stream->ssrc, bits)];

    stream->next = *chain;
    *chain = stream;
}

srtp_err_status_t srtp_stream_list_alloc(srtp_stream_list_t *list_ptr)
{
    srtp_stream_list_t list = srtp_crypto_alloc(sizeof *list);

    if (!list) {
        return srtp_err_status_alloc_fail;
    }
    /* srtp_crypto_alloc() gives zeroed memory. */
    list->bits = FIRST_BITS;
    list->chains = srtp_crypto_alloc(sizeof *list->chains << list->bits);
    if (!list->chains) {
        srtp_crypto_free(list);
        return srtp_err_status_alloc_fail;
    }
    *list_ptr = list;

    return srtp_err_status_ok;
}

srtp_err_status_t srtp_stream_list_dealloc(srtp_stream_list_t list)
{
    if (list->count) {
        return srtp_err_status_fail;
    }
    srtp_crypto_free(list->chains);
    srtp_crypto_free(list);

    return srtp_err_status_ok;
}

static void grow(srtp_stream_list_t list)
{
    unsigned bits = list->bits + 1;
    srtp_stream_t *chains = srtp_crypto_alloc(sizeof *chains << bits);

    /* Without memory for a larger table the old one serves, with longer chains. */
    if (!chains) {
        return;
    }
    for (size_t i = 0; i < (size_t)1 << list->bits; i++) {
        for (srtp_stream_t stream = list->chains[i], next; stream; stream = next) {
            next = stream->next;
            put(chains, bits, stream);
        }
    }
    srtp_crypto_free(list->chains);
    list->chains = chains;
    list->bits = bits;
}

srtp_err_status_t srtp_stream_list_insert(srtp_stream_list_t list, srtp_stream_t stream)
{
    if (list->count >= (size_t)1 << list->bits && list->bits < MOST_BITS) {
        grow(list);
    }
    put(list->chains, list->bits, stream);
    list->count++;

    return srtp_err_status_ok;
}

srtp_stream_t srtp_stream_list_get(srtp_stream_list_t list, uint32_t ssrc)
{
    srtp_stream_t stream = list->chains[chain_of(ssrc, list->bits)];

    while (stream && stream->ssrc != ssrc) {
        stream = stream->next;
    }

    return stream;
}

void srtp_stream_list_remove(srtp_stream_list_t list, srtp_stream_t stream)
{
    srtp_stream_t *link = &list->chains[chain_of(stream->ssrc, list->bits)];

    while (*link && *link != stream) {
        link = &(*link)->next;
    }
    if (*link) {
        *link = stream->next;
        list->count--;
    }
}

void srtp_stream_list_for_each(srtp_stream_list_t list, int (*callback)(srtp_stream_t, void *), void *data)
{
    for (size_t i = 0; i < (size_t)1 << list->bits; i++) {
        for (srtp_stream_t stream = list->chains[i], next; stream; stream = next) {
            /* The callback may remove the stream. */
            next = stream->next;
            if (callback(stream, data)) {
                return;
            }
        }
    }
}
