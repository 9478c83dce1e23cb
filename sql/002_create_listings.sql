-- A phone that somebody wants to sell.  pending -> live | rejected; live -> sold | expired.
-- ('approved' is in the interface's set of states; approving makes a listing live at once.)

CREATE TABLE listings (
    id               uuid        PRIMARY KEY,
    client_id        uuid        NOT NULL REFERENCES users,
    brand            text        NOT NULL CONSTRAINT brand_length CHECK (char_length(brand) BETWEEN 1 AND 100),
    model            text        NOT NULL CONSTRAINT model_length CHECK (char_length(model) BETWEEN 1 AND 100),
    storage          text        NOT NULL CONSTRAINT storage_length CHECK (char_length(storage) BETWEEN 1 AND 50),
    color            text        NOT NULL CONSTRAINT color_length CHECK (char_length(color) BETWEEN 1 AND 50),
    condition        text        NOT NULL
                                 CONSTRAINT condition_known CHECK (condition IN ('Excellent', 'Good', 'Fair', 'Poor')),
    imei1_sealed     bytea       NOT NULL,
    imei1_hash       bytea       NOT NULL,
    imei1_last4      text        NOT NULL,
    imei2_sealed     bytea,
    imei2_hash       bytea,
    imei2_last4      text,
    battery_health   smallint    NOT NULL CONSTRAINT battery_percent CHECK (battery_health BETWEEN 1 AND 100),
    asking_price     bigint      NOT NULL CONSTRAINT price_bounds CHECK (asking_price BETWEEN 100000 AND 100000000),
    description      text        NOT NULL CONSTRAINT description_length CHECK (char_length(description) <= 5000),
    photo_count      smallint    NOT NULL CONSTRAINT four_to_six_photos CHECK (photo_count BETWEEN 4 AND 6),
    bill_ext         text        CONSTRAINT bill_type_known CHECK (bill_ext IN ('pdf', 'jpg', 'png')),
    has_warranty     boolean     NOT NULL,
    warranty_type    text        CONSTRAINT warranty_type_length CHECK (char_length(warranty_type) <= 200),
    warranty_expiry  timestamptz,
    street_sealed    bytea       NOT NULL,
    landmark_sealed  bytea,
    city             text        NOT NULL CONSTRAINT city_length CHECK (char_length(city) BETWEEN 1 AND 100),
    state            text        NOT NULL CONSTRAINT state_length CHECK (char_length(state) BETWEEN 1 AND 100),
    pincode          text        NOT NULL CONSTRAINT pincode_digits CHECK (pincode ~ '^\d{6}$'),
    pickup_time      text        NOT NULL
                                 CONSTRAINT pickup_time_known CHECK (pickup_time IN ('morning', 'afternoon', 'evening')),
    status           text        NOT NULL DEFAULT 'pending'
                                 CONSTRAINT status_known
                                 CHECK (status IN ('pending', 'approved', 'rejected', 'live', 'sold', 'expired')),
    submitted_at     timestamptz NOT NULL DEFAULT now(),
    approved_at      timestamptz,
    approved_by      uuid        REFERENCES users,
    rejection_reason text,
    auction_end      timestamptz,
    ending_sent_at   timestamptz,
    -- The auction's state, on the row that every bid locks.  highest_bid_id is what "isWinning"
    -- means, so that two winning bids of one listing cannot even be written down.
    highest_bid_id   uuid,
    highest_amount   bigint,
    highest_vendor   uuid,
    highest_at       timestamptz,
    bid_count        int         NOT NULL DEFAULT 0,
    bidder_count     int         NOT NULL DEFAULT 0,
    -- Counts the changes of all that a listing says of itself, bids aside (008), so that who has kept what
    -- it said in an edition knows whether it still does.
    edition          int         NOT NULL DEFAULT 0,
    alias_seed       int         NOT NULL DEFAULT floor(random() * 90000)::int,
    metadata         jsonb       NOT NULL DEFAULT '{}',
    brand_key        text        GENERATED ALWAYS AS (lower(brand)) STORED,
    words            tsvector,   -- of brand, model and description (008)
    CONSTRAINT imeis_differ CHECK (imei2_hash IS NULL OR imei2_hash <> imei1_hash),
    CONSTRAINT imei2_whole CHECK ((imei2_hash IS NULL) = (imei2_sealed IS NULL)
                                  AND (imei2_hash IS NULL) = (imei2_last4 IS NULL)),
    CONSTRAINT an_auction_ends CHECK (status NOT IN ('live', 'sold', 'expired') OR auction_end IS NOT NULL),
    CONSTRAINT a_rejection_says_why CHECK (status <> 'rejected' OR rejection_reason IS NOT NULL),
    CONSTRAINT highest_bid_whole CHECK ((highest_bid_id IS NULL) = (bid_count = 0)
        AND (highest_bid_id IS NULL) = (highest_amount IS NULL)
        AND (highest_bid_id IS NULL) = (highest_vendor IS NULL)
        AND (highest_bid_id IS NULL) = (highest_at IS NULL)),
    CONSTRAINT sold_to_somebody CHECK (status <> 'sold' OR highest_bid_id IS NOT NULL),
    CONSTRAINT expired_without_bids CHECK (status <> 'expired' OR highest_bid_id IS NULL)
) WITH (fillfactor = 70);

-- Who claims an IMEI: the pending and live listings, by either of their numbers (008 keeps it so).
CREATE TABLE listing_imeis (
    imei_hash  bytea CONSTRAINT one_open_listing_per_imei PRIMARY KEY,
    listing_id uuid  NOT NULL REFERENCES listings ON DELETE CASCADE
);

-- Looks and watchers (008 counts those), apart from the listing, so that a look at it does not rewrite the
-- row that bids lock.
CREATE TABLE listing_counts (
    listing_id uuid   PRIMARY KEY REFERENCES listings ON DELETE CASCADE,
    views      bigint NOT NULL DEFAULT 0,
    watchers   int    NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- What the live listings are chosen, ordered and counted by (008 keeps it so).  No bid writes here, so its
-- indexes alone answer, where those of listings would have to look at every row that was bid on.
CREATE TABLE live_listings (
    listing_id   uuid        PRIMARY KEY REFERENCES listings ON DELETE CASCADE,
    approved_at  timestamptz,
    auction_end  timestamptz NOT NULL,
    asking_price bigint      NOT NULL,
    condition    text        NOT NULL,
    brand_key    text        NOT NULL
);

-- How many live listings there are, by brand ('' for all of them), price in steps of Rs 500, and condition: to
-- count a million takes 90 ms, to add these up less than one.  They come and go as rows of live_changes, which
-- are only added, so that nobody waits for anybody; live_total() (013) adds up both, and fold_live_changes()
-- moves them over.
CREATE TABLE live_counts (
    brand_key text   NOT NULL,
    step      int    NOT NULL,
    condition text   NOT NULL,
    n         bigint NOT NULL,
    PRIMARY KEY (brand_key, step, condition)
) WITH (fillfactor = 50);
CREATE TABLE live_changes (
    brand_key text   NOT NULL,
    step      int    NOT NULL,
    condition text   NOT NULL,
    n         bigint NOT NULL
);

CREATE TABLE watchers (
    listing_id uuid        NOT NULL REFERENCES listings ON DELETE CASCADE,
    user_id    uuid        NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (listing_id, user_id)
);
