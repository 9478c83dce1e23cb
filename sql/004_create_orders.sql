-- What follows the hammer: one order a sold listing.

CREATE TABLE orders (
    id                  uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    listing_id          uuid        NOT NULL REFERENCES listings CONSTRAINT one_order_per_listing UNIQUE,
    bid_id              uuid        NOT NULL REFERENCES bids,
    client_id           uuid        NOT NULL REFERENCES users,
    vendor_id           uuid        NOT NULL REFERENCES users,
    agent_id            uuid        REFERENCES users,
    final_price         bigint      NOT NULL CONSTRAINT final_price_positive CHECK (final_price > 0),
    commission_rate     numeric     NOT NULL CONSTRAINT commission_rate_percent CHECK (commission_rate BETWEEN 0 AND 100),
    agent_commission    bigint      NOT NULL CONSTRAINT agent_commission_bounds CHECK (agent_commission BETWEEN 0 AND final_price),
    platform_fee        bigint      NOT NULL CONSTRAINT platform_fee_bounds CHECK (platform_fee BETWEEN 0 AND final_price),
    status              text        NOT NULL DEFAULT 'pending_pickup' CONSTRAINT order_status_known CHECK
                                    (status IN ('pending_pickup', 'picked_up', 'in_transit', 'delivered', 'completed', 'cancelled')),
    created_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    pickup_scheduled_at timestamptz,
    picked_up_at        timestamptz,
    delivered_at        timestamptz,
    completed_at        timestamptz,
    rating              smallint    CONSTRAINT rating_stars CHECK (rating BETWEEN 1 AND 5),
    rating_comment      text,
    rated_at            timestamptz,
    metadata            jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT rated_once_delivered CHECK (rating IS NULL OR status IN ('delivered', 'completed')),
    CONSTRAINT rating_whole CHECK ((rating IS NULL) = (rated_at IS NULL))
);

CREATE TABLE order_history (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id   uuid        NOT NULL REFERENCES orders ON DELETE CASCADE,
    status     text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_by uuid        REFERENCES users,     -- null: the auction itself
    notes      text,
    location   jsonb
);
