/* errors -- every refusal a caller can meet: its name here, HTTP status, wire code and sentence.
 * A handler may say it with a better sentence (failf). */
#ifndef SELLIKO_ERRORS_H
#define SELLIKO_ERRORS_H

#define ERRORS(X) \
    X(VALIDATION_FAILED,      400, "validation_failed",      "Some fields are not right.") \
    X(MALFORMED_JSON,         400, "malformed_json",         "The body is not a valid JSON object.") \
    X(MALFORMED_MULTIPART,    400, "malformed_multipart",    "The form is not valid multipart/form-data.") \
    X(OTP_INVALID,            400, "otp_invalid",            "The code is not right.") \
    X(OTP_EXPIRED,            400, "otp_expired",            "The code has expired. Ask for a new one.") \
    X(OTP_USED,               400, "otp_used",               "The code was used already. Ask for a new one.") \
    X(UNAUTHENTICATED,        401, "unauthenticated",        "Please sign in.") \
    X(TOKEN_EXPIRED,          401, "token_expired",          "The access token has expired.") \
    X(REFRESH_TOKEN_INVALID,  401, "refresh_token_invalid",  "The refresh token is not valid. Please sign in again.") \
    X(REFRESH_TOKEN_REUSED,   401, "refresh_token_reused",   "The refresh token was used before. Please sign in again.") \
    X(SIGNATURE_INVALID,      401, "signature_invalid",      "The signature is not right.") \
    X(FORBIDDEN,              403, "forbidden",              "Insufficient permissions") \
    X(ACCOUNT_DISABLED,       403, "account_disabled",       "This account is disabled.") \
    X(NOT_FOUND,              404, "not_found",              "There is no such thing here.") \
    X(METHOD_NOT_ALLOWED,     405, "method_not_allowed",     "This method is not allowed here.") \
    X(INVALID_STATE,          409, "invalid_state",          "That is not possible in its present state.") \
    X(INVALID_TRANSITION,     409, "invalid_transition",     "The order cannot change to that status now.") \
    X(AUCTION_ENDED,          409, "auction_ended",          "This auction has ended.") \
    X(BID_TOO_LOW,            409, "bid_too_low",            "The bid is too low.") \
    X(DUPLICATE_IMEI,         409, "duplicate_imei",         "This IMEI is in another open listing.") \
    X(IDEMPOTENCY_KEY_REUSED, 409, "idempotency_key_reused", "This Idempotency-Key was used for another request.") \
    X(PAYLOAD_TOO_LARGE,      413, "payload_too_large",      "The request is too large.") \
    X(UNSUPPORTED_MEDIA_TYPE, 415, "unsupported_media_type", "This content type is not supported here.") \
    X(RATE_LIMITED,           429, "rate_limited",           "Too many requests. Please wait a little.") \
    X(INTERNAL,               500, "internal",               "Something went wrong on our side.") \
    X(UNAVAILABLE,            503, "unavailable",            "The service is not available just now. Please try again.")

#define ERRORS_ENUM(name, status, code, sentence) ERR_##name,
enum error { ERRORS(ERRORS_ENUM) ERR_COUNT };
#undef ERRORS_ENUM

#endif
