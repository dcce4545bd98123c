/*
 * libsrtp 3's interface, over libsrtp 2. See include/srtp.h for what differs.
 */
#include <srtp.h>

#include <limits.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

/*
 * What libsrtp 2 may add to a packet: the longest tag, and for RTCP a word with the packet's index. There is no MKI,
 * since srtp_policy_add_key() takes none.
 */
#define ROOM_FOR_RTP SRTP_MAX_TAG_LEN
#define ROOM_FOR_RTCP (SRTP_MAX_TAG_LEN + sizeof(uint32_t))

struct skein_srtp_policy {
    srtp2_policy_t two;
    /* libsrtp 2 wants the key with its salt behind it, and keeps a pointer. */
    unsigned char key[SRTP_MAX_KEY_LEN];
};

srtp_err_status_t srtp_policy_create(srtp_policy_t *policy)
{
    *policy = calloc(1, sizeof **policy);

    return *policy ? srtp_err_status_ok : srtp_err_status_alloc_fail;
}

void srtp_policy_destroy(srtp_policy_t policy)
{
    if (policy) {
        /* A memset() before free() may be left out by the compiler. */
        OPENSSL_cleanse(policy, sizeof *policy);
        free(policy);
    }
}

srtp_err_status_t srtp_policy_set_ssrc(srtp_policy_t policy, srtp_ssrc_t ssrc)
{
    policy->two.ssrc = ssrc;

    return srtp_err_status_ok;
}

srtp_err_status_t srtp_policy_set_profile(srtp_policy_t policy, srtp_profile_t profile)
{
    /* Two calls, because the profile with the short tag keeps the long one for RTCP. */
    srtp_err_status_t status = srtp_crypto_policy_set_from_profile_for_rtp(&policy->two.rtp, profile);

    return status ? status : srtp_crypto_policy_set_from_profile_for_rtcp(&policy->two.rtcp, profile);
}

srtp_err_status_t srtp_policy_add_key(
    srtp_policy_t policy,
    const uint8_t *key,
    size_t key_len,
    const uint8_t *salt,
    size_t salt_len,
    const uint8_t *mki,
    size_t mki_len)
{
    (void)mki;

    /* One key and no MKI is what mediasoup uses. Refuse the rest, rather than half do it. */
    if (mki_len != 0 || policy->two.key) {
        return srtp_err_status_no_such_op;
    }
    if (key_len > sizeof policy->key || salt_len > sizeof policy->key - key_len) {
        return srtp_err_status_bad_param;
    }
    memcpy(policy->key, key, key_len);
    memcpy(policy->key + key_len, salt, salt_len);
    policy->two.key = policy->key;

    return srtp_err_status_ok;
}

srtp_err_status_t srtp_policy_set_allow_repeat_tx(srtp_policy_t policy, bool allow)
{
    policy->two.allow_repeat_tx = allow;

    return srtp_err_status_ok;
}

srtp_err_status_t srtp_policy_set_window_size(srtp_policy_t policy, size_t packets)
{
    policy->two.window_size = packets;

    return srtp_err_status_ok;
}

srtp_err_status_t srtp_create(srtp_t *session, srtp_policy_t policy)
{
    return srtp2_create(session, &policy->two);
}

srtp_err_status_t srtp_stream_remove(srtp_t session, uint32_t ssrc)
{
    return srtp_remove_stream(session, ssrc);
}

/*
 * libsrtp 2 works in place and counts in int: bring the packet to where the result is wanted, leave room for what the
 * call may add, and take the new length from it.
 */
static srtp_err_status_t in_place(
    srtp_err_status_t (*work)(srtp_t, void *, int *),
    size_t room,
    srtp_t session,
    const uint8_t *from,
    size_t from_len,
    uint8_t *to,
    size_t *to_len)
{
    if (from_len > INT_MAX - room) {
        return srtp_err_status_bad_param;
    }
    if (*to_len < from_len + room) {
        return srtp_err_status_buffer_small;
    }
    if (to != from) {
        memmove(to, from, from_len);
    }

    int len = (int)from_len;
    srtp_err_status_t status = work(session, to, &len);

    if (status == srtp_err_status_ok) {
        *to_len = (size_t)len;
    }

    return status;
}

srtp_err_status_t srtp_protect(
    srtp_t session, const uint8_t *rtp, size_t rtp_len, uint8_t *srtp, size_t *srtp_len, size_t mki_index)
{
    (void)mki_index;

    return in_place(srtp2_protect, ROOM_FOR_RTP, session, rtp, rtp_len, srtp, srtp_len);
}

srtp_err_status_t srtp_unprotect(
    srtp_t session, const uint8_t *srtp, size_t srtp_len, uint8_t *rtp, size_t *rtp_len)
{
    return in_place(srtp2_unprotect, 0, session, srtp, srtp_len, rtp, rtp_len);
}

srtp_err_status_t srtp_protect_rtcp(
    srtp_t session, const uint8_t *rtcp, size_t rtcp_len, uint8_t *srtcp, size_t *srtcp_len, size_t mki_index)
{
    (void)mki_index;

    return in_place(srtp2_protect_rtcp, ROOM_FOR_RTCP, session, rtcp, rtcp_len, srtcp, srtcp_len);
}

srtp_err_status_t srtp_unprotect_rtcp(
    srtp_t session, const uint8_t *srtcp, size_t srtcp_len, uint8_t *rtcp, size_t *rtcp_len)
{
    return in_place(srtp2_unprotect_rtcp, 0, session, srtcp, srtcp_len, rtcp, rtcp_len);
}
