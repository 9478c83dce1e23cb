/* whatsapp -- the Graph API's messages and answers: what is posted, and what an answer means.
 *
 * Pure functions, for any thread; the calls themselves are made by cron/selliko-send-whatsapp.
 *
 * Templates (those of the integration guide) and their parameters, texts in this order:
 *   otp_verification   code (twice: body and button, which Meta demands of authentication templates)
 *   bid_placed         device_name, bid_amount
 *   order_status       order_id, status, agent_contact
 *
 * Errors are judged by the Graph API's code, not by the HTTP status, which says little
 * (https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes). */
#ifndef SELLIKO_WHATSAPP_H
#define SELLIKO_WHATSAPP_H

#include <stdbool.h>
#include <stddef.h>

struct arena;

#define WHATSAPP_PARAMS_MAX 8

/* The body of POST /{version}/{phone-number-id}/messages, in A.  PHONE is +919876543210.  The N texts
 * at PARAM become one line each, for Meta refuses line ends, tabs, runs of blanks and empty texts.
 * OTP_BUTTON adds the button component to otp_verification.  NULL when PHONE is no phone number or N is
 * above WHATSAPP_PARAMS_MAX: such a message can never be sent. */
const char *whatsapp_body(struct arena *a, const char *phone, const char *template_name, const char *const *param,
                          size_t n, bool otp_button, size_t *len);

/* The texts of a JSON array, in A; their number, or -1 when it is not an array of at most
 * WHATSAPP_PARAMS_MAX texts. */
int whatsapp_params(struct arena *a, const char *json, const char *param[WHATSAPP_PARAMS_MAX]);

/* What became of a message; the names are finish_message()'s in SQL. */
#define WHATSAPP_OUTCOMES(X) \
    X(SENT, "sent")           /* accepted */ \
    X(RETRY, "retry")         /* not accepted; later it may be */ \
    X(PACED, "paced")         /* not accepted: too many to that person */ \
    X(THROTTLED, "throttled") /* not accepted: too many in all */ \
    X(UNKNOWN, "unknown")     /* the call broke off after it was sent: it may have been accepted */ \
    X(STOP, "stop")           /* nothing is accepted until a person mends the account, token or number */ \
    X(FAILED, "failed")       /* this message never will be */
#define WHATSAPP_ENUM(id, name) WHATSAPP_##id,
enum whatsapp_outcome { WHATSAPP_OUTCOMES(WHATSAPP_ENUM) WHATSAPP_N_OUTCOMES };
#undef WHATSAPP_ENUM

const char *whatsapp_outcome_name(enum whatsapp_outcome outcome);

struct whatsapp_answer {
    enum whatsapp_outcome outcome;
    int code;               /* the Graph API's; 0 when it gave none */
    char message_id[256];   /* wamid…; "" when it gave none */
    char error[256];        /* for administrators: no line ends, runs of digits masked; "" when sent */
};

/* What an answer with HTTP_STATUS and LEN bytes of BODY means.  Any bytes will do. */
void whatsapp_answer(struct whatsapp_answer *out, int http_status, const char *body, size_t len);

/* Seconds until the next try after the ATTEMPT-th (from 1) ended with OUTCOME.  CHANCE, 0 to 1, spreads
 * them.  RETRY_AFTER_S is what the answer's header asked for, 0 for nothing. */
double whatsapp_delay(enum whatsapp_outcome outcome, int attempt, double retry_after_s, double chance);

#endif
