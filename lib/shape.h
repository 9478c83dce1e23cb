/* shape -- the interface's types, as columns of a statement and as JSON: one place for each, so that a
 * listing looks the same wherever it is met.
 *
 * A macro gives the columns of a type for a statement's select list (rows.h says how their names become
 * JSON).  What one may see is decided by the statement itself: FULL is an SQL expression, true for those who may
 * see a listing whole; SHAPE_SEES_ALL is the usual one, with the viewer's id (or null) as $1.  The role comes from
 * the table, so that no round trip is spent on asking it first. */
#ifndef SELLIKO_SHAPE_H
#define SELLIKO_SHAPE_H

#include "rows.h"

#include <stdint.h>

/* ---- users (u) ---- */

/* lastLogin is always a time: before the first sign-in, when the account was made. */
#define USER_COLUMNS USER_COLUMNS_OF("u", "", USER_PHONE("u"))

/* The same of another alias, or of a composite "(x.account)"; PREFIX "vendor." makes a nested object;
 * PHONE is one of the expressions below, or a CASE of them. */
#define USER_COLUMNS_OF(U, PREFIX, PHONE) USER_COLUMNS_SEEN(U, PREFIX, PHONE, U ".metadata")

/* The same as somebody else sees him: METADATA is an expression too. */
#define USER_COLUMNS_SEEN(U, PREFIX, PHONE, METADATA) \
    U ".id AS \"" PREFIX "id\", " PHONE " AS \"" PREFIX "phone:sealed(users.phone)\"," \
    " " U ".name AS \"" PREFIX "name\", " U ".role AS \"" PREFIX "role\"," \
    " " U ".is_active AS \"" PREFIX "isActive\", " U ".created_at AS \"" PREFIX "createdAt\"," \
    " coalesce(" U ".last_login, " U ".created_at) AS \"" PREFIX "lastLogin\"," \
    " " METADATA " AS \"" PREFIX "metadata\""
#define USER_PHONE(U) U ".id || " U ".phone_sealed::text"
#define USER_PHONE_MASKED(U) "'+91******' || " U ".phone_last4"

/* ---- listings (l) ---- */

/* An admin, asked once a statement. */
#define SHAPE_IS_ADMIN "(SELECT x.role = 'ADMIN' FROM users x WHERE x.id = $1::uuid) IS TRUE"

/* The owner, an admin, or the agent of the listing's order. */
#define SHAPE_SEES_ALL \
    "(l.client_id = $1::uuid OR " SHAPE_IS_ADMIN \
    " OR (l.status = 'sold' AND $1 IS NOT NULL AND EXISTS (SELECT FROM orders o WHERE o.listing_id = l.id AND o.agent_id = $1::uuid)))"

/* Listings l FROM (with its WHERE, ORDER BY, LIMIT), each with l.whole, which says that once for LISTING_COLUMNS and not
 * for each column anew.  (OFFSET 0: or the planner would put the expression back into all of them.) */
#define SHAPE_LISTINGS(from) "(SELECT l.*, " SHAPE_SEES_ALL " AS whole " from " OFFSET 0) l"

/* Whether one may know of it at all. */
#define SHAPE_MAY_SEE \
    "(l.status IN ('live', 'sold', 'expired') OR l.client_id = $1::uuid OR " SHAPE_IS_ADMIN ")"

#define LISTING_COLUMNS(FULL) \
    LISTING_SAYS(FULL) "," \
    " coalesce((SELECT x.views FROM listing_counts x WHERE x.listing_id = l.id), 0) AS \"views\"," \
    " coalesce((SELECT x.watchers FROM listing_counts x WHERE x.listing_id = l.id), 0) AS \"watcherCount\""

