/* columns -- how rows become the interface's types, as column lists for statements (see db.h on the
 * names), and where sealed values lie.  A type that several areas show is written down here once.
 *
 *   SQL(me, "SELECT " USER_COLUMNS("u") " FROM users u WHERE id = $1");
 *   SQL(show, "SELECT … , " USER_COLUMNS_WITH("v", "vendor.", USER_PHONE_MASKED("v")) " FROM …");
 *
 * U is the table's alias as text; a composite value works too: USER_COLUMNS("(x.account)"). */
#ifndef SELLIKO_COLUMNS_H
#define SELLIKO_COLUMNS_H

/* The guide's User.  Before the first sign-in lastLogin is when the account was made, so that it is
 * always a time.  PREFIX "vendor." makes a nested object; PHONE is one of the expressions below, or a
 * CASE of them. */
#define USER_COLUMNS(u) USER_COLUMNS_WITH(u, "", USER_PHONE(u))
#define USER_COLUMNS_WITH(u, prefix, phone)                                  \
    u ".id AS \"" prefix "id\", "                                            \
    phone " AS \"" prefix "phone:sealed(users.phone)\", "                    \
    u ".name AS \"" prefix "name\", "                                        \
    u ".role AS \"" prefix "role\", "                                        \
    u ".is_active AS \"" prefix "isActive\", "                               \
    u ".created_at AS \"" prefix "createdAt\", "                             \
    "coalesce(" u ".last_login, " u ".created_at) AS \"" prefix "lastLogin\", " \
    u ".metadata AS \"" prefix "metadata\""

#define USER_PHONE(u) u ".id::text || " u ".phone_sealed::text"
#define USER_PHONE_MASKED(u) "'+91******' || " u ".phone_last4"

/* Every sealed column: X(table, column, the field's name (associated data), the uuid column to which
 * its values are bound).  sellikoctl rotate-key goes through them all, so a new one stands here or
 * loses its key. */
#define SEALED_COLUMNS(X) \
    X("users", "phone_sealed", "users.phone", "id") \
    X("listings", "imei1_sealed", "listings.imei1", "id") \
    X("listings", "imei2_sealed", "listings.imei2", "id") \
    X("listings", "street_sealed", "listings.street", "id") \
    X("listings", "landmark_sealed", "listings.landmark", "id") \
    X("whatsapp_queue", "recipient", "whatsapp_queue.recipient", "seal_id") \
    X("whatsapp_queue", "secret", "whatsapp_queue.secret", "seal_id")

#endif
