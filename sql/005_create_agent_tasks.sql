-- What an agent has to do for an order.

CREATE TABLE agent_tasks (
    id                uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    agent_id          uuid        NOT NULL REFERENCES users,
    order_id          uuid        NOT NULL REFERENCES orders,
    -- The order's, written once more (014), so that a page of tasks does not have to look at their orders.
    listing_id        uuid        NOT NULL REFERENCES listings,
    client_id         uuid        NOT NULL REFERENCES users,
    in_charge         boolean     NOT NULL,     -- whether its agent is (still) the order's
    type              text        NOT NULL CONSTRAINT task_type_known CHECK (type IN ('pickup', 'delivery', 'verification')),
    priority          text        NOT NULL DEFAULT 'normal'
                                  CONSTRAINT task_priority_known CHECK (priority IN ('high', 'normal', 'low')),
    description       text        NOT NULL,
    status            text        NOT NULL DEFAULT 'assigned' CONSTRAINT task_status_known
                                  CHECK (status IN ('assigned', 'accepted', 'in_progress', 'completed', 'failed')),
    assigned_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    scheduled_at      timestamptz,
    accepted_at       timestamptz,
    started_at        timestamptz,
    completed_at      timestamptz,
    failed_at         timestamptz,
    commission_amount bigint      NOT NULL DEFAULT 0 CONSTRAINT commission_not_negative CHECK (commission_amount >= 0),
    is_paid           boolean     NOT NULL DEFAULT false,
    metadata          jsonb       NOT NULL DEFAULT '{}'
);