/* The same without its counts: what stays as it is until the listing's edition changes. */
#define LISTING_SAYS(FULL) \
    "l.id, l.client_id AS \"clientId\", l.brand, l.model, l.storage, l.color, l.condition," \
    " CASE WHEN " FULL " THEN l.id || l.imei1_sealed::text ELSE '***********' || l.imei1_last4 END" \
    "   AS \"imei1:sealed(listings.imei1)\"," \
    " CASE WHEN " FULL " THEN l.id || l.imei2_sealed::text ELSE '***********' || l.imei2_last4 END" \
    "   AS \"imei2:sealed(listings.imei2)\"," \
    " l.battery_health AS \"batteryHealth\", l.asking_price AS \"askingPrice:rupees\", l.description," \
    " l.has_warranty AS \"hasWarranty\", l.warranty_type AS \"warrantyType\"," \
    " l.warranty_expiry AS \"warrantyExpiry\"," \
    " CASE WHEN " FULL " THEN l.id || l.street_sealed::text ELSE '' END" \
    "   AS \"pickupAddress.streetAddress:sealed(listings.street)\"," \
    " l.city AS \"pickupAddress.city\", l.state AS \"pickupAddress.state\"," \
    " l.pincode AS \"pickupAddress.pincode\"," \
    " CASE WHEN " FULL " THEN l.id || l.landmark_sealed::text ELSE '' END" \
    "   AS \"pickupAddress.landmark:sealed(listings.landmark)\"," \
    " l.pickup_time AS \"pickupTime\", l.status, l.submitted_at AS \"submittedAt\"," \
    " l.approved_at AS \"approvedAt\", l.approved_by AS \"approvedBy\"," \
    " l.rejection_reason AS \"rejectionReason\", l.auction_end AS \"auctionEndTime\"," \
    " CASE WHEN " FULL " THEN (SELECT coalesce(jsonb_agg(w.user_id ORDER BY w.created_at), '[]')" \
    "   FROM watchers w WHERE w.listing_id = l.id) ELSE '[]' END AS \"watchers\"," \
    " CASE WHEN " FULL " THEN l.metadata ELSE l.metadata - '{contactName,imeiChecksumValid}'::text[] END AS metadata," \
    " l.photo_count AS \"_photo_count\", CASE WHEN " FULL " THEN l.bill_ext END AS \"_bill_ext\""

/* What a listing of another's answer is told by: id, name, price, state, picture. */
#define LISTING_SUMMARY_COLUMNS \
    "l.id AS \"listing.id\", l.brand AS \"listing.brand\", l.model AS \"listing.model\"," \
    " l.storage AS \"listing.storage\", l.color AS \"listing.color\", l.condition AS \"listing.condition\"," \
    " l.asking_price AS \"listing.askingPrice:rupees\", l.status AS \"listing.status\"," \
    " l.auction_end AS \"listing.auctionEndTime\", l.id AS \"listing.thumbnail:thumbnail\""

enum shape { SHAPE_LISTED, SHAPE_ALONE };   /* ALONE: with all photos in all sizes */

/* Row I (LISTING_COLUMNS, and whatever else was selected) as members of J's open object, URLs signed
 * at NOW (Unix seconds). */
void shape_listing(struct jw *j, const struct rows *rows, int i, enum shape shape, int64_t now);

/* The same as an object KEY. */
void shape_listing_object(struct jw *j, const char *key, const struct rows *rows, int i, enum shape shape, int64_t now);

/* The signed URL of the file NAME in FOLDER ("listings/{id}/device"), in room for SHAPE_URL_MAX bytes. */
#define SHAPE_URL_MAX 1024
void shape_url(const char *folder, const char *name, int64_t now, char out[SHAPE_URL_MAX]);

/* What follows the service's own address in the URL of a file ("/files/…?exp=…"); NULL for other URLs. */
const char *shape_url_path(const char *url);

/* ---- bids (b, of listing l) ---- */

/* OWN: who sees the real bidder (an SQL expression); to the others he is an alias of this listing. */
#define BID_COLUMNS(OWN) \
    "b.id, b.listing_id AS \"listingId\"," \
    " CASE WHEN " OWN " THEN b.vendor_id::text ELSE 'Selliko Bid #' || b.alias END AS \"vendorId\"," \
    " b.amount AS \"amount:rupees\", b.is_instant_win AS \"isInstantWin\"," \
    " (l.highest_bid_id = b.id) IS TRUE AS \"isWinning\", b.placed_at AS \"timestamp\", b.metadata"

/* ---- orders (o) ---- */

