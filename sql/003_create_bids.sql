-- What vendors offered.  A row of bids is an accepted bid; refused ones leave nothing.

-- A vendor's number in a listing, which is all that the others see of him.
CREATE TABLE bidders (
    listing_id uuid NOT NULL REFERENCES listings,
    vendor_id  uuid NOT NULL REFERENCES users,
    alias      int  NOT NULL,
    PRIMARY KEY (listing_id, vendor_id)
);

CREATE TABLE bids (
    id             uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    listing_id     uuid        NOT NULL,
    vendor_id      uuid        NOT NULL,
    amount         bigint      NOT NULL CONSTRAINT bid_bounds CHECK (amount BETWEEN 100000 AND 100000000),
    nth            int         NOT NULL CONSTRAINT nth_positive CHECK (nth > 0),
    alias          int         NOT NULL,
    is_instant_win boolean     NOT NULL DEFAULT false,
    placed_at      timestamptz NOT NULL,
    metadata       jsonb       NOT NULL DEFAULT '{}',
    -- Amounts rise with time in a listing, so this index also answers "newest first".
    CONSTRAINT one_bid_per_amount UNIQUE (listing_id, amount),
    -- Listing and vendor are there because the bidder is: one look instead of two at each bid, and at a row
    -- that no other auction's bids look at.
    CONSTRAINT a_bidder_bids FOREIGN KEY (listing_id, vendor_id) REFERENCES bidders
);

ALTER TABLE listings ADD CONSTRAINT highest_bid_exists FOREIGN KEY (highest_bid_id) REFERENCES bids;

-- How auctions are run; the programs pass their configuration with each call.
CREATE TYPE auction_rules AS (
    min_increment      bigint,    -- paise above the highest bid
    extend             interval,  -- a bid this close to the end tops the remaining time up to this; 0 is off
    fee_percent        numeric,
    commission_percent numeric
);
