/*
 * The part of libsrtp 3's interface that mediasoup uses. Everything that has not changed since libsrtp 2 comes from its
 * header; what has changed is declared here and done in adapter.c.
 */
#ifndef SKEIN_SRTP3_H
#define SKEIN_SRTP3_H

#include "srtp2_names.h"

#include "../libsrtp2/include/srtp.h"

#undef srtp_policy_t
#undef srtp_create
#undef srtp_protect
#undef srtp_unprotect
#undef srtp_protect_rtcp
#undef srtp_unprotect_rtcp

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Two errors more than libsrtp 2 knows. mediasoup names both. */
#define srtp_err_status_buffer_small ((srtp_err_status_t)28)
#define srtp_err_status_cryptex_err ((srtp_err_status_t)29)

/* A policy is a handle now, filled by functions. */
typedef struct skein_srtp_policy *srtp_policy_t;

srtp_err_status_t srtp_policy_create(srtp_policy_t *policy);
void srtp_policy_destroy(srtp_policy_t policy);
srtp_err_status_t srtp_policy_set_ssrc(srtp_policy_t policy, srtp_ssrc_t ssrc);
srtp_err_status_t srtp_policy_set_profile(srtp_policy_t policy, srtp_profile_t profile);
srtp_err_status_t srtp_policy_add_key(
    srtp_policy_t policy,
    const uint8_t *key,
    size_t key_len,
    const uint8_t *salt,
    size_t salt_len,
    const uint8_t *mki,
    size_t mki_len);
srtp_err_status_t srtp_policy_set_allow_repeat_tx(srtp_policy_t policy, bool allow);
srtp_err_status_t srtp_policy_set_window_size(srtp_policy_t policy, size_t packets);

srtp_err_status_t srtp_create(srtp_t *session, srtp_policy_t policy);

/* The SSRC is in the order of the network, as in the packet. */
srtp_err_status_t srtp_stream_remove(srtp_t session, uint32_t ssrc);

/*
 * Packets go from one buffer to another, which may be the same. The last length is the room in the second buffer before
 * the call and the length of the packet after it.
 */
srtp_err_status_t srtp_protect(
    srtp_t session, const uint8_t *rtp, size_t rtp_len, uint8_t *srtp, size_t *srtp_len, size_t mki_index);
srtp_err_status_t srtp_unprotect(
    srtp_t session, const uint8_t *srtp, size_t srtp_len, uint8_t *rtp, size_t *rtp_len);
srtp_err_status_t srtp_protect_rtcp(
    srtp_t session, const uint8_t *rtcp, size_t rtcp_len, uint8_t *srtcp, size_t *srtcp_len, size_t mki_index);
srtp_err_status_t srtp_unprotect_rtcp(
    srtp_t session, const uint8_t *srtcp, size_t srtcp_len, uint8_t *rtcp, size_t *rtcp_len);

#ifdef __cplusplus
}
#endif

#endif