#define ORDER_VERSION "o.id AS \"_version.id\", o.xmin AS \"_version.order\""

#define ORDER_COLUMNS \
    "o.id, o.listing_id AS \"listingId\", o.client_id AS \"clientId\", o.vendor_id AS \"vendorId\"," \
    " o.agent_id AS \"agentId\", o.final_price AS \"finalPrice:rupees\", o.commission_rate AS \"commissionRate\"," \
    " o.agent_commission AS \"agentCommission:rupees\", o.platform_fee AS \"platformFee:rupees\", o.status," \
    " o.status_history AS \"statusHistory\"," \
    " o.created_at AS \"createdAt\", o.pickup_scheduled_at AS \"pickupScheduledAt\"," \
    " o.picked_up_at AS \"pickedUpAt\", o.delivered_at AS \"deliveredAt\", o.completed_at AS \"completedAt\"," \
    " o.rating, o.rating_comment AS \"ratingComment\", o.metadata"

/* ---- agents' tasks (t, of its listing l and client c) ---- */

#define TASK_FROM " agent_tasks t JOIN listings l ON l.id = t.listing_id JOIN users c ON c.id = t.client_id"

/* Where the client lives and how he is called is for an agent who has still to go there, or is the
 * order's agent; to one whose place was taken he is as to any stranger. */
#define TASK_KNOWS_CLIENT "(t.in_charge OR t.status IN ('assigned', 'accepted', 'in_progress'))"

/* All that TASK_COLUMNS are made of. */
#define TASK_VERSION \
    "t.id AS \"_version.id\", t.xmin AS \"_version.task\", l.xmin AS \"_version.listing\", c.xmin AS \"_version.client\""

#define TASK_COLUMNS \
    "t.id, t.agent_id AS \"agentId\", t.order_id AS \"orderId\", t.type, t.priority, t.description, t.status," \
    " t.assigned_at AS \"assignedAt\", t.scheduled_at AS \"scheduledAt\", t.accepted_at AS \"acceptedAt\"," \
    " t.started_at AS \"startedAt\", t.completed_at AS \"completedAt\", t.failed_at AS \"failedAt\"," \
    " t.commission_amount AS \"commissionAmount:rupees\", t.is_paid AS \"isPaid\"," \
    " CASE WHEN " TASK_KNOWS_CLIENT " THEN coalesce(l.metadata ->> 'contactName', c.name) ELSE c.name END AS \"_contact\"," \
    " CASE WHEN " TASK_KNOWS_CLIENT " THEN " USER_PHONE("c") " ELSE " USER_PHONE_MASKED("c") " END" \
    "   AS \"_phone:sealed(users.phone)\"," \
    " CASE WHEN " TASK_KNOWS_CLIENT " THEN l.id || l.street_sealed::text END AS \"_street:sealed(listings.street)\"," \
    " CASE WHEN " TASK_KNOWS_CLIENT " THEN l.id || l.landmark_sealed::text END AS \"_landmark:sealed(listings.landmark)\"," \
    " l.city || ', ' || l.state || ', ' || l.pincode AS \"_city\"," \
    " CASE WHEN t.metadata <> '{}' THEN t.metadata::text END AS \"_metadata\""

struct arena;

/* Row I (TASK_COLUMNS) as an object KEY of J, with what A keeps for it.  False when a sealed value could not be
 * opened (logged): it is null, or left out. */
bool shape_task_object(struct arena *a, struct jw *j, const char *key, const struct rows *rows, int i, int64_t now);

/* ---- notifications (n) ---- */

#define NOTIFICATION_TYPES \
    "bid_placed|listing_approved|auction_ending|order_update|task_assigned|" \
    "listing_rejected|outbid|auction_won|auction_lost|auction_expired"

#define NOTIFICATION_COLUMNS \
    "n.id, n.user_id AS \"userId\", n.type, n.priority, n.title, n.message, n.data, n.is_read AS \"isRead\"," \
    " n.sent_via_whatsapp AS \"sentViaWhatsApp\", n.whatsapp_message_id AS \"whatsappMessageId\"," \
    " n.created_at AS \"createdAt\", n.read_at AS \"readAt\""

#endif
