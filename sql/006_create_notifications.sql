-- What people are told, and how it reaches them: in the app (notifications), on the phone
-- (whatsapp_queue, drained by selliko-send-whatsapp) and at once (events, read by the gateway).
-- All three are written in the transaction of what they tell of, several rows a bid.  Whom they are for
-- is read from users by the statement that writes them, and a person is never deleted (008), so foreign keys
-- would look, lock and log a row of users each time to no purpose.

CREATE TABLE notifications (
    id                  uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id             uuid        NOT NULL,
    type                text        NOT NULL CONSTRAINT notification_type_known CHECK (type IN
                                    ('bid_placed', 'listing_approved', 'auction_ending', 'order_update', 'task_assigned',
                                     'listing_rejected', 'outbid', 'auction_won', 'auction_lost', 'auction_expired')),
    priority            text        NOT NULL CONSTRAINT notification_priority_known CHECK (priority IN ('high', 'normal', 'low')),
    title               text        NOT NULL,
    message             text        NOT NULL,
    data                jsonb,
    is_read             boolean     NOT NULL DEFAULT false,
    sent_via_whatsapp   boolean     NOT NULL DEFAULT false,
    whatsapp_message_id text,
    whatsapp_status     text        CONSTRAINT whatsapp_status_known
                                    CHECK (whatsapp_status IN ('sent', 'delivered', 'read', 'failed')),
    created_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    read_at             timestamptz,
    CONSTRAINT read_has_a_time CHECK (is_read = (read_at IS NOT NULL))
);

-- Who and what, never a phone number or a code in clear: an OTP carries both sealed (recipient,
-- secret), the other messages name a user.  The agent's contact is looked up when it is sent.
CREATE TABLE whatsapp_queue (
    id              bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    seal_id         uuid        NOT NULL DEFAULT gen_random_uuid(),  -- the row that the sealed fields are bound to
    user_id         uuid,
    recipient       bytea,      -- sealed(whatsapp_queue.recipient): a phone that has no account yet
    secret          bytea,      -- sealed(whatsapp_queue.secret): the OTP
    notification_id uuid,
    listing_id      uuid,
    order_id        uuid,
    template        text        NOT NULL CONSTRAINT template_known
                                CHECK (template IN ('otp_verification', 'bid_placed', 'order_status')),
    params          jsonb       NOT NULL DEFAULT '[]',  -- the body's parameters that are known now, texts in order
    status          text        NOT NULL DEFAULT 'queued'
                                CONSTRAINT queue_status_known CHECK (status IN ('queued', 'sending', 'sent', 'failed')),
    attempts        int         NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    next_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    lease_until     timestamptz,
    expires_at      timestamptz,
    finished_at     timestamptz,
    message_id      text,
    error_code      int,
    error           text,
    CONSTRAINT somebody_receives_it CHECK (user_id IS NOT NULL OR recipient IS NOT NULL)
) WITH (fillfactor = 70);   -- room for a later bid in the place of one that waits, beside it and in no index

-- ref names the row that the event tells of (new_bid, auction_won: the bid; notification,
-- task_assigned, listing_submitted, order_update: that row); the gateway makes the payload from it.
-- xid lets the gateway see which transactions were still running when it read.
CREATE TABLE events (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid        xid8        NOT NULL DEFAULT pg_current_xact_id(),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    name       text        NOT NULL,
    listing_id uuid,       -- the room, for an auction's events
    user_id    uuid,       -- the one person, for the others; neither: the admins
    ref        uuid,
    data       jsonb
);
