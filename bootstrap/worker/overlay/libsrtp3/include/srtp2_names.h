/*
 * The names that libsrtp 2 and libsrtp 3 give to different things. Whoever includes this before libsrtp 2's header gets
 * libsrtp 2's under another name: its own sources (by the compiler's -include), and srtp.h beside this file, which takes
 * these macros back afterwards.
 */
#define srtp_policy_t srtp2_policy_t
#define srtp_create srtp2_create
#define srtp_protect srtp2_protect
#define srtp_unprotect srtp2_unprotect
#define srtp_protect_rtcp srtp2_protect_rtcp
#define srtp_unprotect_rtcp srtp2_unprotect_rtcp
