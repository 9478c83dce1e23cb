-- Who may do what: accounts, their sessions and one-time passwords, and the keys under which
-- personal data is sealed.  A phone number is stored twice: sealed (AES-256-GCM, to be read) and as
-- a keyed hash (to be found); the last four digits stand beside them for masked views.

-- Data keys, each wrapped under ENCRYPTION_KEY.  The highest version of 'seal' seals, all unseal;
-- the one 'hash' key never changes, for hashes cannot be made anew without the clear text.
CREATE TABLE encryption_keys (
    purpose     text        NOT NULL CONSTRAINT key_purpose_known CHECK (purpose IN ('seal', 'hash')),
    version     int         NOT NULL CONSTRAINT key_version_positive CHECK (version > 0),
    wrapped     bytea       NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (purpose, version)
);

CREATE TABLE users (
    id               uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    phone_hash       bytea       NOT NULL CONSTRAINT one_account_per_phone UNIQUE,
    phone_sealed     bytea       NOT NULL,
    phone_last4      text        NOT NULL CONSTRAINT phone_last4_digits CHECK (phone_last4 ~ '^\d{4}$'),
    name             text        NOT NULL CONSTRAINT name_length CHECK (char_length(name) BETWEEN 1 AND 100),
    role             text        NOT NULL DEFAULT 'CLIENT'
                                 CONSTRAINT role_known CHECK (role IN ('CLIENT', 'VENDOR', 'AGENT', 'ADMIN')),
    is_active        boolean     NOT NULL DEFAULT true,
    created_at       timestamptz NOT NULL DEFAULT now(),
    last_login       timestamptz,
    metadata         jsonb       NOT NULL DEFAULT '{}',
    whatsapp_enabled boolean     NOT NULL DEFAULT true,
    muted_types      text[]      NOT NULL DEFAULT '{}'
);

-- A session is what an access token names; it is looked at on every request.
CREATE TABLE sessions (
    id           uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id      uuid        NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    revoked_at   timestamptz,
    user_agent   text        CONSTRAINT user_agent_length CHECK (char_length(user_agent) <= 300)
);

-- Only hashes are kept.  used_at is set when the token is rotated; see use_refresh_token().
CREATE TABLE refresh_tokens (
    hash       bytea       PRIMARY KEY,
    session_id uuid        NOT NULL REFERENCES sessions ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);

CREATE TABLE otps (
    id         uuid        PRIMARY KEY,
    phone_hash bytea       NOT NULL,
    code_hash  bytea       NOT NULL,
    attempts   int         NOT NULL DEFAULT 0 CONSTRAINT five_tries CHECK (attempts BETWEEN 0 AND 5),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at    timestamptz,
    voided_at  timestamptz
);

-- Counters of the fixed windows; what is lost in a crash is only somebody's patience.
CREATE UNLOGGED TABLE rate_limits (
    key       text        PRIMARY KEY,
    hits      int         NOT NULL,
    resets_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- The first answer to a request that carried an Idempotency-Key, for 24 hours.  An answer may hold
-- the caller's own personal data, so its body is sealed; a bid's is kept as its outcome (place_bids).
CREATE TABLE idempotency_keys (
    user_id    uuid        NOT NULL REFERENCES users ON DELETE CASCADE,
    route      text        NOT NULL,
    key        text        NOT NULL CONSTRAINT key_length CHECK (char_length(key) BETWEEN 1 AND 255),
    body_hash  bytea       NOT NULL,
    status     int         NOT NULL CONSTRAINT only_answers_below_500 CHECK (status BETWEEN 200 AND 499),
    answer     bytea,
    outcome    jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, route, key),
    CONSTRAINT answer_or_outcome CHECK ((answer IS NULL) <> (outcome IS NULL))
);

-- Every admin action and every sign-in, written in its own transaction.
CREATE TABLE audit_log (
    seq        bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,   -- the order of writing
    id         uuid        NOT NULL DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor_id   uuid        REFERENCES users ON DELETE SET NULL,
    action     text        NOT NULL,
    target     text,
    details    jsonb       NOT NULL DEFAULT '{}',
    ip         text,
    request_id text
);

-- What the utilities remember between runs (a stopped queue and why, the last verified backup).
CREATE TABLE service_state (
    name       text        PRIMARY KEY,
    value      jsonb       NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
