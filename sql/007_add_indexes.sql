-- One index for each order in which the API lists, so that a page costs its rows and not the table.

CREATE INDEX users_by_role ON users (role, created_at DESC, id DESC);
CREATE INDEX users_newest ON users (created_at DESC, id DESC);
CREATE INDEX sessions_by_user ON sessions (user_id, last_used_at DESC) WHERE revoked_at IS NULL;
CREATE INDEX sessions_by_end ON sessions (expires_at);
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id);
CREATE INDEX refresh_tokens_by_end ON refresh_tokens (expires_at);
CREATE INDEX otps_open_by_phone ON otps (phone_hash) WHERE used_at IS NULL AND voided_at IS NULL;
CREATE INDEX otps_by_end ON otps (expires_at);
CREATE INDEX rate_limits_by_reset ON rate_limits (resets_at);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
CREATE INDEX audit_log_by_actor ON audit_log (actor_id, seq DESC);
CREATE INDEX audit_log_by_action ON audit_log (action, seq DESC);

CREATE INDEX listings_by_client ON listings (client_id, submitted_at DESC, id DESC);
CREATE INDEX listings_by_status ON listings (status, submitted_at DESC, id DESC);
CREATE INDEX listings_newest ON listings (submitted_at DESC, id DESC);
CREATE INDEX listings_public_newest ON listings (submitted_at DESC, id DESC) WHERE status IN ('live', 'sold', 'expired');
CREATE INDEX listings_public_price ON listings (asking_price, id) WHERE status IN ('live', 'sold', 'expired');
CREATE INDEX listings_by_price ON listings (asking_price, id);
CREATE INDEX listings_by_ending ON listings ((status <> 'live'), auction_end, id);
CREATE INDEX listings_live_newest ON listings (approved_at DESC, id DESC) INCLUDE (auction_end) WHERE status = 'live';
CREATE INDEX listings_live_ending ON listings (auction_end, id) WHERE status = 'live';
CREATE INDEX listings_live_price ON listings (asking_price, id) INCLUDE (auction_end) WHERE status = 'live';
CREATE INDEX listings_live_brand ON listings (brand_key, approved_at DESC, id DESC) INCLUDE (auction_end) WHERE status = 'live';
CREATE INDEX live_listings_newest ON live_listings (approved_at DESC, listing_id DESC) INCLUDE (auction_end, asking_price, condition, brand_key);
CREATE INDEX live_listings_ending ON live_listings (auction_end, listing_id) INCLUDE (approved_at, asking_price, condition, brand_key);
CREATE INDEX live_listings_price ON live_listings (asking_price, listing_id) INCLUDE (approved_at, auction_end, condition, brand_key);
CREATE INDEX live_listings_brand ON live_listings (brand_key, approved_at DESC, listing_id DESC) INCLUDE (auction_end, asking_price, condition);
CREATE INDEX listings_live_unreminded ON listings (auction_end) WHERE status = 'live' AND ending_sent_at IS NULL;
CREATE INDEX listings_by_word ON listings USING gin (words);
CREATE INDEX listing_imeis_by_listing ON listing_imeis (listing_id);
CREATE INDEX watchers_by_user ON watchers (user_id);

CREATE INDEX bids_by_vendor ON bids (vendor_id, placed_at DESC, id DESC);
CREATE INDEX bids_newest ON bids (placed_at DESC, id DESC);
CREATE INDEX bidders_by_vendor ON bidders (vendor_id);

CREATE INDEX orders_by_client ON orders (client_id, created_at DESC, id DESC);
CREATE INDEX orders_by_vendor ON orders (vendor_id, created_at DESC, id DESC);
CREATE INDEX orders_by_agent ON orders (agent_id, created_at DESC, id DESC);
CREATE INDEX orders_by_status ON orders (status, created_at DESC, id DESC);
CREATE INDEX orders_newest ON orders (created_at DESC, id DESC);
CREATE INDEX orders_unassigned ON orders (created_at) WHERE status = 'pending_pickup' AND agent_id IS NULL;
CREATE INDEX order_history_by_order ON order_history (order_id, id);

CREATE INDEX agent_tasks_by_agent ON agent_tasks (agent_id, assigned_at DESC, id DESC);
CREATE INDEX agent_tasks_by_order ON agent_tasks (order_id);
-- An open task of a kind is one agent's: assigning again must end the former first.
CREATE UNIQUE INDEX one_open_task_per_order_and_type ON agent_tasks (order_id, type)
    WHERE status IN ('assigned', 'accepted', 'in_progress');

CREATE INDEX notifications_by_user ON notifications (user_id, created_at DESC, id DESC);
CREATE INDEX notifications_unread ON notifications (user_id, created_at DESC, id DESC) WHERE NOT is_read;
CREATE UNIQUE INDEX one_notification_per_whatsapp_message ON notifications (whatsapp_message_id)
    WHERE whatsapp_message_id IS NOT NULL;

CREATE INDEX whatsapp_queue_due ON whatsapp_queue (next_at, id) WHERE status = 'queued';
CREATE INDEX whatsapp_queue_leased ON whatsapp_queue (lease_until) WHERE status = 'sending';
CREATE INDEX whatsapp_queue_finished ON whatsapp_queue (finished_at) WHERE status IN ('sent', 'failed');
CREATE UNIQUE INDEX one_queued_bid_message ON whatsapp_queue (user_id, listing_id)
    WHERE status = 'queued' AND template = 'bid_placed';

CREATE INDEX events_by_listing ON events (listing_id, id) WHERE listing_id IS NOT NULL;
-- What was committed since a snapshot: the gateway asks for it at each wake-up.
CREATE INDEX events_by_xid ON events (xid, id);
